//! Accesses to memory: tables, what is remembered of them, and events.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use amd_vi_spec::{
    Command, DeviceTableEntry, DomainId, Event, InvalidatePagesRange, PageEntry, SizedRange,
    registers::{self, ExclusionBase, ExclusionLimit},
};
use model_amd_vi::{Config, FaultPlan, LifecycleFault, Tables, Violation};
use redox_driver_sys::{dma::DmaBuffer, model::DmaFault};
use support::{Bench, DEVICE, OTHER};

const DOMAIN: DomainId = DomainId(7);

/// A device in a domain with one page at 0x5000.
fn translated(levels: u8) -> (Bench, Tables, DmaBuffer) {
    let bench = Bench::enabled(Config::default());
    let mut tables = Tables::new(&bench.memory, levels).unwrap();
    let page = bench.memory.allocate(4096).unwrap();
    tables.map(0x5000, &page).unwrap();
    bench.set_device(DEVICE, DeviceTableEntry::translated(DOMAIN, tables.root(), levels));
    (bench, tables, page)
}

fn write(bench: &Bench, address: u64) -> Result<(), DmaFault> {
    bench.machine.dma_write(DEVICE, address, b"data")
}

#[test]
fn everything_passes_until_the_unit_is_enabled() {
    let bench = Bench::new(Config::default());
    let page = bench.memory.allocate(4096).unwrap();
    write(&bench, page.addr().get()).unwrap();
    assert_eq!(page.read::<[u8; 4]>(0).unwrap(), *b"data");
    // An entry that is not valid lets everything pass as well.
    bench.control(|control| control);
    write(&bench, page.addr().get()).unwrap();
    bench.set_device(OTHER, DeviceTableEntry::blocked(DOMAIN));
    assert!(bench.machine.dma_read(OTHER, page.addr().get(), &mut [0; 4]).is_err());
    let [Event::IoPageFault { device: OTHER, domain: DOMAIN, address, flags }] = bench.events()[..] else {
        panic!("no such event")
    };
    assert_eq!(address, page.addr().get());
    assert!(!flags.write());
    bench.assert_clean();
}

#[test]
fn tables_of_every_depth_translate() {
    for levels in 1..=6 {
        let (bench, _tables, page) = translated(levels);
        write(&bench, 0x5ffc).unwrap();
        assert_eq!(page.read::<[u8; 4]>(4092).unwrap(), *b"data");
        assert!(write(&bench, 0x5ffd).is_err(), "beyond the page");
        assert!(write(&bench, 0x4fff).is_err());
        assert!(write(&bench, page.addr().get()).is_err(), "a physical address");
        assert!(write(&bench, 1 << 63 | 0x5000).is_err());
        assert_eq!(bench.events().len(), 4);
        bench.assert_clean();
    }
}

#[test]
fn pages_are_what_they_allow() {
    let (bench, mut tables, page) = translated(3);
    let target = page.addr().get();
    tables.set(0x6000, 1, PageEntry::page(target, true, false)).unwrap();
    tables.set(0x7000, 1, PageEntry::page(target, false, true)).unwrap();
    bench.machine.dma_read(DEVICE, 0x6000, &mut [0; 4]).unwrap();
    assert!(write(&bench, 0x6000).is_err());
    write(&bench, 0x7000).unwrap();
    assert!(bench.machine.dma_read(DEVICE, 0x7000, &mut [0; 4]).is_err());
    for (event, at) in bench.events().into_iter().zip([0x6000, 0x7000]) {
        let Event::IoPageFault { address, flags, .. } = event else { panic!("{event}") };
        assert!(address == at && flags.present() && flags.permission() && flags.write() == (at == 0x6000));
    }
    // The device table entry has the last word.
    let mut entry = DeviceTableEntry::translated(DOMAIN, tables.root(), 3);
    entry.paging = entry.paging.with_ir(false);
    bench.set_device(OTHER, entry);
    assert!(bench.machine.dma_read(OTHER, 0x5000, &mut [0; 4]).is_err());
    bench.machine.dma_write(OTHER, 0x5000, &[0; 4]).unwrap();
    bench.assert_clean();
}

#[test]
fn large_pages_translate_and_their_entries_must_be_the_same() {
    let bench = Bench::enabled(Config::default());
    let mut tables = Tables::new(&bench.memory, 4).unwrap();
    let large = bench.memory.allocate_aligned(1 << 21, 1 << 21).unwrap();
    let target = large.addr().get();
    tables.set(0x4020_0000, 2, PageEntry::page(target, true, true)).unwrap();
    let sized = PageEntry::sized_page(SizedRange::containing(target, 16).unwrap(), true, true);
    for page in 0..16 {
        tables.set(0x1_0000 + page * 0x1000, 1, sized).unwrap();
    }
    bench.set_device(DEVICE, DeviceTableEntry::translated(DOMAIN, tables.root(), 4));
    write(&bench, 0x4020_0000 + 0x12_3456).unwrap();
    assert_eq!(large.read::<[u8; 4]>(0x12_3456).unwrap(), *b"data");
    write(&bench, 0x1_fff0).unwrap();
    assert_eq!(large.read::<[u8; 4]>(0xfff0).unwrap(), *b"data");
    bench.assert_clean();
    tables.set(0x1_8000, 1, PageEntry::page(target, true, true)).unwrap();
    bench.control(|control| control.with_iommu_en(false));
    let mut bench = bench;
    bench.control(|control| control);
    bench.submit(&[Command::invalidate_iommu_all()]);
    write(&bench, 0x1_0000).unwrap();
    assert_eq!(bench.unit.take_violations(), [Violation::Replicas { domain: DOMAIN, address: 0x1_0000 }]);
}

