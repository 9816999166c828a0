//! Reads and writes of every shape.

use std::io::{IoSlice, IoSliceMut};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use rustix::io::ReadWriteFlags;

use crate::{
    Outcome,
    bench::{Bench, REGION},
    disk::Memory,
};

const PLAIN: ReadWriteFlags = ReadWriteFlags::empty();

pub(crate) fn lengths(bench: &mut Bench) -> Result<Outcome> {
    let mut memory = Memory::new(2 << 20);
    let mut counts: Vec<usize> = (1..=40).collect();
    counts.extend([63, 64, 65, 127, 128, 129, 255, 256, 257, 511]);
    let room = REGION / bench.disk.block - 512;
    for (number, &count) in counts.iter().enumerate() {
        let len = bench.blocks(count);
        let offset = bench.blocks((number * 613 + 1) % room);
        let memory = &mut memory.all_mut()[..len];
        bench.write(offset, memory, PLAIN)?;
        bench.read(offset, memory)?;
    }
    // The ends of the disk: the last block is beyond what is kept in mind.
    bench.write(0, &mut memory.all_mut()[..4096], PLAIN)?;
    let last = bench.disk.bytes - 4096;
    let (out, into) = memory.all_mut().split_at_mut(4096);
    bench.noise(out);
    bench.disk.write(last, &[IoSlice::new(out)], PLAIN)?;
    bench.disk.read(last, &mut [IoSliceMut::new(&mut into[..4096])])?;
    ensure!(out == &into[..4096], "the last block reads wrong");
    bench.check_all()?;
    Ok(Outcome::Passed(format!("{} lengths in blocks of {}", counts.len(), bench.disk.block)))
}

pub(crate) fn alignments(bench: &mut Bench) -> Result<Outcome> {
    // The kernel says what it wants as a mask.
    let step = usize::try_from(bench.disk.number("queue/dma_alignment")?)? + 1;
    let mut memory = Memory::new(1 << 20);
    let places: Vec<usize> = (0..4096).step_by(step.max(116 / step * step)).collect();
    for (number, &at) in places.iter().enumerate() {
        for count in [1, 8, 77] {
            let len = bench.blocks(count);
            let offset = bench.blocks(number * 200 + count);
            bench.write(offset, &mut memory.all_mut()[at..at + len], PLAIN)?;
            bench.read(offset, &mut memory.all_mut()[at..at + len])?;
        }
    }
    bench.check_all()?;
    Ok(Outcome::Passed(format!("{} places, multiples of {step}", places.len())))
}

/// Cuts the first bytes of memory into pieces of whole blocks with gaps between them.
fn cut<'a>(rng: &mut Rng, mut memory: &'a mut [u8], block: usize, mut blocks: usize) -> Vec<&'a mut [u8]> {
    let mut pieces = Vec::new();
    while blocks > 0 {
        let count = rng.usize(1..=3).min(blocks);
        let (piece, rest) = memory.split_at_mut(count * block);
        pieces.push(piece);
        memory = &mut rest[rng.usize(0..2) * 4096..];
        blocks -= count;
    }
    pieces
}

pub(crate) fn pieces(bench: &mut Bench) -> Result<Outcome> {
    let mut memory = Memory::new(4 << 20);
    let mut rng = Rng::with_seed(3);
    let mut most = 0;
    for _ in 0..40 {
        let count = rng.usize(1..150);
        let offset = bench.blocks(rng.usize(0..4000));
        let pieces = cut(&mut rng, memory.all_mut(), bench.disk.block, count);
        most = most.max(pieces.len());
        let mut data = Vec::new();
        for piece in pieces {
            bench.noise(piece);
            data.push(IoSlice::new(piece));
        }
        bench.disk.write(offset as u64, &data, PLAIN)?;
        let flat: Vec<u8> = data.iter().flat_map(|piece| piece.iter().copied()).collect();
        bench.now_holds(offset, &flat);
        let mut into = cut(&mut rng, memory.all_mut(), bench.disk.block, count);
        into.iter_mut().for_each(|piece| piece.fill(0xa5));
        let mut into: Vec<_> = into.into_iter().map(IoSliceMut::new).collect();
        bench.disk.read(offset as u64, &mut into)?;
        let found: Vec<u8> = into.iter().flat_map(|piece| piece.iter().copied()).collect();
        bench.compare(offset, &found)?;
    }
    bench.check_all()?;
    Ok(Outcome::Passed(format!("up to {most} pieces")))
}

pub(crate) fn long(bench: &mut Bench) -> Result<Outcome> {
    let most = usize::try_from(bench.disk.number("queue/max_sectors_kb")?)? << 10;
    let len = (most * 5 / 2).min(REGION / 2).next_multiple_of(bench.disk.block);
    ensure!(len > most, "the largest request of {most} bytes is all that is tried");
    let mut memory = Memory::new(len);
    bench.write(bench.disk.block, memory.all_mut(), PLAIN)?;
    bench.read(bench.disk.block, memory.all_mut())?;
    bench.check_all()?;
    Ok(Outcome::Passed(format!("{len} bytes in requests of up to {most}")))
}

/// Each thread has a part of the disk for itself, and keeps in mind what it wrote there.
fn worker(bench: &Bench, zone: usize, seed: u64) -> Result<Vec<u8>> {
    let mut rng = Rng::with_seed(seed);
    let block = bench.disk.block;
    let len = 2 << 20;
    let mut content = bench.must_hold(zone, len).to_vec();
    let mut memory = Memory::new(128 << 10);
    for _ in 0..150 {
        let bytes = rng.usize(1..=(96 << 10) / block) * block;
        let offset = rng.usize(0..=(len - bytes) / block) * block;
        let place = (zone + offset) as u64;
        let part = &mut memory.all_mut()[..bytes];
        if rng.bool() {
            rng.fill(part);
            bench.disk.write(place, &[IoSlice::new(part)], PLAIN)?;
            content[offset..offset + bytes].copy_from_slice(part);
        } else {
            bench.disk.read(place, &mut [IoSliceMut::new(part)])?;
            ensure!(part == &content[offset..offset + bytes], "{bytes} bytes at {place} read wrong");
        }
    }
    let mut all = Memory::new(len);
    bench.disk.read(zone as u64, &mut [IoSliceMut::new(all.all_mut())])?;
    ensure!(all.all() == content, "the part at {zone} is wrong in the end");
    Ok(content)
}

pub(crate) fn threads(bench: &mut Bench) -> Result<Outcome> {
    let shared = &*bench;
    let zones: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..8).map(|n| scope.spawn(move || worker(shared, n << 21, n as u64))).collect();
        let joined = workers.into_iter().map(|worker| worker.join().ok().context("a thread panicked")?);
        joined.collect::<Result<_>>()
    })?;
    zones.iter().enumerate().for_each(|(n, content)| bench.now_holds(n << 21, content));
    // What strayed would be outside of the threads' parts.
    bench.check_all()?;
    Ok(Outcome::Passed("8 threads, 150 requests each".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_blocks_and_have_all_of_them() {
        let mut memory = vec![0; 4 << 20];
        let pieces = cut(&mut Rng::with_seed(1), &mut memory, 512, 150);
        assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), 150 * 512);
        assert!(pieces.len() > 30 && pieces.iter().all(|piece| piece.len().is_multiple_of(512)));
    }
}
