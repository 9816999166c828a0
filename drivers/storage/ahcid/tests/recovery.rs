//! What goes wrong with commands, and what becomes of it and of the commands beside it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use ahci_spec::{AtaCommand, AtaError};
use ahcid::Options;
use driver_block::{BlockError, DiskId, Operation, Request};
use model_ahci::{
    Action, Commands, Config, DeviceConfig, DiskConfig, FaultPlan, Latency, LifecycleFault, Rule,
};
use support::{Bench, Driven, one, options, pattern, with};

const UNREADABLE: AtaError = AtaError::new().with_unc(true);

fn reads(driven: &Driven, count: u64) -> Vec<Request> {
    (0..count).map(|n| driven.reading(0, n * 16, 8, n)).collect()
}

/// What was answered to `count` reads, of which one or none fails.
fn failures(driven: &mut Driven, count: u64) -> Vec<(u64, BlockError)> {
    let requests = reads(driven, count);
    let answers = driven.all(requests);
    assert_eq!(answers.len() as u64, count);
    answers.into_iter().filter_map(|(cookie, result)| result.err().map(|error| (cookie, error))).collect()
}

#[test]
fn a_failed_queued_command_fails_alone() {
    let plan =
        FaultPlan::new(1).rule(Rule::only(Commands::any().at_lba(5 * 16 + 3), Action::Fail(UNREADABLE)));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), [(5, BlockError::Medium)]);
    let statistics = bench.model.statistics();
    assert_eq!(statistics.command(AtaCommand::READ_LOG_EXT), 1);
    assert_eq!((statistics.comresets(0), driven.resets()), (0, 0), "the log is enough");
    assert_eq!(failures(&mut driven, 5), []);
    bench.assert_clean();
}

#[test]
fn a_failed_command_of_those_that_are_not_queued_fails_alone() {
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::any().at_lba(5 * 16), Action::Fail(UNREADABLE)));
    let bench = Bench::faulty(one(DiskConfig::old(1 << 16, "old")), plan);
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), [(5, BlockError::Medium)]);
    assert_eq!(bench.model.statistics().comresets(0), 0);
    bench.assert_clean();
}

#[test]
fn a_transient_error_is_tried_again() {
    for action in [Action::Fail(AtaError::new().with_icrc(true).with_abrt(true)), Action::DeviceFault] {
        for ncq in [true, false] {
            let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), action).nth(7));
            let bench = Bench::faulty(Config::default(), plan);
            let mut driven = bench.drive(Options { ncq, ..options() });
            // A device fault of a queued command is in no log: the command's own error is.
            let failed = failures(&mut driven, 24);
            assert!(failed.is_empty() || action == Action::DeviceFault, "{failed:?}");
            bench.assert_clean();
        }
    }
}

#[test]
fn a_log_that_lies_is_not_needed() {
    let plan = FaultPlan::new(1)
        .rule(Rule::only(Commands::any().at_lba(5 * 16), Action::Fail(UNREADABLE)))
        .rule(Rule::only(Commands::any().at_lba(5 * 16), Action::GarbageLog));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), [(5, BlockError::Medium)]);
    let statistics = bench.model.statistics();
    assert_eq!(statistics.comresets(0), 2, "among many, and then alone");
    assert_eq!(statistics.command(AtaCommand::READ_DMA_EXT), 0, "still queued");
    assert_eq!(driven.resets(), 0);
    bench.assert_clean();
}

#[test]
fn a_hung_command_costs_a_port_reset_and_the_others_go_on() {
    for ncq in [true, false] {
        for action in [Action::Hang, Action::Drop, Action::Delay(Duration::from_secs(100))] {
            let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), action).nth(3).times(1));
            let bench = Bench::faulty(Config::default(), plan);
            let mut driven = bench.drive(Options { ncq, ..options() });
            let before = bench.host.now();
            assert_eq!(failures(&mut driven, 24), []);
            let took = bench.host.now().since(before);
            assert!(took > Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
            assert_eq!((bench.model.statistics().comresets(0), driven.resets()), (1, 0), "{action:?}");
            bench.assert_clean();
        }
    }
}

#[test]
fn a_lost_interrupt_costs_time_and_nothing_else() {
    // With interrupts, the engine does not look by itself: the queue is driven by hand.
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), Action::LoseInterrupt).nth(1));
    let bench = Bench::faulty(Config::default(), plan);
    let mut controller = bench.attach(options());
    let mut queue = driver_block::Controller::take_queues(&mut controller).remove(0);
    let buffer = controller.dma().allocate(4096).unwrap();
    let command = driver_block::Command {
        operation: Operation::Read,
        disk: DiskId(0),
        fua: false,
        ranges: &[driver_block::LbaRange { lba: 0, blocks: 8 }],
        segments: &[buffer.segment(0, 4096).unwrap()],
    };
    use driver_block::HardwareQueue;
    queue.submit(9, &command).unwrap();
    queue.commit();
    let interrupt = queue.interrupt().unwrap();
    interrupt.take().unwrap();
    bench.host.advance(Duration::from_secs(1));
    assert_eq!(queue.interrupt().unwrap().take().unwrap(), 0, "it was lost");
    let mut completed = Vec::new();
    queue.reap(&mut completed).unwrap();
    assert_eq!(completed, [], "nobody said that there is something to look at");
    assert!(queue.abort(9));
    assert!(queue.due().is_some());
    queue.reap(&mut completed).unwrap();
    assert_eq!(completed, [driver_block::Completed { tag: 9, result: Ok(()) }]);
    assert_eq!(bench.model.statistics().comresets(0), 0);
    driver_block::Controller::shutdown(&mut controller, vec![queue]).unwrap();
    bench.assert_clean();
}

