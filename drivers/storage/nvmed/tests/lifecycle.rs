//! Events, optional features, abort, reset and the end.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use driver_block::{
    BlockError, Command, Completed, Controller, ControllerEvent, DiskId, HardwareQueue, LbaRange, Operation,
};
use model_nvme::{
    Action, Commands, Config, FaultPlan, HostMemoryWishes, Latency, LifecycleFault, NamespaceConfig, Rule,
};
use nvme_spec::{AdminOpcode, CriticalWarning, NvmOpcode};
use nvmed::{Coalescing, IoQueue, Options};
use support::{Bench, Driven, options};

const RANGE: [LbaRange; 1] = [LbaRange { lba: 0, blocks: 8 }];

fn poll(driven: &mut Driven, bench: &Bench) -> Vec<ControllerEvent> {
    bench.host.advance(Duration::from_millis(1));
    let mut events = Vec::new();
    driven.controller.poll(bench.host.now(), &mut events).unwrap();
    events
}

fn submit(driven: &mut Driven, tag: u16) {
    let segment = driven.segment(0, 4096);
    let command = Command {
        operation: Operation::Read,
        disk: DiskId(1),
        fua: false,
        ranges: &RANGE,
        segments: &[segment],
    };
    driven.queues[0].submit(tag, &command).unwrap();
    driven.queues[0].commit();
}

fn reap(queue: &mut IoQueue) -> Vec<Completed> {
    let mut completed = Vec::new();
    queue.reap(&mut completed).unwrap();
    completed
}

#[test]
fn namespaces_come_grow_and_go() {
    let bench =
        Bench::new(Config { namespaces: vec![NamespaceConfig::new(1000, 9); 2], ..Config::default() });
    let mut driven = Driven::new(&bench, options());
    assert_eq!(poll(&mut driven, &bench), []);
    bench.model.resize(1, 2000);
    let events = poll(&mut driven, &bench);
    assert!(
        matches!(&events[..], [ControllerEvent::DiskChanged(disk)] if disk.id.0 == 1 && disk.blocks == 2000),
        "{events:?}"
    );
    bench.model.add_namespace(5, NamespaceConfig::new(500, 12));
    bench.model.remove_namespace(2);
    let events: Vec<_> = (0..4).flat_map(|_| poll(&mut driven, &bench)).collect();
    assert!(events.contains(&ControllerEvent::DiskRemoved(DiskId(2))), "{events:?}");
    let came =
        events.iter().any(|event| matches!(event, ControllerEvent::DiskChanged(disk) if disk.id.0 == 5));
    assert!(came, "{events:?}");
    let ids: Vec<_> = driven.controller.disks().iter().map(|disk| disk.id.0).collect();
    assert_eq!(ids, [1, 5]);
    bench.assert_clean();
}

#[test]
fn a_health_warning_is_read_and_the_next_one_still_comes() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let logs = |bench: &Bench| bench.model.statistics().admin(AdminOpcode::GET_LOG_PAGE);
    let before = logs(&bench);
    bench.model.set_critical_warning(CriticalWarning::new().with_spare(true));
    assert_eq!(poll(&mut driven, &bench), []);
    assert_eq!(logs(&bench), before + 1);
    bench.model.set_critical_warning(CriticalWarning::new());
    poll(&mut driven, &bench);
    bench.model.set_critical_warning(CriticalWarning::new().with_reliability(true));
    poll(&mut driven, &bench);
    assert_eq!(logs(&bench), before + 2);
    let report = driven.controller.inspect();
    assert!(report.contains("critical warning  0x04"), "{report}");
    bench.assert_clean();
}

#[test]
fn host_memory_is_lent_and_taken_back() {
    let wishes = HostMemoryWishes { preferred: 256, minimum: 16, descriptor_minimum: 4, descriptors: 4 };
    let bench = Bench::new(Config { host_memory: wishes, ..Config::default() });
    let mut driven = Driven::new(&bench, options());
    assert_eq!(driven.controller.host_memory_bytes(), 256 * 4096);
    assert!(bench.model.host_memory_enabled());
    let segment = driven.segment(0, 4096);
    for _ in 0..100 {
        driven.write(&bench, 0, 8, &[segment]).unwrap();
    }
    let queues = std::mem::take(&mut driven.queues);
    driven.queues = driven.controller.reset(queues).unwrap();
    assert!(bench.model.host_memory_enabled());
    driven.read(&bench, 0, 8, &[segment]).unwrap();
    driven.shutdown().unwrap();
    assert!(!bench.model.host_memory_enabled());
    bench.assert_clean();
}

