//! From firmware's table to a unit that works.

use amd_vi_spec::{
    DeviceId, ExtendedFeatures,
    ivrs::{BlockType, IvmdFlags, Ivrs},
    registers,
};
use iommud::unit::{Interrupts, IrteFormat, ReservedMemory, Unclaimed, UnitError, UnitFirmware, UnitOptions};
use model_amd_vi::{Config, FaultPlan, LifecycleFault, Machine, MemoryRange, StuckBits};
use redox_driver_sys::mmio::ReadWrite;

use crate::support::{Bench, DEVICE, OTHER, attach};

#[test]
fn nobody_reaches_memory_once_the_unit_is_enabled() {
    let mut bench = Bench::disabled(Config::default(), UnitOptions::default());
    let page = bench.memory.allocate(4096).unwrap();
    bench.write(DEVICE, page.addr().get()).unwrap();
    bench.unit.enable().unwrap();
    assert!(bench.unit.is_working());
    for id in 3..0x200 {
        assert!(bench.write(DeviceId(id), page.addr().get()).is_err());
    }
    let control = bench.model.control();
    assert!(control.iommu_en() && control.coherent() && control.ga_en() && control.xt_en());
    assert_eq!((control.dev_tbl_seg_en(), bench.unit.capabilities().segments), (3, 3));
    assert_eq!(bench.unit.capabilities().levels, 6);
    assert_eq!(bench.unit.capabilities().interrupts, IrteFormat::Bits128 { x2apic: true });
    bench.assert_clean();
}

#[test]
fn unclaimed_devices_may_pass_but_no_others() {
    let config = Config { devices: DeviceId(0x10)..=DeviceId(0xff), ..Config::default() };
    let bench = Bench::with(config, UnitOptions { unclaimed: Unclaimed::Pass, ..UnitOptions::default() });
    let page = bench.memory.allocate(4096).unwrap();
    bench.write(DEVICE, page.addr().get()).unwrap();
    bench.write(DeviceId(0xff), page.addr().get()).unwrap();
    bench.assert_clean();
}

#[test]
fn old_units_have_fewer_features() {
    let features = ExtendedFeatures::new();
    for blocks in [vec![BlockType::IVHD_10], vec![BlockType::IVHD_11], vec![BlockType::IVHD_40]] {
        let mut bench = Bench::new(Config { features, blocks, ..Config::default() });
        let capabilities = bench.unit.capabilities();
        assert_eq!((capabilities.levels, capabilities.segments), (4, 0));
        assert_eq!(capabilities.interrupts, IrteFormat::Bits32);
        // Without INVALIDATE_IOMMU_ALL everything is invalidated by itself.
        assert_eq!(bench.model.statistics().commands, 3 * 65536 + 1);
        assert!(bench.write(DEVICE, 0x10_0000).is_err());
        bench.unit.set_interrupts(DEVICE, Interrupts::Block).unwrap();
        bench.assert_clean();
    }
}

#[test]
fn what_need_not_be_used_is_not() {
    let options =
        UnitOptions { segments: false, x2apic: false, event_interrupt: true, ..UnitOptions::default() };
    let bench = Bench::with(Config::default(), options);
    let control = bench.model.control();
    assert!(!control.ga_en() && !control.xt_en() && control.dev_tbl_seg_en() == 0 && control.event_int_en());
}

/// Whatever state the unit was left in: no access gets through that the new owner did not allow.
#[test]
fn a_successor_lets_nothing_pass_in_between() {
    let mut bench = Bench::new(Config::default());
    let (tables, page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    bench.write(DEVICE, 0x5000).unwrap();
    let Bench { unit, model, memory: _, machine } = bench;
    drop(unit);
    let reaches = || machine.dma_write(OTHER, page.addr().get(), &[0]).is_ok();
    assert!(!reaches());
    machine.dma_write(DEVICE, 0x5000, &[0]).unwrap();
    // Other wishes do not count: formats stay while the unit is enabled.
    let options = UnitOptions { segments: false, x2apic: false, ..UnitOptions::default() };
    let mut unit = attach(&machine, 0, options).unwrap();
    assert_eq!((unit.capabilities().segments, model.control().dev_tbl_seg_en()), (3, 3));
    assert!(!reaches());
    unit.enable().unwrap();
    assert!(!reaches());
    assert!(machine.dma_write(DEVICE, 0x5000, &[0]).is_err(), "not even what is remembered");
    assert!(model.control().ga_en() && model.control().xt_en());
    assert_eq!(model.take_violations(), []);
    unit.disable().unwrap();
    assert!(reaches());
}

#[test]
fn firmware_ranges_of_exclusion_are_no_way_around() {
    let mut bench = Bench::disabled(Config::default(), UnitOptions::default());
    let page = bench.memory.allocate(4096).unwrap();
    let registers = bench.machine.registers(0xfed8_0000).unwrap();
    let write = |at, value: u64| registers.register::<u64, ReadWrite>(at).unwrap().write(value);
    write(registers::EXCLUSION_LIMIT, page.addr().get());
    write(registers::EXCLUSION_BASE, page.addr().get() | 3);
    bench.unit.enable().unwrap();
    assert!(bench.write(DEVICE, page.addr().get()).is_err());
    bench.assert_clean();
}

#[test]
fn firmware_names_memory_that_stays_reachable() {
    let range = |first, last, flags: IvmdFlags, start| MemoryRange {
        devices: DeviceId(first)..=DeviceId(last),
        flags,
        start,
        length: 0x1800,
    };
    let none = IvmdFlags::new();
    let config = Config {
        aliases: vec![(DeviceId(0x100)..=DeviceId(0x1ff), DeviceId(0x50))],
        memory: vec![
            range(0x20, 0x20, none.with_unity(true).with_ir(true), 0x8000_0000),
            range(0x18, 0x2f, none.with_exclusion(true), 0x9000_0800),
            range(0x20, 0x20, none.with_ir(true), 0xa000_0000),
            range(0x123, 0x123, none.with_unity(true).with_iw(true), 0xb000_0000),
        ],
        ..Config::default()
    };
    let machine = Machine::new([config]);
    let unit = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap()).remove(0);
    let reserved = |device| unit.reserved(DeviceId(device));
    let memory = |start, last, read, write| ReservedMemory { start, last, read, write };
    let read_only = memory(0x8000_0000, 0x8000_1fff, true, false);
    let exclusion = memory(0x9000_0000, 0x9000_1fff, true, true);
    assert_eq!(reserved(0x20), [read_only, exclusion]);
    assert_eq!(reserved(0x21), [exclusion]);
    assert_eq!(reserved(0x50), [memory(0xb000_0000, 0xb000_1fff, false, true)], "of those whose name it is");
    assert_eq!(reserved(0x123), []);
}

