//! Commands, events and registers.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use amd_vi_spec::{
    Command, Control, DeviceTableEntry, DomainId, Event, ExtendedFeatures, Opcode,
    ivrs::{DeviceEntry, Ivrs},
    registers::{self, Status},
};
use model_amd_vi::{Action, Commands, Config, FaultPlan, LifecycleFault, Rule, Violation};
use redox_driver_sys::mmio::ReadWrite;
use support::{Bench, DEVICE};

fn wait(bench: &Bench, data: u64) -> Command {
    Command::completion_wait(bench.store.addr().get(), data, true)
}

fn faulty(plan: FaultPlan) -> Bench {
    let bench = Bench::enabled(Config::default());
    bench.unit.set_faults(plan);
    bench
}

#[test]
fn a_completion_wait_stores_and_interrupts() {
    let mut bench = Bench::enabled(Config::default());
    let line = bench.machine.interrupt(0).unwrap();
    bench.submit(&[wait(&bench, 5)]);
    assert_eq!((bench.store.read(0), line.take().unwrap()), (5, 1));
    assert!(bench.status().com_wait_int());
    // The bit is still set: no further interrupt.
    bench.submit(&[wait(&bench, 6)]);
    assert_eq!((bench.store.read(0), line.take().unwrap()), (6, 0));
    bench.write(registers::STATUS, Status::new().with_com_wait_int(true).into());
    bench.submit(&[wait(&bench, 7)]);
    assert_eq!(line.take().unwrap(), 1);
    assert_eq!(bench.read(registers::COMMAND_HEAD), 48);
    bench.assert_clean();
}

#[test]
fn the_ring_wraps() {
    let mut bench = Bench::enabled(Config::default());
    for round in 0..1000 {
        bench.submit(&[Command::invalidate_devtab_entry(DEVICE), wait(&bench, round)]);
        assert_eq!(bench.store.read(0), round);
    }
    assert_eq!(bench.unit.statistics().commands, 2000);
    bench.assert_clean();
}

#[test]
fn commands_take_their_time() {
    let mut bench = Bench::enabled(Config { command_time: Duration::from_micros(10), ..Config::default() });
    bench.submit(&[Command::invalidate_iommu_all(), wait(&bench, 1)]);
    let host = bench.machine.host(0).unwrap().clone();
    host.advance(Duration::from_micros(15));
    assert_eq!((bench.store.read(0), bench.read(registers::COMMAND_HEAD)), (0, 16));
    host.advance(Duration::from_micros(6));
    assert_eq!(bench.store.read(0), 1);
}

#[test]
fn a_bad_command_stops_the_unit_until_it_is_restarted() {
    let mut bench = Bench::enabled(Config::default());
    let bad = Command { low: 15 << 60, high: 0 };
    bench.submit(&[wait(&bench, 1), bad, wait(&bench, 2)]);
    assert_eq!((bench.store.read(0), bench.read(registers::COMMAND_HEAD)), (1, 16));
    assert!(!bench.status().cmd_buf_run());
    let place = bench.commands.addr_of(1).get();
    assert_eq!(bench.events(), [Event::IllegalCommandError { address: place }]);
    assert_eq!(bench.unit.take_violations(), [Violation::Command(bad)]);
    bench.write(registers::COMMAND_HEAD, 32);
    bench.control(|control| control.with_cmd_buf_en(false));
    bench.control(|control| control);
    assert_eq!(bench.store.read(0), 2);
    // Reserved bits are as bad.
    let reserved = Command { low: Command::invalidate_iommu_all().low | 1 << 40, high: 0 };
    bench.submit(&[reserved]);
    assert_eq!(bench.unit.take_violations(), [Violation::Command(reserved)]);
}

#[test]
fn commands_of_features_that_are_not_there_are_illegal() {
    let features = ExtendedFeatures::new();
    let mut bench = Bench::enabled(Config { features, ..Config::default() });
    bench.submit(&[Command::invalidate_iommu_all()]);
    assert!(matches!(bench.events()[..], [Event::IllegalCommandError { .. }]));
    bench.unit.take_violations();
    bench.control(|control| control.with_ga_en(true).with_xt_en(true).with_dev_tbl_seg_en(1));
    assert_eq!(bench.unit.take_violations().len(), 4, "three features, and while in use");
}

#[test]
fn events_overflow_and_logging_starts_again() {
    let bench = Bench::enabled(Config::default());
    let line = bench.machine.interrupt(0).unwrap();
    bench.set_device(DEVICE, DeviceTableEntry::blocked(DomainId(1)));
    for n in 0..300 {
        assert!(bench.machine.dma_write(DEVICE, n << 12, &[0]).is_err());
    }
    assert_eq!(line.take().unwrap(), 2, "the first, and the overflow");
    let status = bench.status();
    assert!(status.event_overflow() && status.event_log_int() && !status.event_log_run());
    let statistics = bench.unit.statistics();
    assert_eq!((statistics.events, statistics.lost_events), (255, 45));
    assert_eq!(bench.events().len(), 255);
    bench.control(|control| control.with_event_log_en(false));
    bench.write(registers::STATUS, Status::new().with_event_overflow(true).with_event_log_int(true).into());
    bench.control(|control| control);
    assert!(bench.machine.dma_write(DEVICE, 0, &[0]).is_err());
    assert_eq!((bench.events().len(), line.take().unwrap()), (1, 1));
    bench.assert_clean();
}