#[test]
fn translations_are_remembered_until_they_are_invalidated() {
    let (mut bench, mut tables, page) = translated(3);
    write(&bench, 0x5000).unwrap();
    let (table, index) = tables.map(0x6000, &page).unwrap();
    write(&bench, 0x6000).unwrap();
    tables.tables[table].write(index, 0);
    tables.tables[table].write(index - 1, 0);
    write(&bench, 0x5000).unwrap();
    write(&bench, 0x6000).unwrap();
    let one = InvalidatePagesRange::of(SizedRange::containing(0x5000, 12).unwrap());
    bench.submit(&[Command::invalidate_iommu_pages(DomainId(8), one, false)]);
    write(&bench, 0x5000).unwrap();
    bench.submit(&[Command::invalidate_iommu_pages(DOMAIN, one, false)]);
    assert!(write(&bench, 0x5000).is_err());
    write(&bench, 0x6000).unwrap();
    bench.submit(&[Command::invalidate_iommu_pages(DOMAIN, InvalidatePagesRange::ALL, false)]);
    assert!(write(&bench, 0x6000).is_err());
    bench.assert_clean();
}

#[test]
fn tables_are_remembered_apart_from_pages() {
    let (mut bench, mut tables, page) = translated(3);
    write(&bench, 0x5000).unwrap();
    // The table of the page goes, another takes its place.
    let other = Tables::new(&bench.memory, 1).unwrap();
    tables.set(0, 2, PageEntry::table(other.root(), 1)).unwrap();
    let range = InvalidatePagesRange::of(SizedRange::containing(0x5000, 13).unwrap());
    bench.submit(&[Command::invalidate_iommu_pages(DOMAIN, range, false)]);
    write(&bench, 0x5000).unwrap();
    bench.submit(&[Command::invalidate_iommu_pages(DOMAIN, range, true)]);
    assert!(write(&bench, 0x5000).is_err());
    other.tables[0].write(5, PageEntry::page(page.addr().get(), true, true).into());
    write(&bench, 0x5000).unwrap();
    bench.assert_clean();
}

#[test]
fn what_is_absent_is_remembered_where_the_unit_does_so() {
    let bench = Bench::enabled(Config { not_present_cached: true, ..Config::default() });
    let mut tables = Tables::new(&bench.memory, 3).unwrap();
    let page = bench.memory.allocate(4096).unwrap();
    bench.set_device(DEVICE, DeviceTableEntry::translated(DOMAIN, tables.root(), 3));
    assert!(write(&bench, 0x5000).is_err());
    tables.map(0x5000, &page).unwrap();
    assert!(write(&bench, 0x5000).is_err());
    let mut bench = bench;
    bench.submit(&[Command::invalidate_iommu_pages(DOMAIN, InvalidatePagesRange::ALL, false)]);
    write(&bench, 0x5000).unwrap();
}

#[test]
fn device_table_entries_are_remembered() {
    let (mut bench, _tables, _page) = translated(3);
    write(&bench, 0x5000).unwrap();
    bench.set_device(DEVICE, DeviceTableEntry::blocked(DOMAIN));
    write(&bench, 0x5000).unwrap();
    bench.submit(&[Command::invalidate_devtab_entry(OTHER)]);
    write(&bench, 0x5000).unwrap();
    bench.submit(&[Command::invalidate_devtab_entry(DEVICE)]);
    assert!(write(&bench, 0x5000).is_err());
    bench.assert_clean();
}

#[test]
fn entries_that_are_not_legal_are_told() {
    let (bench, tables, _page) = translated(3);
    let mut entry = DeviceTableEntry::translated(DOMAIN, tables.root(), 3);
    entry.paging = entry.paging.with_mode(7);
    bench.set_device(DEVICE, entry);
    assert!(write(&bench, 0x5000).is_err());
    assert!(matches!(
        bench.events()[..],
        [Event::IllegalDevTableEntry { device: DEVICE, address: 0x5000, .. }]
    ));
    assert_eq!(bench.unit.take_violations(), [Violation::DeviceTableEntry(DEVICE)]);
    let other = Tables::new(&bench.memory, 2).unwrap();
    bench.set_device(OTHER, DeviceTableEntry::translated(DOMAIN, tables.root(), 3));
    bench.machine.dma_write(OTHER, 0x5000, &[0]).unwrap();
    let third = amd_vi_spec::DeviceId(0x30);
    bench.set_device(third, DeviceTableEntry::translated(DOMAIN, other.root(), 2));
    assert!(bench.machine.dma_write(third, 0x9000, &[0]).is_err());
    assert_eq!(bench.unit.take_violations(), [Violation::Domain(DOMAIN)]);
}