#[test]
fn host_memory_within_limits() {
    for (wishes, limit, expected) in [
        (HostMemoryWishes { preferred: 256, minimum: 16, ..Default::default() }, 100 * 4096, 100 * 4096),
        (HostMemoryWishes { preferred: 256, minimum: 101, ..Default::default() }, 100 * 4096, 0),
        (HostMemoryWishes { preferred: 256, ..Default::default() }, 0, 0),
        (HostMemoryWishes::default(), 1 << 20, 0),
    ] {
        let bench = Bench::new(Config { host_memory: wishes, ..Config::default() });
        let driven = Driven::new(&bench, Options { host_memory: limit, ..options() });
        assert_eq!(driven.controller.host_memory_bytes(), expected, "{wishes:?}");
        drop(driven);
        bench.assert_clean();
    }
}

#[test]
fn idle_controllers_save_power_and_wake_up() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    assert_eq!(bench.model.power_state(), 0);
    bench.host.advance(Duration::from_secs(1));
    assert_eq!(bench.model.power_state(), 2, "5 ms to wake up: after 250 ms");
    bench.host.advance(Duration::from_secs(5));
    assert_eq!(bench.model.power_state(), 3, "50 ms to wake up: after 2.5 s");
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.read(&bench, 0, 8, &[segment]), Ok(()));
    assert!(bench.model.power_state() < 2);
    let bench = Bench::new(Config::default());
    let _awake = Driven::new(&bench, Options { power_latency: None, ..options() });
    bench.host.advance(Duration::from_secs(60));
    assert_eq!(bench.model.power_state(), 0);
}

#[test]
fn coalesced_interrupts_are_fewer() {
    let interrupts = |coalescing| {
        let bench = Bench::new(Config::default());
        let mut driven = Driven::new(&bench, Options { coalescing, ..options() });
        let before = bench.model.statistics().interrupts;
        for tag in 0..32 {
            submit(&mut driven, tag);
        }
        bench.host.advance(Duration::from_millis(20));
        assert_eq!(reap(&mut driven.queues[0]).len(), 32);
        bench.assert_clean();
        bench.model.statistics().interrupts - before
    };
    let all = interrupts(None);
    let few = interrupts(Some(Coalescing { completions: 16, delay: Duration::from_millis(5) }));
    assert!(few <= 3 && few < all, "{few} of {all}");
}

#[test]
fn a_hanging_command_is_aborted() {
    let plan = FaultPlan::new(0).rule(Rule::only(Commands::io(NvmOpcode::READ), Action::Hang).nth(1));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = Driven::new(&bench, options());
    submit(&mut driven, 3);
    bench.host.advance(Duration::from_secs(5));
    assert_eq!(reap(&mut driven.queues[0]), []);
    let handle = driven.queues[0].abort_handle(3);
    driven.controller.abort(0, handle).unwrap();
    poll(&mut driven, &bench);
    let completed = reap(&mut driven.queues[0]);
    assert_eq!(completed, [Completed { tag: 3, result: Err(BlockError::Aborted) }]);
    bench.assert_clean();
}

#[test]
fn aborts_stay_within_the_controllers_limit() {
    let plan = FaultPlan::new(0)
        .rule(Rule::only(Commands::io(NvmOpcode::READ), Action::Hang))
        .rule(Rule::only(Commands::admin(AdminOpcode::ABORT), Action::Hang));
    let bench = Bench::faulty(Config { abort_limit: 1, ..Config::default() }, plan);
    let mut driven = Driven::new(&bench, options());
    for tag in 0..3 {
        submit(&mut driven, tag);
    }
    let outcomes: Vec<_> = (0..3)
        .map(|tag| {
            let handle = driven.queues[0].abort_handle(tag);
            driven.controller.abort(0, handle)
        })
        .collect();
    assert_eq!(outcomes, [Ok(()), Ok(()), Err(BlockError::Transient)]);
}

#[test]
fn a_reset_forgets_commands_and_brings_the_queues_back() {
    let plan = FaultPlan::new(0).rule(Rule::only(Commands::io(NvmOpcode::READ), Action::Hang).times(5));
    let bench = Bench::faulty(Config::default(), plan);
    let mut driven = Driven::new(&bench, options());
    for tag in 0..5 {
        submit(&mut driven, tag);
    }
    bench.host.advance(Duration::from_secs(1));
    let queues = std::mem::take(&mut driven.queues);
    driven.queues = driven.controller.reset(queues).unwrap();
    assert_eq!((driven.controller.resets(), bench.model.io_queues()), (1, (2, 2)));
    for tag in 0..5 {
        submit(&mut driven, tag);
    }
    bench.host.advance(Duration::from_millis(5));
    assert_eq!(reap(&mut driven.queues[0]).len(), 5);
    bench.assert_clean();
}

#[test]
fn a_controller_that_does_not_stop_is_reset_as_a_function() {
    let plan = FaultPlan::new(0).lifecycle_times(LifecycleFault::NeverDisabled, 1);
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    bench.model.set_faults(plan);
    let queues = std::mem::take(&mut driven.queues);
    driven.queues = driven.controller.reset(queues).unwrap();
    let segment = driven.segment(0, 4096);
    assert_eq!(driven.read(&bench, 0, 8, &[segment]), Ok(()));
    bench.assert_clean();
}