#[test]
fn memory_that_firmware_names_twice_is_one() {
    let ends = |first, last, read, write| MemoryRange {
        devices: DEVICE..=DEVICE,
        flags: IvmdFlags::new().with_unity(true).with_ir(read).with_iw(write),
        start: first,
        length: last - first + 1,
    };
    let memory = vec![
        ends(0x5000, 0x6fff, false, true),
        ends(0x1000, 0x3fff, true, false),
        ends(0x2000, 0x5fff, true, true),
        ends(0x9000, 0x9fff, true, false),
        ends(0x8000, 0x8fff, true, false),
        ends(0x9000, 0x9fff, true, false),
        ends(0xffff_ffff_ffff_e000, u64::MAX, true, false),
        ends(0xffff_ffff_ffff_f000, u64::MAX, false, true),
    ];
    let machine = Machine::new([Config { memory, ..Config::default() }]);
    let unit = UnitFirmware::units(&Ivrs::parse(&machine.ivrs()).unwrap()).remove(0);
    let reserved = |start, last, read, write| ReservedMemory { start, last, read, write };
    assert_eq!(
        unit.reserved(DEVICE),
        [
            reserved(0x1000, 0x1fff, true, false),
            reserved(0x2000, 0x5fff, true, true),
            reserved(0x6000, 0x6fff, false, true),
            reserved(0x8000, 0x9fff, true, false),
            reserved(0xffff_ffff_ffff_e000, 0xffff_ffff_ffff_efff, true, false),
            reserved(0xffff_ffff_ffff_f000, u64::MAX, true, true),
        ]
    );
}

#[test]
fn a_unit_that_does_not_start_is_an_error() {
    for fault in [LifecycleFault::CommandsNeverRun, LifecycleFault::EventsNeverRun] {
        let mut bench = Bench::disabled(Config::default(), UnitOptions::default());
        bench.model.set_faults(FaultPlan::new(0).lifecycle(fault));
        let before = bench.now();
        let error = bench.unit.enable().unwrap_err();
        assert!(matches!(error, UnitError::Machine { step: "start the unit", .. }), "{error}");
        assert!(bench.now().since(before) < UnitOptions::default().timeout * 2);
        assert!(!bench.unit.is_working());
        bench.model.set_faults(FaultPlan::new(0));
        bench.unit.enable().unwrap();
    }
}

#[test]
fn a_unit_that_is_not_there_is_an_error() {
    let machine = Machine::new([Config::default()]);
    let model = machine.handle(0).unwrap();
    model.set_removed(true);
    assert!(attach(&machine, 0, UnitOptions::default()).err().unwrap().is_gone());
    model.set_removed(false);
    let mut unit = attach(&machine, 0, UnitOptions::default()).unwrap();
    model.set_removed(true);
    assert!(unit.enable().unwrap_err().is_gone());
}

#[test]
fn features_that_firmware_does_not_know_are_the_registers() {
    let ones = StuckBits { offset: registers::EXTENDED_FEATURES, ones: 0, zeroes: 1 << 7 };
    let machine = Machine::new([Config::default()]);
    machine.handle(0).unwrap().set_faults(FaultPlan::new(0).stuck(ones));
    let unit = attach(&machine, 0, UnitOptions::default()).unwrap();
    assert_eq!(unit.capabilities().interrupts, IrteFormat::Bits32);
}

#[test]
fn units_are_independent() {
    let second = Config {
        device: DeviceId(0x4002),
        base: 0xfed9_0000,
        devices: DeviceId(0x4003)..=DeviceId(0x7fff),
        ioapics: vec![],
        ..Config::default()
    };
    let machine = Machine::new([Config::default(), second]);
    let mut units: Vec<_> =
        (0..2).map(|unit| attach(&machine, unit, UnitOptions::default()).unwrap()).collect();
    let page = machine.memory().allocator().allocate(4096).unwrap();
    let reaches = |device| machine.dma_write(device, page.addr().get(), &[0]).is_ok();
    units[1].enable().unwrap();
    let far = DeviceId(0x4100);
    assert!(reaches(DEVICE) && !reaches(far));
    units[0].enable().unwrap();
    assert!(!reaches(DEVICE) && !reaches(far));
    assert!(matches!(units[0].requester(far), Err(UnitError::NotBehind { device }) if device == far));
    units[1].set_device(far, iommud::unit::Target::Pass).unwrap();
    units[1].sync().unwrap();
    assert!(!reaches(DEVICE) && reaches(far));
}
