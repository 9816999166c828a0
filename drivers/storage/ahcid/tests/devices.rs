//! Devices that come, go and change: hotplug, CD drives, port multipliers, power states of links, coalescing.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use ahci_spec::{AtaCommand, registers::PxSsts};
use ahcid::{Coalescing, LinkPower, Options};
use driver_block::{BlockError, Controller, DiskId, Operation, Request};
use model_ahci::{Action, CdConfig, Commands, Config, DeviceConfig, DiskConfig, FaultPlan, Place, Rule};
use support::{Bench, one, options, pattern, with};

const SOON: Duration = Duration::from_secs(2);

fn disk(blocks: u64, serial: &str) -> DeviceConfig {
    DeviceConfig::Disk(DiskConfig::new(blocks, serial))
}

fn cd(blocks: Option<u32>) -> DeviceConfig {
    DeviceConfig::Cd(CdConfig { blocks, serial: "CD".to_string() })
}

#[test]
fn a_disk_is_plugged_in_and_pulled_out() {
    let bench = Bench::new(with(vec![Some(disk(1 << 16, "a"))]));
    let mut driven = bench.drive(options());
    bench.model.plug(3, Some(disk(1 << 12, "new")));
    driven.pass(&bench, SOON);
    assert_eq!(driven.disk_ids(), [0, 3]);
    driven.write(3, 0, &pattern(4096, 1)).unwrap();
    bench.model.plug(3, None);
    driven.pass(&bench, SOON);
    assert_eq!(driven.disk_ids(), [0]);
    assert_eq!(driven.read(3, 0, 1), Err(BlockError::Gone));
    driven.write(0, 0, &pattern(4096, 2)).unwrap();
    assert_eq!(driven.resets(), 0);
    bench.assert_clean();
}

#[test]
fn requests_of_a_disk_that_is_pulled_out_are_answered() {
    let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), Action::Unplug).nth(5));
    let bench = Bench::faulty(with(vec![Some(disk(1 << 16, "a")), Some(disk(1 << 16, "b"))]), plan);
    let mut driven = bench.drive(options());
    let requests: Vec<_> = (0..20).map(|n| driven.reading(0, n * 16, 8, n)).collect();
    let before = bench.host.now();
    let answers = driven.all(requests);
    assert_eq!(answers.iter().filter(|(_, result)| *result == Err(BlockError::Gone)).count(), 16);
    assert!(bench.host.now().since(before) < SOON);
    assert_eq!(driven.disk_ids(), [1]);
    bench.assert_clean();
}

#[test]
fn another_disk_in_the_same_port_is_another_disk() {
    let bench = Bench::new(with(vec![Some(disk(1 << 16, "a"))]));
    let mut driven = bench.drive(options());
    bench.model.plug(0, Some(disk(1 << 12, "b")));
    driven.pass(&bench, SOON);
    assert_eq!((driven.disk().blocks, driven.disk().serial.as_str()), (1 << 12, "b"));
    driven.write(0, 0, &pattern(512, 1)).unwrap();
    // The same one, larger than before.
    bench.model.plug(0, Some(disk(1 << 14, "b")));
    driven.pass(&bench, SOON);
    assert_eq!(driven.disk().blocks, 1 << 14);
    bench.assert_clean();
}

