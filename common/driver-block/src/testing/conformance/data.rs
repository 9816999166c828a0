//! Reads and writes of every shape.

use fastrand::Rng;

use super::{Setup, Specimen, Unable, bench::Bench};
use crate::{
    device::Operation,
    request::{Request, Segments},
};

/// A page, as most devices count.
const PAGE: usize = 4096;

fn all_lengths<S: Specimen>(bench: &mut Bench<S>) {
    let disk = bench.disk();
    let most = u64::from(disk.limits.max_transfer / disk.limits.block_size);
    let room = (bench.buffer.len() / bench.block_size()) as u64 / 2;
    let mut lengths: Vec<u64> = (1..=40).collect();
    lengths.extend([63, 64, 65, 127, 128, 129, 255, 256, 257]);
    lengths.extend([most - 1, most, most + 1, 2 * most, 2 * most + 1]);
    lengths.retain(|&blocks| (1..=room).contains(&blocks));
    for (seed, &blocks) in (0..).zip(&lengths) {
        let lba = seed * 37 % (disk.blocks - blocks);
        bench.write(lba, blocks, seed);
        // With what is around it, as far as there is something.
        let before = lba.min(3);
        let after = (disk.blocks - lba - blocks).min(3);
        bench.read(lba - before, before + blocks + after);
    }
    // The ends of the disk.
    bench.write(0, 1, 100);
    bench.write(disk.blocks - 1, 1, 101);
    bench.write(disk.blocks - 8, 8, 102);
    bench.read(disk.blocks - 9, 9);
    bench.read(0, 2);
    bench.check();
}

pub(super) fn lengths<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    all_lengths(&mut Bench::<S>::new(variant, &Setup::default())?);
    Ok(())
}

pub(super) fn large_blocks<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let setup = Setup { block_size: 4096, blocks: 2048, ..Setup::default() };
    all_lengths(&mut Bench::<S>::new(variant, &setup)?);
    Ok(())
}

pub(super) fn alignments<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let align = bench.disk().limits.dma_alignment as usize;
    let places = (0..PAGE).step_by(align.max(68 / align * align));
    let near_the_end = (1..=8).map(|n| PAGE - n * align);
    for (seed, at) in (0..).zip(places.chain(near_the_end)) {
        // One block, a page, and more pages than one list of a device may have.
        for (lba, blocks) in [(seed * 3, 1), (500 + seed, 8), (1000 + seed, 77)] {
            bench.write_from(lba, blocks, at, seed);
            bench.read_to(lba, blocks, at + PAGE * 32);
        }
    }
    bench.check();
    Ok(())
}

/// Cuts memory into pieces that the disk's limits allow.
fn cut<S: Specimen>(bench: &Bench<S>, rng: &mut Rng, blocks: u64) -> (Segments, Vec<(usize, usize)>) {
    let limits = bench.disk().limits;
    let boundary = limits.segment_boundary.max(limits.dma_alignment) as usize;
    // Pieces may meet at any multiple of this. No block needs more of them than a command may have.
    let grain = boundary.max(bench.block_size() / usize::from(limits.max_segments).min(16)).max(4);
    let (mut left, mut at) = (bench.bytes(blocks), 0);
    let mut pieces = Vec::new();
    while left > 0 {
        let len = (grain * rng.usize(1..6)).min(left);
        pieces.push((at, len));
        left -= len;
        // With a gap, so that they are pieces indeed.
        at += len.next_multiple_of(grain) + grain * rng.usize(0..3);
    }
    // Scattered: the last in the middle of the others.
    if pieces.len() > 3 && left == 0 {
        let middle = pieces.len() / 2;
        let end = pieces.len() - 2;
        if pieces[middle].1 == pieces[end].1 {
            pieces.swap(middle, end);
        }
    }
    (pieces.iter().map(|&(at, len)| bench.segment(at, len)).collect(), pieces)
}

