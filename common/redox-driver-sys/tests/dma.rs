//! Memory shared with the device: what it can reach, and what it cannot any more.

mod common;

use common::{copy, host, start, started};
use redox_driver_sys::{
    Error,
    dma::{DmaAddr, DmaSlice, PAGE_SIZE},
    model::{DmaFault, DmaMode},
};

#[test]
fn memory_is_zeroed_aligned_and_reachable() {
    let host = host();
    let (function, registers) = started(host.function());
    let dma = function.dma().unwrap();
    assert_eq!(dma.name(), "model");
    let source = dma.allocate(PAGE_SIZE + 33).unwrap();
    let target = dma.allocate_aligned(100, 1 << 16).unwrap();
    assert_eq!((source.len(), target.len()), (PAGE_SIZE + 33, 100));
    assert_eq!(source.addr().get() % PAGE_SIZE as u64, 0);
    assert_eq!(target.addr().get() % (1 << 16), 0);
    let mut bytes = vec![1; source.len()];
    source.copy_to(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));

    let text = b"over the bus and back";
    source.copy_from(PAGE_SIZE - 10, text).unwrap();
    let from = source.addr().offset(PAGE_SIZE as u64 - 10);
    // Across the end of a page, but within the memory.
    assert_eq!(copy(&host, &registers, from.get(), target.addr().get() + 5, 11), []);
    let mut bytes = [0; 13];
    target.copy_to(4, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0over the bu\0");
}

#[test]
fn accesses_of_the_cpu_stay_inside() {
    let (function, _registers) = started(host().function());
    let buffer = function.dma().unwrap().allocate(64).unwrap();
    buffer.write(60, 0x1122_3344_u32).unwrap();
    assert_eq!(buffer.read::<u32>(60).unwrap(), 0x1122_3344);
    assert_eq!(buffer.read::<[u8; 2]>(62).unwrap(), [0x22, 0x11]);
    let refused = [
        buffer.read::<u32>(61).map(drop),
        buffer.read::<u8>(64).map(drop),
        buffer.read::<u64>(usize::MAX).map(drop),
        buffer.write(64, 0u8),
        buffer.copy_from(1, &[0; 64]),
        buffer.copy_to(usize::MAX, &mut [0; 2]),
        buffer.fill(0, 65, 1),
        buffer.load_acquire::<u32>(62).map(drop),
        buffer.load_acquire::<u32>(64).map(drop),
        buffer.store_release(2, 0u32),
        buffer.segment(63, 2).map(drop),
        buffer.slice(0..65).map(drop),
        buffer.slice(std::ops::Range { start: 3, end: 2 }).map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::OutOfBounds { region: 64, .. })), "{refused:?}");
    }
    buffer.store_release(56, u64::MAX).unwrap();
    assert_eq!(buffer.load_acquire::<u64>(56).unwrap(), u64::MAX);
    assert_eq!(buffer.segment(63, 1).unwrap().addr, buffer.addr().offset(63));
}

#[test]
fn a_slice_is_the_same_memory_and_keeps_it() {
    let host = host();
    let (function, registers) = started(host.function());
    let dma = function.dma().unwrap();
    let whole = dma.allocate(PAGE_SIZE).unwrap();
    let part = whole.slice(1000..1100).unwrap();
    let inner = part.slice(10..20).unwrap();
    assert_eq!(inner.addr(), whole.addr().offset(1010));
    whole.fill(1010, 10, 0x5a).unwrap();
    assert_eq!(inner.read::<[u8; 10]>(0).unwrap(), [0x5a; 10]);
    assert!(inner.read::<[u8; 11]>(0).is_err());
    drop(whole);
    drop(part);
    let mapped = host.mapped_bytes();
    let target = dma.allocate(16).unwrap();
    assert_eq!(copy(&host, &registers, inner.addr().get(), target.addr().get(), 10), []);
    assert_eq!(target.read::<[u8; 11]>(0).unwrap()[8..], [0x5a, 0x5a, 0]);
    drop(inner);
    assert_eq!(host.mapped_bytes(), mapped, "one page went, one came");
}

#[test]
fn stray_dma_is_blocked() {
    let host = host();
    let (function, registers) = started(host.function());
    let dma = function.dma().unwrap();
    let first = dma.allocate(PAGE_SIZE).unwrap();
    let second = dma.allocate(PAGE_SIZE).unwrap();
    second.fill(0, PAGE_SIZE, 0x77).unwrap();
    let (a, b) = (first.addr().get(), second.addr().get());
    let page = PAGE_SIZE as u64;
    // Behind the end, before the start, at 0, at the end of the address space.
    for (from, len) in [(a + page - 4, 8), (a - 4, 8), (0, 4), (u64::MAX - 3, 4), (u64::MAX - 3, 16)] {
        let faults = copy(&host, &registers, from, b, len);
        assert_eq!(faults, [DmaFault { addr: from, len: len as usize, write: false }]);
    }
    let faults = copy(&host, &registers, a, b + page - 4, 8);
    assert_eq!(faults, [DmaFault { addr: b + page - 4, len: 8, write: true }]);
    let mut bytes = vec![0; PAGE_SIZE];
    second.copy_to(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0x77), "all or nothing");
}