#[test]
fn duplicates_and_strangers_do_no_harm() {
    for action in [Action::Duplicate, Action::SpuriousInterrupt] {
        let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), action));
        let bench = Bench::faulty(Config::default(), plan);
        let mut driven = bench.drive(options());
        assert_eq!(failures(&mut driven, 100), []);
        assert_eq!(bench.model.statistics().comresets(0), 0);
        bench.assert_clean();
    }
}

#[test]
fn an_error_of_the_link_is_recovered_and_many_make_it_slower() {
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), Action::LinkError).nth(4));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), []);
    assert_eq!((bench.model.statistics().comresets(0), bench.model.link(0).spd()), (1, 3));
    bench.assert_clean();
    // A cable that is good for 1.5 Gbit/s.
    let bench = Bench::new(one(DiskConfig { stable_speed: 1, ..DiskConfig::new(1 << 16, "cable") }));
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), []);
    assert_eq!(bench.model.link(0).spd(), 1);
    assert_eq!(bench.model.statistics().comresets(0), 6, "three errors for each generation");
    assert_eq!(driven.resets(), 0);
    bench.assert_clean();
}

#[test]
fn a_command_that_reaches_where_it_may_not_is_found_out() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    let mut requests = reads(&driven, 12);
    // Memory that was given back.
    let gone = driven.engine.controller().unwrap().dma().allocate(4096).unwrap();
    let segment = gone.segment(0, 4096).unwrap();
    drop(gone);
    requests[5].segments[0] = segment;
    let answers = driven.all(requests);
    let failed: Vec<_> = answers.into_iter().filter(|(_, result)| result.is_err()).collect();
    assert_eq!(failed, [(5, Err(BlockError::Protocol))]);
    assert!(!bench.host.take_faults().is_empty());
    assert_eq!(driven.resets(), 0);
    assert_eq!(bench.model.take_violations(), []);
}

#[test]
fn a_command_list_that_does_not_stop_takes_a_reset_of_the_controller() {
    let devices = vec![
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "bad"))),
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "good"))),
    ];
    let plan = FaultPlan::new(1)
        .rule(Rule::only(Commands::io().on_port(0), Action::Hang).times(1))
        .lifecycle_times(LifecycleFault::NeverStops.on_port(0), 1);
    let bench = Bench::faulty(with(devices), plan);
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 24), []);
    assert_eq!(driven.resets(), 1);
    assert_eq!(driven.write(1, 0, &pattern(4096, 1)), Ok(()));
    assert_eq!(driven.disk_ids(), [0, 1]);
    bench.assert_clean();
}

#[test]
fn a_port_that_never_stops_is_left_alone_and_the_other_serves() {
    let devices = vec![
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "bad"))),
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "good"))),
    ];
    let plan = FaultPlan::new(1)
        .rule(Rule::only(Commands::io().on_port(0), Action::Hang))
        .lifecycle(LifecycleFault::NeverStops.on_port(0));
    let bench = Bench::faulty(with(devices), plan);
    let mut driven = bench.drive(options());
    let failed = failures(&mut driven, 4);
    assert_eq!(failed.len(), 4);
    assert_eq!(driven.write(1, 0, &pattern(4096, 1)), Ok(()));
    assert_eq!((driven.resets(), driven.disk_ids()), (2, vec![1]));
}

#[test]
fn a_disk_that_never_answers_again_is_given_up_alone() {
    let devices = vec![
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "bad"))),
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "good"))),
    ];
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io().on_port(0), Action::Hang));
    let bench = Bench::faulty(with(devices), plan);
    let mut driven = bench.drive(options());
    let failed = failures(&mut driven, 4);
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert_eq!(driven.write(1, 0, &pattern(4096, 1)), Ok(()));
    assert_eq!((driven.resets(), driven.disk_ids()), (0, vec![1]));
    driven.shutdown().unwrap();
    bench.assert_clean();
}

#[test]
fn a_hung_disk_does_not_delay_its_neighbour() {
    let devices = vec![
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "bad"))),
        Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, "good"))),
    ];
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io().on_port(0), Action::Hang).times(40));
    let bench = Bench::faulty(with(devices), plan);
    let mut driven = bench.drive(options());
    // More than the hung disk may have: it must not take the tags of the other.
    for n in 0..100 {
        let request = driven.reading(0, n * 16, 8, n);
        driven.engine.submit(0, request).unwrap();
    }
    driven.engine.kick();
    let before = bench.host.now();
    let mut answers = Vec::new();
    for n in 100..200 {
        let request = Request { disk: DiskId(1), ..driven.reading(1, n, 1, n) };
        driven.engine.submit(0, request).unwrap();
        driven.engine.kick();
        bench.host.advance(Duration::from_micros(100));
        driven.engine.step(&mut answers);
    }
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(|answer| answer.completion.cookie >= 100 && answer.completion.result.is_ok()));
    assert!(bench.host.now().since(before) < Duration::from_millis(100));
    driven.engine.drain(support::PATIENCE).unwrap();
}

#[test]
fn a_controller_that_is_pulled_out_is_gone() {
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), Action::Remove).nth(5));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = bench.drive(options());
    let failed = failures(&mut driven, 24);
    assert!(failed.iter().all(|(_, error)| *error == BlockError::Gone), "{failed:?}");
    assert!(!failed.is_empty());
}

#[test]
fn commands_overtake_each_other() {
    let latency = Latency { jitter: Duration::from_micros(500), ..Latency::default() };
    let bench = Bench::new(Config { latency, ..Config::default() });
    let mut driven = bench.drive(options());
    assert_eq!(failures(&mut driven, 200), []);
    bench.assert_clean();
}