#[test]
fn interrupt_addresses_are_no_memory() {
    let (bench, mut tables, page) = translated(3);
    tables.map(0xfee0_0000 & 0x3f_ffff, &page).unwrap();
    assert!(bench.machine.dma_read(DEVICE, 0xfee0_0000, &mut [0; 4]).is_err());
    assert!(bench.machine.dma_write(DEVICE, 0xfee0_0000, &[0; 8]).is_err());
    assert!(matches!(
        bench.events()[..],
        [Event::InvalidDeviceRequest { request: 0, .. }, Event::InvalidDeviceRequest { request: 5, .. }]
    ));
}

#[test]
fn the_exclusion_range_goes_around_translation() {
    let (mut bench, tables, page) = translated(3);
    let frame = page.addr().get() >> 12;
    bench.write(registers::EXCLUSION_LIMIT, ExclusionLimit::new().with_frame(frame).into());
    let base = ExclusionBase::new().with_frame(frame).with_enable(true);
    bench.write(registers::EXCLUSION_BASE, base.into());
    assert!(write(&bench, page.addr().get()).is_err(), "not for this device");
    let mut entry = DeviceTableEntry::translated(DOMAIN, tables.root(), 3);
    entry.domain = entry.domain.with_exclusion(true);
    bench.set_device(DEVICE, entry);
    bench.submit(&[Command::invalidate_devtab_entry(DEVICE)]);
    write(&bench, page.addr().get()).unwrap();
    assert!(write(&bench, page.addr().get() + 4096).is_err());
    bench.set_device(OTHER, DeviceTableEntry::blocked(DomainId(0)));
    assert!(bench.machine.dma_write(OTHER, page.addr().get(), &[0]).is_err());
    bench.write(registers::EXCLUSION_BASE, base.with_allow_all(true).into());
    bench.machine.dma_write(OTHER, page.addr().get(), &[0]).unwrap();
}

#[test]
fn tables_that_cannot_be_read_are_told() {
    let (mut bench, _tables, _page) = translated(3);
    bench.set_device(OTHER, DeviceTableEntry::translated(DomainId(9), 0x40_0000_0000, 3));
    assert!(bench.machine.dma_write(OTHER, 0x5000, &[0]).is_err());
    assert!(matches!(
        bench.events()[..],
        [Event::PageTabHardwareError { device: OTHER, domain: DomainId(9), address: 0x40_0000_0000, .. }]
    ));
    bench.unit.set_faults(FaultPlan::new(0).lifecycle_times(LifecycleFault::DeviceTableError, 1));
    bench.submit(&[Command::invalidate_iommu_all()]);
    assert!(write(&bench, 0x5000).is_err());
    assert!(matches!(bench.events()[..], [Event::DevTabHardwareError { device: DEVICE, .. }]));
    write(&bench, 0x5000).unwrap();
}

#[test]
fn events_can_be_suppressed() {
    let (mut bench, tables, _page) = translated(3);
    let mut entry = DeviceTableEntry::translated(DOMAIN, tables.root(), 3);
    for (se, sa, expected) in [(false, false, 3), (true, false, 1), (false, true, 0)] {
        entry.domain = entry.domain.with_suppress_events(se).with_suppress_all_events(sa);
        bench.set_device(DEVICE, entry);
        bench.submit(&[Command::invalidate_devtab_entry(DEVICE)]);
        for _ in 0..3 {
            assert!(write(&bench, 0x9000).is_err());
        }
        assert_eq!(bench.events().len(), expected);
    }
}

#[test]
fn segments_divide_the_device_table() {
    let config =
        Config { devices: amd_vi_spec::DeviceId(0)..=amd_vi_spec::DeviceId(u16::MAX), ..Config::default() };
    let bench = Bench::new(config);
    let page = bench.memory.allocate(4096).unwrap();
    let segments: Vec<_> = (0..8)
        .map(|segment| {
            let table: redox_driver_sys::dma::DmaSlice<DeviceTableEntry> =
                bench.memory.allocate_slice(1 << 13).unwrap();
            for index in 0..table.len() {
                table.write(index, DeviceTableEntry::blocked(DomainId(0)));
            }
            let base = registers::DeviceTableBase::new().with_frame(table.addr().get() >> 12).with_size(63);
            bench.write(registers::device_table_base(segment), base.into());
            table
        })
        .collect();
    bench.control(|control| control.with_dev_tbl_seg_en(3));
    for (segment, table) in segments.iter().enumerate() {
        let device = amd_vi_spec::DeviceId(u16::try_from(segment << 13 | 0x123).unwrap());
        table.write(0x123, DeviceTableEntry::passing(DomainId(1)));
        bench.machine.dma_write(device, page.addr().get(), &[0]).unwrap();
        let next = amd_vi_spec::DeviceId(device.0 + 1);
        assert!(bench.machine.dma_write(next, page.addr().get(), &[0]).is_err());
    }
    assert_eq!(bench.events().len(), 8);
    bench.assert_clean();
}
