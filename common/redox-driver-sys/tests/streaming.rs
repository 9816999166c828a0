//! Memory lent for one transfer: direction, the bounce pool, and what must not leak through it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

mod common;

use common::{copy, host, start, started};
use redox_driver_sys::{
    Error,
    dma::{
        Bidirectional, BounceStatistics, DmaAllocator, FromDevice, HostBuffer, Mapping, PAGE_SIZE, ToDevice,
    },
    mmio::Mmio,
    model::{DmaMode, Host},
    pci::PciFunction,
};

/// Memory that was not allocated for DMA is beyond 4 GiB.
const PHYSICAL: DmaMode = DmaMode::Physical { memory_at: 1 << 32 };
/// Pages in a bounce pool.
const POOL: usize = 1024;

struct Machine {
    host: Host,
    _function: PciFunction,
    registers: Mmio,
    dma: DmaAllocator,
}

fn machine(mode: DmaMode, bits: u32) -> Machine {
    let host = host();
    let (function, registers) = started(host.function_with(mode));
    let dma = function.dma().unwrap().with_address_bits(bits);
    Machine { host, _function: function, registers, dma }
}

fn buffer(bytes: &[u8]) -> HostBuffer {
    let mut buffer = HostBuffer::new(bytes.len()).unwrap();
    buffer.copy_from_slice(bytes);
    buffer
}

fn lend<D: redox_driver_sys::dma::Direction>(dma: &DmaAllocator, bytes: &[u8], direction: D) -> Mapping<D> {
    dma.map_single(buffer(bytes), direction).unwrap()
}