pub(super) fn pieces<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let mut rng = Rng::with_seed(7);
    for seed in 0..120 {
        let blocks = rng.u64(1..200);
        let lba = rng.u64(0..4000);
        let (segments, pieces) = cut(&bench, &mut rng, blocks);
        let data = bench.pattern(blocks, seed);
        let mut rest = &data[..];
        for &(at, len) in &pieces {
            let (part, left) = rest.split_at(len);
            bench.buffer.copy_from(at, part).unwrap();
            rest = left;
        }
        let write = Request::transfer(Operation::Write, bench.disk, lba, blocks, segments, 0);
        assert_eq!(bench.execute(write), Ok(()), "{blocks} blocks from {pieces:?}");
        bench.now_holds(lba, &data);
        let (segments, pieces) = cut(&bench, &mut rng, blocks);
        bench.buffer.fill(0, bench.buffer.len(), 0xa5).unwrap();
        let read = Request::transfer(Operation::Read, bench.disk, lba, blocks, segments, 0);
        assert_eq!(bench.execute(read), Ok(()), "{blocks} blocks to {pieces:?}");
        let mut found = vec![0; data.len()];
        let mut at_data = 0;
        for &(at, len) in &pieces {
            bench.buffer.copy_to(at, &mut found[at_data..at_data + len]).unwrap();
            at_data += len;
        }
        assert!(found == data, "{blocks} blocks at {lba} read wrong into {pieces:?}");
    }
    bench.check();
    Ok(())
}

pub(super) fn split<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let disk = bench.disk();
    let most = u64::from(disk.limits.max_transfer / disk.limits.block_size);
    let blocks = 2 * most + most / 2 + 1;
    if blocks > disk.blocks || bench.bytes(blocks) > bench.buffer.len() {
        return Err(Unable("one command takes more than all of the disk"));
    }
    let lba = disk.blocks - blocks;
    bench.write(lba, blocks, 1);
    bench.read(lba, blocks);
    let statistics = bench.engine.statistics();
    for operation in [Operation::Read, Operation::Write] {
        let counted = statistics.of(operation);
        assert_eq!((counted.requests, counted.commands, counted.splits), (1, 3, 2), "{operation:?}");
    }
    bench.check();
    Ok(())
}

pub(super) fn merged<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let size = bench.block_size();
    let data = bench.pattern(16, 5);
    bench.buffer.copy_from(0, &data).unwrap();
    // Neighbours on the disk and in memory; one in the middle is not of them.
    let writes = (0..16).map(|n| {
        let at = usize::try_from(n).unwrap() * size;
        (0, bench.transfer(Operation::Write, 100 + n + u64::from(n >= 9) * 50, 1, at, n))
    });
    let writes: Vec<_> = writes.collect();
    assert!(bench.all(writes).values().all(Result::is_ok));
    bench.now_holds(100, &data[..9 * size]);
    bench.now_holds(159, &data[9 * size..]);
    let statistics = bench.engine.statistics();
    let written = statistics.of(Operation::Write);
    assert_eq!((written.requests, written.commands, written.merges), (16, 2, 14));
    bench.read(90, 100);
    bench.check();
    Ok(())
}

/// Requests that do not meet each other, on all queues at once, again and again.
pub(super) fn random<S: Specimen>(variant: &S::Variant) -> Result<(), Unable> {
    let mut bench = Bench::<S>::new(variant, &Setup::default())?;
    let mut rng = Rng::with_seed(11);
    let disk = bench.disk();
    let zone = disk.blocks / 32;
    for round in 0..60 {
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for slot in 0..32u64 {
            let blocks = rng.u64(1..=zone.min(150));
            let lba = slot * zone + rng.u64(0..=zone - blocks);
            let at = usize::try_from(slot).unwrap() * (bench.buffer.len() / 32);
            let queue = rng.u16(0..bench.queues());
            let request = match rng.u8(0..10) {
                0 => Request::flush(bench.disk, slot),
                1 => Request::range(Operation::WriteZeroes, bench.disk, lba, blocks, slot),
                2..6 => bench.transfer(Operation::Read, lba, blocks, at, slot),
                _ => bench.transfer(Operation::Write, lba, blocks, at, slot),
            };
            let data = match request.operation {
                Operation::Write => bench.pattern(blocks, round * 32 + slot),
                _ => vec![0; bench.bytes(blocks)],
            };
            if request.operation == Operation::Write {
                bench.buffer.copy_from(at, &data).unwrap();
            }
            let request = if rng.bool() { request.with_fua() } else { request };
            expected.push((request.operation, lba, blocks, at, data));
            requests.push((queue, request));
        }
        let answers = bench.all(requests);
        assert!(answers.values().all(Result::is_ok), "{answers:?}");
        for (operation, lba, blocks, at, data) in expected {
            match operation {
                Operation::Read => bench.compare(lba, blocks, at),
                Operation::Write | Operation::WriteZeroes => bench.now_holds(lba, &data),
                Operation::Flush | Operation::Discard => {}
            }
        }
    }
    bench.check();
    let statistics = bench.engine.statistics().total();
    assert_eq!((statistics.succeeded, statistics.failed), (60 * 32, 0));
    Ok(())
}