#[test]
fn registers_are_what_they_are() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.read(registers::EXTENDED_FEATURES), u64::from(Config::default().features));
    let half = |at| bench.registers.register::<u32, ReadWrite>(at).unwrap();
    half(registers::XT_GENERAL_INTERRUPT + 4).write(0x1234_5678);
    half(registers::XT_GENERAL_INTERRUPT).write(0x9abc_def0);
    assert_eq!(bench.read(registers::XT_GENERAL_INTERRUPT), 0x1234_5678_9abc_def0);
    assert_eq!(half(registers::XT_GENERAL_INTERRUPT + 4).read(), 0x1234_5678);
    bench.assert_clean();
    bench.write(registers::EXTENDED_FEATURES, 0);
    bench.read(0x3000);
    bench.registers.register::<u8, ReadWrite>(registers::CONTROL).unwrap().read();
    bench.write(registers::COMMAND_TAIL, 4096);
    bench.control(|control| control);
    bench.write(registers::DEVICE_TABLE_BASE, 0);
    half(registers::DEVICE_TABLE_BASE).write(0);
    bench.write(registers::COMMAND_HEAD, 0);
    assert_eq!(
        bench.unit.take_violations(),
        [
            Violation::ReadOnlyWrite { offset: registers::EXTENDED_FEATURES },
            Violation::Register { offset: 0x3000, len: 8 },
            Violation::Register { offset: registers::CONTROL, len: 1 },
            Violation::Value { offset: registers::COMMAND_TAIL, value: 4096 },
            Violation::InUse { offset: 0 },
            Violation::InUse { offset: registers::COMMAND_HEAD },
        ]
    );
}

#[test]
fn commands_fail_on_demand() {
    let only_waits = |action| Rule::only(Commands(Some(Opcode::COMPLETION_WAIT)), action).times(1);
    let stores = |action| {
        let mut bench = faulty(FaultPlan::new(0).rule(only_waits(action)));
        bench.submit(&[Command::invalidate_iommu_all(), wait(&bench, 5)]);
        (bench.store.read(0), bench.status().cmd_buf_run(), bench.events().len())
    };
    assert_eq!(stores(Action::DropStore), (0, true, 0));
    assert_eq!(stores(Action::CorruptStore(2)), (7, true, 0));
    assert_eq!(stores(Action::Hang), (0, true, 0));
    assert_eq!(stores(Action::Illegal), (0, false, 1));
    assert_eq!(stores(Action::HardwareError), (0, false, 1));
    assert_eq!(stores(Action::SpuriousEvent(3 << 60, 0)), (5, true, 1));
    let mut bench = faulty(FaultPlan::new(0).rule(only_waits(Action::Delay(Duration::from_millis(1)))));
    bench.submit(&[wait(&bench, 5)]);
    assert_eq!(bench.store.read(0), 0);
    bench.machine.host(0).unwrap().advance(Duration::from_millis(2));
    assert_eq!(bench.store.read(0), 5);
    let mut bench = faulty(FaultPlan::new(0).rule(only_waits(Action::Remove)));
    bench.submit(&[wait(&bench, 5)]);
    assert_eq!((bench.store.read(0), bench.read(registers::STATUS)), (0, u64::MAX));
    assert!(bench.machine.dma_write(DEVICE, 0x10_0000, &[0]).is_err());
}

#[test]
fn the_unit_fails_on_demand() {
    for (fault, before) in
        [(LifecycleFault::CommandsNeverRun, false), (LifecycleFault::CommandsNeverStop, true)]
    {
        let bench = Bench::new(Config::default());
        if before {
            bench.control(|control| control);
        }
        bench.unit.set_faults(FaultPlan::new(0).lifecycle(fault));
        bench.control(|control| control.with_cmd_buf_en(!before));
        assert_eq!(bench.status().cmd_buf_run(), before);
    }
}

#[test]
fn the_power_goes() {
    let mut bench = Bench::enabled(Config::default());
    bench.submit(&[wait(&bench, 1)]);
    bench.unit.power_cycle();
    assert_eq!(bench.unit.control(), Control::new());
    assert_eq!(bench.read(registers::COMMAND_BASE), 0);
}

#[test]
fn firmware_tells_of_the_machine() {
    let second = Config {
        device: amd_vi_spec::DeviceId(0x4002),
        base: 0xfed9_0000,
        devices: amd_vi_spec::DeviceId(0x4003)..=amd_vi_spec::DeviceId(0x7fff),
        aliases: vec![(
            amd_vi_spec::DeviceId(0x4500)..=amd_vi_spec::DeviceId(0x45ff),
            amd_vi_spec::DeviceId(0x4010),
        )],
        ioapics: vec![],
        ..Config::default()
    };
    let machine = model_amd_vi::Machine::new([Config::default(), second]);
    let ivrs = Ivrs::parse(&machine.ivrs()).unwrap();
    assert_eq!((ivrs.hardware.len(), ivrs.skipped.len()), (4, 0));
    let units = ivrs.units();
    assert_eq!(units.iter().map(|unit| unit.base).collect::<Vec<_>>(), [0xfed8_0000, 0xfed9_0000]);
    assert!(
        matches!(units[0].entries.last(), Some(DeviceEntry::Special(special)) if special.device.0 == 0xa0)
    );
    assert_eq!(
        units[1].devices().requester(amd_vi_spec::DeviceId(0x4567)),
        Some(amd_vi_spec::DeviceId(0x4010))
    );
    assert!(machine.registers(0xfed9_0000).is_some() && machine.registers(0xfeda_0000).is_none());
}