#[test]
fn a_controller_that_does_not_come_back_is_cut_off() {
    for fault in [LifecycleFault::NeverReady, LifecycleFault::FatalOnEnable] {
        let bench = Bench::new(Config::default());
        let mut driven = Driven::new(&bench, options());
        bench.model.set_faults(FaultPlan::new(0).lifecycle(fault));
        let queues = std::mem::take(&mut driven.queues);
        let error = driven.controller.reset(queues).err().unwrap();
        assert!(matches!(error, BlockError::Gone | BlockError::TimedOut), "{error}");
        assert!(!bench.host.bus_master());
    }
}

#[test]
fn fatal_status_and_removal_are_noticed() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    bench.model.fail();
    let events = poll(&mut driven, &bench);
    assert!(matches!(&events[..], [ControllerEvent::ResetNeeded(why)] if why.contains("CFS")), "{events:?}");
    let queues = std::mem::take(&mut driven.queues);
    driven.queues = driven.controller.reset(queues).unwrap();
    assert_eq!(poll(&mut driven, &bench), []);
    bench.host.set_connected(false);
    let mut events = Vec::new();
    assert_eq!(driven.controller.poll(bench.host.now(), &mut events), Err(BlockError::Gone));
    let queues = std::mem::take(&mut driven.queues);
    let start = bench.host.now();
    assert_eq!(driven.controller.reset(queues).err(), Some(BlockError::Gone));
    assert!(
        bench.host.now().since(start) < Duration::from_secs(1),
        "a device that is gone is not waited for"
    );
}

#[test]
fn shutdown_is_normal_and_everything_is_given_back() {
    let bench = Bench::new(Config::default());
    let driven = Driven::new(&bench, options());
    driven.shutdown().unwrap();
    let statistics = bench.model.statistics();
    assert_eq!(statistics.admin(AdminOpcode::DELETE_IO_SQ), 2);
    assert_eq!(statistics.admin(AdminOpcode::DELETE_IO_CQ), 2);
    assert_eq!({ bench.model.smart_log().unsafe_shutdowns }, [0, 0]);
    assert!(!bench.host.bus_master());
    assert_eq!(bench.host.mapped_bytes(), 0);
    bench.assert_clean();
}

#[test]
fn shutdown_of_a_stuck_controller_ends_in_time() {
    let bench = Bench::new(Config::default());
    let driven = Driven::new(&bench, options());
    bench.model.set_faults(
        FaultPlan::new(0)
            .lifecycle(LifecycleFault::NeverShutDown)
            .rule(Rule::only(Commands::admin(AdminOpcode::DELETE_IO_SQ), Action::Hang)),
    );
    let start = bench.host.now();
    assert!(driven.shutdown().is_err());
    assert!(bench.host.now().since(start) < Duration::from_secs(40));
    assert!(!bench.host.bus_master());
}

#[test]
fn the_report_names_what_matters() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let report = driven.controller.inspect();
    for line in [
        "Modelled NVMe Controller",
        "RB0001",
        "version           1.4.0",
        "temperature",
        "namespace 1",
        "1048576 of 512 bytes",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(bench.model.statistics().admin(AdminOpcode::SET_FEATURES) >= 3);
}

#[test]
fn an_event_whose_log_cannot_be_read_is_not_the_last_one() {
    let bench = Bench::new(Config::default());
    let mut driven = Driven::new(&bench, options());
    let refusal = Action::Fail(nvme_spec::Status::INTERNAL_ERROR, false);
    bench.model.set_faults(
        FaultPlan::new(0).rule(Rule::only(Commands::admin(AdminOpcode::GET_LOG_PAGE), refusal).times(1)),
    );
    bench.model.set_critical_warning(CriticalWarning::new().with_spare(true));
    bench.host.advance(Duration::from_millis(1));
    assert!(driven.controller.poll(bench.host.now(), &mut Vec::new()).is_err());
    bench.model.resize(1, 777);
    let events: Vec<_> = (0..3).flat_map(|_| poll(&mut driven, &bench)).collect();
    assert!(matches!(&events[..], [ControllerEvent::DiskChanged(disk)] if disk.blocks == 777), "{events:?}");
}

#[test]
fn a_controller_that_claims_to_need_an_hour_is_not_given_one() {
    let latency = Latency { shutdown: Duration::from_secs(3600), ..Latency::default() };
    let bench = Bench::new(Config { latency, ..Config::default() });
    let driven = Driven::new(&bench, options());
    let start = bench.host.now();
    assert_eq!(driven.shutdown(), Err(BlockError::TimedOut));
    assert!(bench.host.now().since(start) < Duration::from_secs(90));
    assert!(!bench.host.bus_master());
}