#[test]
fn releasing_revokes() {
    let host = host();
    let (function, registers) = started(host.function());
    let dma = function.dma().unwrap();
    let source = dma.allocate(64).unwrap();
    let target = dma.allocate(64).unwrap();
    let at = target.addr().get();
    start(&registers, source.addr().get(), at, 64, 0);
    drop(target);
    host.advance(common::DELAY * 2);
    assert_eq!(host.take_faults(), [DmaFault { addr: at, len: 64, write: true }]);
    drop(source);
    assert_eq!(host.mapped_bytes(), 0);
}

#[test]
fn nothing_is_reached_without_bus_mastering() {
    let host = host();
    let (function, registers) = started(host.function());
    let buffer = function.dma().unwrap().allocate(64).unwrap();
    let addr = buffer.addr().get();
    assert_eq!(copy(&host, &registers, addr, addr + 32, 32), []);
    function.set_bus_master(false).unwrap();
    assert_eq!(copy(&host, &registers, addr, addr + 32, 32).len(), 1);
    function.set_bus_master(true).unwrap();
    drop(function);
    assert_eq!(copy(&host, &registers, addr, addr + 32, 32).len(), 1, "the driver is gone");
}

#[test]
fn masks_and_alignments_are_honoured() {
    for mode in [DmaMode::Iommu, DmaMode::Physical { memory_at: 1 << 32 }] {
        let host = host();
        let (function, _registers) = started(host.function_with(mode));
        let dma = function.dma().unwrap().with_address_bits(21);
        assert_eq!(dma.mask(), 0x1f_ffff);
        let mut held = Vec::new();
        let error = loop {
            match dma.allocate(64 << 10) {
                Ok(buffer) => held.push(buffer),
                Err(error) => break error,
            }
        };
        assert!(held.iter().all(|buffer| buffer.addr().get() + buffer.len() as u64 <= 1 << 21));
        assert!(held.len() > 10, "{}", held.len());
        assert!(matches!(error, Error::DmaMemory { mask: 0x1f_ffff, .. }), "{error}");
        held.clear();
        dma.allocate(64 << 10).unwrap();
        assert!(dma.allocate_aligned(1, 3).is_err());
        assert!(dma.allocate_aligned(1, 0).is_err());
        assert!(dma.allocate(usize::MAX).is_err());
        assert!(dma.allocate_slice::<u64>(usize::MAX / 4).is_err());
        assert_eq!(dma.with_address_bits(64).mask(), u64::MAX);
        assert_eq!(dma.with_address_bits(200).mask(), u64::MAX);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct Entry {
    address: u64,
    len: u32,
    flags: u32,
}

#[test]
fn tables_of_entries() {
    let (function, _registers) = started(host().function());
    let dma = function.dma().unwrap();
    let table = dma.allocate_slice::<Entry>(3).unwrap();
    assert_eq!((table.len(), table.is_empty()), (3, false));
    let entry = Entry { address: 0x1234_5678_9abc, len: 7, flags: 0x8000_0001 };
    table.write(2, entry);
    assert_eq!(table.read(2), entry);
    assert_eq!(table.read(1), Entry { address: 0, len: 0, flags: 0 });
    assert_eq!(table.addr_of(2), table.addr().offset(32));
    assert_eq!(table.load_acquire::<u32>(2, 12), 0x8000_0001);
    table.clear();
    assert_eq!(table.read(2).address, 0);

    let buffer = dma.allocate(100).unwrap();
    assert!(DmaSlice::<Entry>::new(buffer.clone(), 7).is_err(), "too short");
    assert!(DmaSlice::<Entry>::new(buffer.slice(4..100).unwrap(), 1).is_err(), "not aligned");
    assert!(DmaSlice::<Entry>::new(buffer.clone(), usize::MAX).is_err());
    assert_eq!(DmaSlice::<Entry>::new(buffer, 6).unwrap().len(), 6);
}

#[test]
#[should_panic(expected = "index 3 of a DMA slice of 3 elements")]
fn an_index_of_the_driver_is_checked() {
    let (function, _registers) = started(host().function());
    function.dma().unwrap().allocate_slice::<Entry>(3).unwrap().read(3);
}

#[test]
fn addresses_wrap_like_the_bus() {
    assert_eq!(DmaAddr::new(u64::MAX).offset(2).get(), 1);
    assert_eq!(format!("{:#x}", DmaAddr::new(0xabc)), "0xabc");
}