#[test]
fn a_link_that_is_lost_for_a_moment_loses_nothing() {
    for ncq in [true, false] {
        let plan = FaultPlan::new(1).rule(Rule::only(Commands::io(), Action::LinkLoss).nth(5));
        let bench = Bench::faulty(Config::default(), plan);
        let mut driven = bench.drive(Options { ncq, ..options() });
        let requests: Vec<_> = (0..20).map(|n| driven.reading(0, n * 16, 8, n)).collect();
        let answers = driven.all(requests);
        assert!(answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
        assert_eq!(driven.disk_ids(), [0]);
        bench.assert_clean();
    }
}

#[test]
fn a_cd_is_read_and_not_written() {
    let bench = Bench::new(with(vec![Some(cd(Some(1000)))]));
    let data = pattern(2048 * 10, 1);
    bench.model.write(0, 5, &data);
    let mut driven = bench.drive(options());
    let disk = driven.disk();
    assert_eq!((disk.blocks, disk.limits.block_size, disk.limits.read_only), (1000, 2048, true));
    assert_eq!(driven.read(0, 5, 10).unwrap(), data);
    assert_eq!(driven.write(0, 5, &data), Err(BlockError::ReadOnly));
    assert_eq!(driven.read(0, 999, 2), Err(BlockError::OutOfRange));
    driven.shutdown().unwrap();
    bench.assert_clean();
}

#[test]
fn a_medium_is_exchanged() {
    let bench = Bench::new(with(vec![Some(cd(None)), Some(disk(1 << 16, "d"))]));
    let mut driven = bench.drive(options());
    assert_eq!(driven.disk_ids(), [1], "an empty tray is no disk");
    bench.model.insert(0, Some(300));
    driven.pass(&bench, SOON * 3);
    assert_eq!(driven.disk_ids(), [0, 1]);
    let data = pattern(2048, 7);
    bench.model.write(0, 299, &data);
    assert_eq!(driven.read(0, 299, 1).unwrap(), data);
    // Exchanged while nobody looks: a read must not give the wrong medium's data.
    bench.model.insert(0, Some(200));
    assert_eq!(driven.read(0, 0, 1), Err(BlockError::Gone));
    driven.pass(&bench, SOON * 3);
    let blocks = driven.engine.disks().iter().find(|disk| disk.id.0 == 0).unwrap().blocks;
    assert_eq!(blocks, 200);
    bench.model.insert(0, None);
    driven.pass(&bench, SOON * 3);
    assert_eq!(driven.disk_ids(), [1]);
    bench.assert_clean();
}

#[test]
fn links_sleep_as_the_policy_says_and_no_transition_is_taken_for_hotplug() {
    let config = Config { device_sleep: true, ..Config::default() };
    for (policy, expected) in [
        (LinkPower::MaxPerformance, PxSsts::IPM_ACTIVE),
        (LinkPower::MediumPower, PxSsts::IPM_PARTIAL),
        (LinkPower::MinPower, PxSsts::IPM_SLUMBER),
        (LinkPower::DeviceSleep, PxSsts::IPM_DEVSLEEP),
    ] {
        let bench = Bench::new(config.clone());
        let mut driven = bench.drive(Options { link_power: policy, ..options() });
        for _ in 0..3 {
            driven.write(0, 0, &pattern(4096, 1)).unwrap();
            driven.pass(&bench, SOON);
            assert_eq!(bench.model.link(0).ipm(), expected, "{policy:?}");
        }
        assert_eq!((bench.model.statistics().comresets(0), driven.disk_ids()), (0, vec![0]));
        // Another policy at run time.
        let other =
            if policy == LinkPower::MinPower { LinkPower::MaxPerformance } else { LinkPower::MinPower };
        driven.engine.controller().unwrap().set_link_power(other);
        driven.pass(&bench, SOON);
        driven.write(0, 0, &pattern(4096, 2)).unwrap();
        driven.pass(&bench, SOON);
        let expected = if other == LinkPower::MinPower { PxSsts::IPM_SLUMBER } else { PxSsts::IPM_ACTIVE };
        assert_eq!(bench.model.link(0).ipm(), expected, "{policy:?} then {other:?}");
        // A disk that is pulled out is missed all the same, at the latest by its next command.
        bench.model.plug(0, None);
        assert_eq!(driven.write(0, 0, &pattern(512, 3)), Err(BlockError::Gone));
        bench.model.plug(0, Some(disk(1 << 12, "new")));
        driven.pass(&bench, SOON);
        assert_eq!(driven.disk_ids(), [0]);
        bench.assert_clean();
    }
}

#[test]
fn links_without_power_states_are_left_awake() {
    for config in [
        Config { link_power: false, ..Config::default() },
        one(DiskConfig { link_power: false, ..DiskConfig::new(1 << 16, "a") }),
    ] {
        let bench = Bench::new(config);
        let mut driven = bench.drive(Options { link_power: LinkPower::DeviceSleep, ..options() });
        driven.write(0, 0, &pattern(4096, 1)).unwrap();
        driven.pass(&bench, SOON);
        assert_eq!(bench.model.link(0).ipm(), PxSsts::IPM_ACTIVE);
        bench.assert_clean();
    }
}

#[test]
fn completions_are_gathered() {
    let bench = Bench::new(Config::default());
    let coalescing = Some(Coalescing { completions: 8, delay_ms: 5 });
    let mut controller = bench.attach(Options { coalescing, ..options() });
    let mut queue = controller.take_queues().remove(0);
    let buffer = controller.dma().allocate(4096).unwrap();
    let before = bench.model.statistics().interrupts;
    use driver_block::HardwareQueue;
    for tag in 0..20u16 {
        let command = driver_block::Command {
            operation: Operation::Read,
            disk: DiskId(0),
            fua: false,
            ranges: &[driver_block::LbaRange { lba: tag.into(), blocks: 1 }],
            segments: &[buffer.segment(0, 512).unwrap()],
        };
        queue.submit(tag, &command).unwrap();
        queue.commit();
    }
    let mut completed = Vec::new();
    for _ in 0..2000 {
        bench.host.advance(Duration::from_micros(10));
        if queue.interrupt().unwrap().take().unwrap() != 0 {
            queue.interrupted();
        }
        queue.reap(&mut completed).unwrap();
    }
    assert_eq!(completed.len(), 20);
    let interrupts = bench.model.statistics().interrupts - before;
    assert!((1..=4).contains(&interrupts), "{interrupts} interrupts for 20 completions");
    controller.shutdown(vec![queue]).unwrap();
    bench.assert_clean();
}

fn multiplier() -> DeviceConfig {
    DeviceConfig::Multiplier(vec![
        Some(disk(1 << 12, "m0")),
        None,
        Some(disk(1 << 13, "m2")),
        Some(cd(Some(50))),
    ])
}

#[test]
fn disks_behind_a_port_multiplier_are_served() {
    for fbs in [false, true] {
        let bench =
            Bench::new(Config { fbs, ..with(vec![Some(disk(1 << 16, "direct")), Some(multiplier())]) });
        let mut driven = bench.drive(options());
        // Port 1, ports 0, 2 and 3 of the multiplier.
        assert_eq!(driven.disk_ids(), [0, 33, 97, 129]);
        let mut requests = Vec::new();
        for n in 0..60u64 {
            let disk = [33, 97][usize::try_from(n).unwrap() % 2];
            requests.push(driven.reading(disk, n * 8, 8, n));
            if n % 20 == 0 {
                requests.push(Request::flush(DiskId(disk), 100 + n));
            }
        }
        let answers = driven.all(requests);
        assert!(answers.len() == 63 && answers.iter().all(|(_, result)| result.is_ok()), "{answers:?}");
        assert_eq!(bench.model.statistics().most_devices, if fbs { 2 } else { 1 });
        for (id, pm_port) in [(33, 0), (97, 2)] {
            let data = pattern(4096, u64::from(id));
            driven.write(id, 16, &data).unwrap();
            assert_eq!(driven.read(id, 16, 8).unwrap(), data);
            assert_eq!(bench.model.read(Place { port: 1, pm_port }, 16, 8), data);
        }
        let data = pattern(2048, 9);
        bench.model.write(Place { port: 1, pm_port: 3 }, 7, &data);
        assert_eq!(driven.read(129, 7, 1).unwrap(), data);
        driven.shutdown().unwrap();
        bench.assert_clean();
    }
}

#[test]
fn an_error_behind_a_port_multiplier_is_the_error_of_one_command() {
    for fbs in [false, true] {
        let error = ahci_spec::AtaError::new().with_unc(true);
        let plan = FaultPlan::new(1)
            .rule(Rule::only(Commands::code(AtaCommand::READ_FPDMA_QUEUED).at_lba(83), Action::Fail(error)));
        let bench = Bench::faulty(Config { fbs, ..with(vec![Some(multiplier())]) }, plan);
        let mut driven = bench.drive(options());
        let requests: Vec<_> =
            (0..20).map(|n| driven.reading(if n % 2 == 0 { 32 } else { 96 }, n * 16, 8, n)).collect();
        let answers = driven.all(requests);
        let failed: Vec<_> = answers.into_iter().filter(|(_, result)| result.is_err()).collect();
        assert_eq!(failed, [(5, Err(BlockError::Medium))]);
        bench.assert_clean();
    }
}

#[test]
fn a_disk_behind_a_port_multiplier_is_plugged_in_and_pulled_out() {
    let bench = Bench::new(with(vec![Some(multiplier())]));
    let mut driven = bench.drive(options());
    assert_eq!(driven.disk_ids(), [32, 96, 128]);
    bench.model.plug(Place { port: 0, pm_port: 1 }, Some(disk(1 << 10, "m1")));
    driven.pass(&bench, SOON * 3);
    assert_eq!(driven.disk_ids(), [32, 64, 96, 128]);
    driven.write(64, 0, &pattern(512, 1)).unwrap();
    bench.model.plug(Place { port: 0, pm_port: 2 }, None);
    driven.pass(&bench, SOON * 3);
    assert_eq!(driven.disk_ids(), [32, 64, 128]);
    driven.write(32, 0, &pattern(512, 1)).unwrap();
    bench.assert_clean();
}