#[test]
fn bytes_arrive_with_and_without_bouncing() {
    for (mode, bits, copies) in [
        (DmaMode::Iommu, 64, 0),
        (DmaMode::Iommu, 32, 0),
        (DmaMode::Iommu, 24, 0),
        (PHYSICAL, 64, 0),
        (PHYSICAL, 33, 0),
        (PHYSICAL, 32, 1),
    ] {
        let m = machine(mode, bits);
        let pattern: Vec<u8> = (0..10_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let source = lend(&m.dma, &pattern, ToDevice);
        let target = lend(&m.dma, &vec![0xee; pattern.len()], FromDevice);
        assert_eq!(source.is_bounced(), copies == 1);
        assert!(source.addr().get() + pattern.len() as u64 <= 1u64.checked_shl(bits).unwrap_or(u64::MAX));
        assert_eq!(target.segment().unwrap().len as usize, pattern.len());
        assert_eq!(
            copy(&m.host, &m.registers, source.addr().get(), target.addr().get(), 10_000),
            [],
            "{mode:?} {bits}"
        );
        assert_eq!(*source.unmap().unwrap(), *pattern);
        assert_eq!(*target.unmap().unwrap(), *pattern);
        let statistics = m.dma.bounce_statistics();
        let bytes = 2 * copies * pattern.len() as u64;
        assert_eq!(
            statistics,
            BounceStatistics { copies_in: copies, copies_out: copies, bytes, pages_in_use: 0 },
            "{mode:?} {bits}"
        );
    }
}

#[test]
fn the_direction_decides_what_is_copied() {
    let m = machine(PHYSICAL, 32);
    let count = || {
        let BounceStatistics { copies_in, copies_out, .. } = m.dma.bounce_statistics();
        (copies_in, copies_out)
    };
    lend(&m.dma, &[1; 100], ToDevice).unmap().unwrap();
    assert_eq!(count(), (1, 0));
    lend(&m.dma, &[1; 100], FromDevice).unmap().unwrap();
    assert_eq!(count(), (1, 1));
    lend(&m.dma, &[1; 100], Bidirectional).unmap().unwrap();
    assert_eq!(count(), (2, 2));
    assert_eq!(m.dma.bounce_statistics().bytes, 400);
}

#[test]
fn the_direction_is_enforced() {
    let m = machine(DmaMode::Iommu, 64);
    let out = lend(&m.dma, &[1; 64], ToDevice);
    let input = lend(&m.dma, &[2; 64], FromDevice);
    let both = lend(&m.dma, &[3; 64], Bidirectional);
    let (o, i, b) = (out.addr().get(), input.addr().get(), both.addr().get());
    assert!(copy(&m.host, &m.registers, i, b, 64).iter().all(|fault| fault.addr == i && !fault.write));
    assert!(copy(&m.host, &m.registers, b, o, 64).iter().all(|fault| fault.addr == o && fault.write));
    assert_eq!(copy(&m.host, &m.registers, i, b, 64).len(), 1);
    assert_eq!(copy(&m.host, &m.registers, b, o, 64).len(), 1);
    assert_eq!(copy(&m.host, &m.registers, o, b, 64), []);
    assert_eq!(copy(&m.host, &m.registers, b, i, 64), []);
    assert_eq!(*out.unmap().unwrap(), [1; 64]);
    assert_eq!(*input.unmap().unwrap(), [1; 64]);
    assert_eq!(*both.unmap().unwrap(), [1; 64]);
}

#[test]
fn what_came_back_is_out_of_reach() {
    let m = machine(DmaMode::Iommu, 64);
    let source = lend(&m.dma, &[1; 64], ToDevice);
    let target = lend(&m.dma, &[2; 64], FromDevice);
    start(&m.registers, source.addr().get(), target.addr().get(), 64, 0);
    let back = target.unmap().unwrap();
    m.host.advance(common::DELAY * 2);
    assert_eq!(m.host.take_faults().len(), 1);
    assert_eq!(*back, [2; 64]);
    // Dropping a mapping takes it away as well.
    let at = source.addr().get();
    let sink = m.dma.allocate(64).unwrap();
    assert_eq!(copy(&m.host, &m.registers, at, sink.addr().get(), 64), []);
    drop(source);
    assert_eq!(copy(&m.host, &m.registers, at, sink.addr().get(), 64).len(), 1);
    drop(sink);
    assert_eq!(m.host.mapped_bytes(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "copies megabytes: takes Miri many minutes")]
fn the_pool_can_be_exhausted_and_is_used_again() {
    let m = machine(PHYSICAL, 32);
    let mut held: Vec<_> = (0..POOL / 4).map(|_| lend(&m.dma, &[1; 4 * PAGE_SIZE], ToDevice)).collect();
    assert_eq!(m.dma.bounce_statistics().pages_in_use, POOL as u64);
    let (error, back) = m.dma.map_single(buffer(b"one more"), ToDevice).unwrap_err();
    assert!(error.to_string().contains("the bounce pool is full"), "{error}");
    assert_eq!(&*back, b"one more");
    // A transfer that is longer than the whole pool never fits.
    let long = HostBuffer::new((POOL + 1) * PAGE_SIZE).unwrap();
    assert!(matches!(m.dma.map_single(long, FromDevice), Err((Error::DmaMemory { .. }, _))));

    for mapping in held.drain(10..12) {
        mapping.unmap().unwrap();
    }
    let fits = lend(&m.dma, &[2; 8 * PAGE_SIZE], ToDevice);
    assert_eq!(m.dma.bounce_statistics().pages_in_use, POOL as u64);
    fits.unmap().unwrap();
    // Two holes of four pages that do not touch are no hole of eight.
    let mut others = held.drain(..);
    others.next().unwrap().unmap().unwrap();
    let kept = others.next().unwrap();
    others.next().unwrap().unmap().unwrap();
    let rest: Vec<_> = others.collect();
    let eight = lend(&m.dma, &[3; 8 * PAGE_SIZE], ToDevice);
    assert!(m.dma.map_single(HostBuffer::new(8 * PAGE_SIZE).unwrap(), ToDevice).is_err());
    for mapping in rest.into_iter().chain([kept, eight]) {
        mapping.unmap().unwrap();
    }
    assert_eq!(m.dma.bounce_statistics().pages_in_use, 0);
}

#[test]
#[cfg_attr(miri, ignore = "copies megabytes: takes Miri many minutes")]
fn a_list_is_mapped_whole_or_not_at_all() {
    let m = machine(PHYSICAL, 32);
    let buffers = |sizes: &[usize]| -> Vec<_> { sizes.iter().map(|&n| buffer(&vec![n as u8; n])).collect() };
    let (error, back) = m.dma.map_sg(buffers(&[100, 200, (POOL - 1) * PAGE_SIZE, 50]), ToDevice).unwrap_err();
    assert!(matches!(error, Error::DmaMemory { .. }), "{error}");
    assert_eq!(
        back.iter().map(|buffer| buffer.len()).collect::<Vec<_>>(),
        [100, 200, (POOL - 1) * PAGE_SIZE, 50]
    );
    assert!(back[1].iter().all(|&byte| byte == 200));
    assert_eq!(m.dma.bounce_statistics().pages_in_use, 0);

    let mapped = m.dma.map_sg(buffers(&[100, 5000, 50]), ToDevice).unwrap();
    assert_eq!(m.dma.bounce_statistics().pages_in_use, 4);
    let lens: Vec<_> = mapped.iter().map(|mapping| mapping.segment().unwrap().len).collect();
    assert_eq!(lens, [100, 5000, 50]);
    assert!(m.dma.map_sg(Vec::new(), FromDevice).unwrap().is_empty());
}

#[test]
fn nothing_leaks_from_one_transfer_into_the_next() {
    let m = machine(PHYSICAL, 32);
    let secret = [0x5e; 3 * PAGE_SIZE];
    let first = lend(&m.dma, &secret, ToDevice);
    let at = first.addr().get();
    first.unmap().unwrap();
    // The device reads the very same pages during a transfer that is shorter, and one in which it should only write.
    let second = lend(&m.dma, b"short", ToDevice);
    assert_eq!(second.addr().get(), at, "the pages are used again");
    let spy = lend(&m.dma, &[0xff; 3 * PAGE_SIZE], FromDevice);
    assert_eq!(copy(&m.host, &m.registers, at, spy.addr().get(), PAGE_SIZE as u32), []);
    let seen = spy.unmap().unwrap();
    assert_eq!(&seen[..5], b"short");
    assert!(seen[5..].iter().all(|&byte| byte == 0), "the rest of the page, and what was not written");
    second.unmap().unwrap();

    // A device that writes nothing gives nothing of another transfer to the CPU either.
    let mut ours = lend(&m.dma, &secret, FromDevice).unmap().unwrap();
    assert!(ours.iter().all(|&byte| byte == 0));
    ours.fill(1);
}

#[test]
fn an_unfinished_transfer_keeps_its_pages() {
    let m = machine(PHYSICAL, 32);
    let source = m.dma.allocate(PAGE_SIZE).unwrap();
    source.fill(0, PAGE_SIZE, 0x66).unwrap();
    let lost = lend(&m.dma, &[0; PAGE_SIZE], FromDevice);
    let at = lost.addr().get();
    start(&m.registers, source.addr().get(), at, PAGE_SIZE as u32, 0);
    // The driver gives up; the device does not.
    drop(lost);
    let next = lend(&m.dma, &[0; PAGE_SIZE], FromDevice);
    assert_ne!(next.addr().get(), at);
    m.host.advance(common::DELAY * 2);
    assert_eq!(m.host.take_faults(), [], "it still reaches the page");
    assert!(next.unmap().unwrap().iter().all(|&byte| byte == 0), "which is nobody else's");
    assert_eq!(m.dma.bounce_statistics().pages_in_use, 1);
}

#[test]
fn each_allocator_has_a_pool_of_its_own() {
    let m = machine(PHYSICAL, 32);
    let other = m.dma.with_address_bits(30);
    lend(&m.dma, &[1; 10], ToDevice).unmap().unwrap();
    assert_eq!(other.bounce_statistics(), BounceStatistics::default());
    assert!(lend(&other, &[1; 10], ToDevice).addr().get() < 1 << 30);
    assert_eq!(m.dma.clone().bounce_statistics().copies_in, 1, "clones share it");
}

#[test]
fn buffers_are_zeroed_and_fill_pages() {
    let buffer = HostBuffer::new(5000).unwrap();
    assert_eq!(buffer.len(), 5000);
    assert!(buffer.iter().all(|&byte| byte == 0));
    assert_eq!(buffer.as_ptr().addr() % PAGE_SIZE, 0);
    assert_eq!(HostBuffer::new(0).unwrap().len(), 0);
    assert!(HostBuffer::new(usize::MAX).is_err());
    assert!(HostBuffer::new(isize::MAX as usize).is_err());
}
