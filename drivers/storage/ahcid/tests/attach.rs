//! Taking a controller over, whatever state it and its ports are in, and leaving it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use ahci_spec::{AtaCommand, registers};
use ahcid::{AhciController, Error, Options};
use driver_block::Controller;
use model_ahci::{
    Action, CdConfig, Commands, Config, DeviceConfig, DiskConfig, FaultPlan, Latency, LifecycleFault,
    PowerCut, Rule, StuckBits,
};
use redox_driver_sys::irq::InterruptKind;
use support::{Bench, one, options, pattern, with};

fn disk(serial: &str) -> Option<DeviceConfig> {
    Some(DeviceConfig::Disk(DiskConfig::new(1 << 16, serial)))
}

#[test]
fn empty_and_dead_ports_do_not_delay_the_others() {
    let plan = FaultPlan::new(1)
        .lifecycle(LifecycleFault::NoLink.on_port(1))
        .lifecycle(LifecycleFault::NeverReady.on_port(2))
        .rule(Rule::only(Commands::code(AtaCommand::IDENTIFY_DEVICE).on_port(3), Action::Hang));
    let devices = vec![disk("a"), disk("b"), disk("c"), disk("d"), None, disk("f")];
    let bench = Bench::faulty(with(devices), plan);
    let before = bench.host.now();
    let controller = bench.attach(options());
    let took = bench.host.now().since(before);
    assert!(took < Duration::from_millis(3200), "{took:?}");
    let ids: Vec<_> = controller.disks().iter().map(|disk| disk.id.0).collect();
    assert_eq!(ids, [0, 5]);
    // With devices that all answer it takes no longer than the slowest.
    let bench = Bench::new(with(vec![disk("a"), disk("b"), disk("c"), disk("d")]));
    let before = bench.host.now();
    assert_eq!(bench.attach(options()).disks().len(), 4);
    let took = bench.host.now().since(before);
    assert!(took < Duration::from_millis(500), "{took:?}");
    bench.assert_clean();
}

#[test]
fn a_disk_that_spins_up_slowly_is_announced_when_it_is_there() {
    let latency = Latency { ready: Duration::from_secs(8), ..Latency::default() };
    let bench = Bench::new(Config { latency, ..one(DiskConfig::new(1 << 16, "slow")) });
    let controller = bench.attach(options());
    assert_eq!(controller.disks().len(), 0);
    let mut driven = support::Driven::new(controller);
    driven.pass(&bench, Duration::from_secs(6));
    assert_eq!(driven.disk_ids(), [0]);
    driven.write(0, 0, &pattern(512, 1)).unwrap();
    bench.assert_clean();
}

#[test]
fn a_disk_that_needs_several_attempts_gets_them() {
    for fault in [LifecycleFault::NoLink, LifecycleFault::NeverReady] {
        let plan = FaultPlan::new(1).lifecycle_times(fault.on_port(0), 1);
        let bench = Bench::faulty(Config::default(), plan);
        // The plan is for what happens from the reset on.
        let options = Options { settle: Duration::from_secs(30), ..options() };
        assert_eq!(bench.attach(options).disks().len(), 1, "{fault:?}");
        assert_eq!(bench.model.statistics().comresets(0), 1);
        bench.assert_clean();
    }
    // Garbage in the identify data is found by its checksum.
    let plan = FaultPlan::new(1)
        .rule(Rule::only(Commands::code(AtaCommand::IDENTIFY_DEVICE), Action::Garbage).times(2));
    let bench = Bench::faulty(Config::default(), plan);
    assert_eq!(bench.attach(options()).disks().len(), 1);
    assert_eq!(bench.model.statistics().command(AtaCommand::IDENTIFY_DEVICE), 3);
    bench.assert_clean();
}

#[test]
fn a_device_that_never_identifies_itself_is_given_up() {
    let plan =
        FaultPlan::new(1).rule(Rule::only(Commands::code(AtaCommand::IDENTIFY_DEVICE), Action::DeviceFault));
    let bench = Bench::faulty(Config::default(), plan);
    let controller = bench.attach(options());
    assert_eq!(controller.disks(), []);
    assert_eq!(controller.refused(), ["port 0: its device does not identify itself"]);
    bench.assert_clean();
}

#[test]
fn the_bios_is_asked_and_one_that_does_not_answer_has_lost_it() {
    let config = Config { bios: true, ..Config::default() };
    let bench = Bench::new(config.clone());
    assert_eq!(bench.attach(options()).disks().len(), 1);
    bench.assert_clean();
    let bench = Bench::faulty(config, FaultPlan::new(1).lifecycle(LifecycleFault::BiosKeeps));
    let before = bench.host.now();
    assert_eq!(bench.attach(options()).disks().len(), 1);
    assert!(bench.host.now().since(before) < Duration::from_secs(3));
}

#[test]
fn disks_are_spun_up_where_that_is_up_to_the_driver() {
    let bench = Bench::new(Config { staggered: true, ..with(vec![disk("a"), disk("b")]) });
    assert_eq!(bench.attach(options()).disks().len(), 2);
    bench.assert_clean();
}

#[test]
fn a_controller_that_does_not_reset_is_refused_in_time() {
    let bench = Bench::faulty(Config::default(), FaultPlan::new(1).lifecycle(LifecycleFault::ResetNeverEnds));
    let before = bench.host.now();
    let error = bench.try_attach(options()).err().unwrap();
    assert!(error.to_string().contains("reset the controller"), "{error}");
    assert!(bench.host.now().since(before) < Duration::from_secs(3));
    assert!(!bench.host.bus_master());
}

