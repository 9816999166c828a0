//! What the disk says of itself, and requests that it does not take.

use std::io::{IoSlice, IoSliceMut};

use anyhow::{Result, ensure};
use rustix::{
    fs::ioctl_blkpbszget,
    io::{Errno, ReadWriteFlags, preadv2},
};

use crate::{Outcome, bench::Bench, disk::Memory};

pub(crate) fn geometry(bench: &mut Bench) -> Result<Outcome> {
    let disk = &bench.disk;
    let (block, physical) = (disk.block as u64, u64::from(ioctl_blkpbszget(&disk.file)?));
    ensure!(block.is_power_of_two() && (512..=4096).contains(&block), "blocks of {block} bytes");
    ensure!(physical >= block && physical.is_multiple_of(block), "physical blocks of {physical} bytes");
    ensure!(disk.number("queue/logical_block_size")? == block, "sysfs has another block size");
    ensure!(disk.number("size")? * 512 == disk.bytes, "sysfs has another size");
    ensure!(disk.bytes.is_multiple_of(block), "{} bytes are no whole blocks", disk.bytes);
    let [most, hardware] = ["queue/max_sectors_kb", "queue/max_hw_sectors_kb"].map(|name| disk.number(name));
    let (most, hardware) = (most?, hardware?);
    ensure!(most > 0 && most <= hardware, "requests of {most} KiB, the hardware's have {hardware}");
    ensure!(disk.number("ro")? == 0, "it is read-only");
    Ok(Outcome::Passed(format!("{} bytes, blocks of {block}, physical ones of {physical}", disk.bytes)))
}

pub(crate) fn unaligned(bench: &mut Bench) -> Result<Outcome> {
    let block = bench.disk.block;
    let mut memory = Memory::new(4 * block);
    for (offset, len) in [(0, block - 1), (1, block), (block / 2, block), (0, block + 256), (block, 1)] {
        let data = &mut memory.all_mut()[..len];
        let read =
            preadv2(&bench.disk.file, &mut [IoSliceMut::new(data)], offset as u64, ReadWriteFlags::empty());
        ensure!(read == Err(Errno::INVAL), "a read of {len} bytes at {offset}: {read:?}");
        let write = bench.disk.try_write(offset as u64, &[IoSlice::new(data)], ReadWriteFlags::empty());
        ensure!(write == Err(Errno::INVAL), "a write of {len} bytes at {offset}: {write:?}");
    }
    bench.check_all()?;
    Ok(Outcome::Passed("EINVAL".to_owned()))
}

pub(crate) fn beyond_the_end(bench: &mut Bench) -> Result<Outcome> {
    let block = bench.disk.block;
    let end = bench.disk.bytes;
    let mut memory = Memory::new(2 * block);
    let flags = ReadWriteFlags::empty();
    for offset in [end, end + block as u64, 1 << 60] {
        let data = &mut memory.all_mut()[..block];
        let read = preadv2(&bench.disk.file, &mut [IoSliceMut::new(data)], offset, flags);
        ensure!(read == Ok(0), "a read at {offset}: {read:?}");
        let write = bench.disk.try_write(offset, &[IoSlice::new(data)], flags);
        ensure!(write == Err(Errno::NOSPC), "a write at {offset}: {write:?}");
    }
    // Half inside: as far as there is something.
    let last = end - block as u64;
    let read = preadv2(&bench.disk.file, &mut [IoSliceMut::new(memory.all_mut())], last, flags);
    ensure!(read == Ok(block), "a read across the end: {read:?}");
    bench.check_all()?;
    Ok(Outcome::Passed(format!("reads end at {end}, writes there are ENOSPC")))
}