#[test]
fn a_function_that_is_no_ahci_controller_is_refused_untouched() {
    let mut config = Config::default();
    config.ids.interface = 0;
    let bench = Bench::new(config);
    let before = bench.host.register_accesses();
    let error = bench.try_attach(options()).err().unwrap();
    assert!(matches!(error, Error::Unusable(_)), "{error}");
    assert_eq!(bench.host.register_accesses(), before);
}

#[test]
fn a_controller_without_ports_or_that_is_gone_is_refused() {
    let stuck = StuckBits { offset: registers::CAP, ones: u32::MAX, zeroes: 0 };
    let bench = Bench::faulty(Config::default(), FaultPlan::new(1).stuck(stuck));
    assert!(bench.try_attach(options()).is_err());
}

#[test]
fn ports_that_are_not_implemented_are_left_alone() {
    let bench = Bench::new(Config { ports: 0b1001, ..with(vec![disk("a"), disk("x"), None, disk("d")]) });
    let ids: Vec<_> = bench.attach(options()).disks().iter().map(|disk| disk.id.0).collect();
    assert_eq!(ids, [0, 3]);
    bench.assert_clean();
}

#[test]
fn each_kind_of_interrupt_will_do() {
    for (kind, msi) in [(InterruptKind::Msi, 1), (InterruptKind::Intx, 0)] {
        let bench = Bench::new(Config { msi_vectors: msi, ..Config::default() });
        let mut controller = bench.attach(options());
        assert_eq!(controller.interrupt_kind(), Some(kind));
        // Only what interrupts announce is looked at.
        use driver_block::HardwareQueue;
        let mut queue = controller.take_queues().remove(0);
        let buffer = controller.dma().allocate(4096).unwrap();
        let segments = [buffer.segment(0, 4096).unwrap()];
        queue.interrupt().unwrap().take().unwrap();
        queue.interrupt().unwrap().rearm().unwrap();
        for round in 0..20u16 {
            for tag in 0..4 {
                let lba = u64::from(round * 40 + tag * 8);
                let command = driver_block::Command {
                    operation: driver_block::Operation::Read,
                    disk: driver_block::DiskId(0),
                    fua: false,
                    ranges: &[driver_block::LbaRange { lba, blocks: 8 }],
                    segments: &segments,
                };
                queue.submit(tag, &command).unwrap();
            }
            queue.commit();
            let mut completed = Vec::new();
            for _ in 0..1000 {
                bench.host.advance(Duration::from_micros(5));
                if queue.interrupt().unwrap().take().unwrap() != 0 {
                    queue.interrupted();
                }
                queue.reap(&mut completed).unwrap();
                queue.interrupt().unwrap().rearm().unwrap();
            }
            assert_eq!(completed.len(), 4, "{kind} round {round}");
        }
        controller.shutdown(vec![queue]).unwrap();
        bench.assert_clean();
    }
}

#[test]
fn polling_needs_no_interrupt() {
    let bench = Bench::new(Config { msi_vectors: 0, interrupt_pin: false, ..Config::default() });
    assert!(bench.try_attach(options()).is_err());
    let mut driven = bench.drive(Options { polled: true, ..options() });
    let data = pattern(8192, 1);
    driven.write(0, 0, &data).unwrap();
    assert_eq!(driven.read(0, 0, 16).unwrap(), data);
    assert_eq!(bench.model.statistics().interrupts, 0);
    driven.shutdown().unwrap();
    bench.assert_clean();
}

#[test]
fn a_controller_left_running_by_a_dead_driver_is_taken_over() {
    let bench = Bench::new(Config::default());
    let mut driven = bench.drive(options());
    driven.write(0, 0, &pattern(512, 1)).unwrap();
    // It is gone without a word.
    std::mem::forget(driven);
    let mut driven = bench.drive(options());
    assert_eq!(driven.read(0, 0, 1).unwrap(), pattern(512, 1));
    driven.shutdown().unwrap();
    assert!(!bench.model.is_running() && !bench.host.bus_master());
    bench.assert_clean();
}

#[test]
fn nothing_is_received_after_the_end() {
    // A signature that comes late would be written to memory that was freed.
    let latency = Latency { ready: Duration::from_secs(8), ..Latency::default() };
    let bench = Bench::new(Config { latency, ..with(vec![disk("slow")]) });
    let mut controller = bench.attach(Options { settle: Duration::from_millis(1), ..options() });
    let queues = controller.take_queues();
    controller.shutdown(queues).unwrap();
    bench.host.advance(Duration::from_secs(20));
    bench.model.plug(1, disk("late"));
    bench.host.advance(Duration::from_secs(20));
    bench.assert_clean();
}

#[test]
fn dropping_a_controller_stops_it() {
    let bench = Bench::new(Config::default());
    let controller: AhciController = bench.attach(options());
    assert!(bench.model.is_running());
    drop(controller);
    assert!(!bench.model.is_running() && !bench.host.bus_master());
    assert_eq!(bench.host.mapped_bytes(), 0);
    bench.assert_clean();
}

#[test]
fn the_end_flushes_and_can_put_disks_to_standby() {
    for standby in [false, true] {
        let bench = Bench::new(with(vec![
            disk("a"),
            Some(DeviceConfig::Cd(CdConfig { blocks: None, serial: "c".into() })),
        ]));
        let mut driven = bench.drive(Options { standby, ..options() });
        let data = pattern(4096, 1);
        driven.write(0, 0, &data).unwrap();
        assert_eq!(bench.model.dirty_blocks(0), 8);
        driven.shutdown().unwrap();
        assert_eq!(bench.model.is_asleep(0), standby);
        bench.model.power_cut(PowerCut::Lost);
        assert_eq!(bench.model.read(0, 0, 8), data);
        bench.assert_clean();
    }
}
