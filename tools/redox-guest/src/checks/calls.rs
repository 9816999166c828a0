//! What the scheme does by `call`: discard, write-zeroes, statistics, limits.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use driver_block::frontend::scheme::verbs::{
    COUNTERS, DISCARD, LIMITS, LIMITS_FIELDS, STATISTICS, WRITE_ZEROES,
};
use redox_guest::console::Console;
use redox_guest::{pattern, system};
use syscall::error::{EINVAL, EOPNOTSUPP};

use super::{CHUNK, refused, same};
use crate::Subject;

/// The bytes that are discarded and zeroed.
const RANGE: (u64, u64) = (4 << 20, 8 << 20);
/// The writing that is there before.
const GENERATION: u64 = 55;

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    console.own("limits are told by call", || limits(subject))
        & console.own("discard by call", || discard(subject))
        & console.own("write-zeroes by call", || write_zeroes(subject))
        & console.own("statistics by call count what was done", || statistics(subject))
        & console.own("calls that make no sense are refused", || senseless(subject))
}

fn numbers<const COUNT: usize>(disk: &File, verb: u64) -> Result<[u64; COUNT]> {
    let mut bytes = vec![0; COUNT * size_of::<u64>()];
    let len = system::call_read(disk, &mut bytes, verb).with_context(|| format!("call {verb}"))?;
    same("bytes of the answer", len, bytes.len())?;
    let mut numbers = [0; COUNT];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *number = u64::from_le_bytes(bytes.try_into().context("a number is 8 bytes")?);
    }
    Ok(numbers)
}

fn ranges(disk: &File, verb: u64, offset: u64, length: u64) -> std::io::Result<usize> {
    system::call_write(disk, &[offset.to_le_bytes(), length.to_le_bytes()].concat(), verb)
}

fn limits(subject: &Subject) -> Result<String> {
    let [block, physical, _, most, granularity, read_only, ..] =
        numbers::<LIMITS_FIELDS>(&subject.disk().open_whole()?, LIMITS)?;
    same("block size", block, 512)?;
    same("read-only", read_only, 0)?;
    if most < block || granularity == 0 || physical < block {
        bail!("most of a transfer {most}, discard granularity {granularity}, physical block {physical}");
    }
    Ok(format!("blocks of {block}, {most} at a time, discards {granularity}"))
}

fn fill(disk: &File) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    for offset in (0..2 * RANGE.1).step_by(CHUNK) {
        pattern::fill(GENERATION, offset, &mut chunk);
        disk.write_all_at(&chunk, offset).with_context(|| format!("write at {offset:#x}"))?;
    }
    Ok(())
}

/// What is outside of the range is as it was written.
fn verify(disk: &File, mut inside: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    for offset in (0..2 * RANGE.1).step_by(CHUNK) {
        disk.read_exact_at(&mut chunk, offset).with_context(|| format!("read at {offset:#x}"))?;
        if (RANGE.0..RANGE.0 + RANGE.1).contains(&offset) {
            inside(&chunk)?;
        } else {
            pattern::verify(GENERATION, offset, &chunk)?;
        }
    }
    Ok(())
}

fn discard(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    fill(&disk)?;
    disk.sync_all().context("sync")?;
    same("answer", ranges(&disk, DISCARD, RANGE.0, RANGE.1).context("discard")?, 0)?;
    // What was discarded may read as anything.
    verify(&disk, |_| Ok(()))?;
    Ok(format!("{} MiB", RANGE.1 >> 20))
}

fn write_zeroes(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    fill(&disk)?;
    same("answer", ranges(&disk, WRITE_ZEROES, RANGE.0, RANGE.1).context("write zeroes")?, 0)?;
    verify(&disk, |chunk| {
        if chunk.iter().any(|byte| *byte != 0) {
            bail!("what was zeroed is not zero");
        }
        Ok(())
    })?;
    Ok(format!("{} MiB", RANGE.1 >> 20))
}

fn statistics(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    let before = numbers::<COUNTERS>(&disk, STATISTICS)?;
    let mut buffer = vec![0; 64 << 10];
    for index in 0..10 {
        disk.read_exact_at(&mut buffer, index * 65_536).context("read")?;
    }
    for index in 0..3 {
        disk.write_all_at(&buffer, index * 65_536).context("write")?;
    }
    disk.sync_all().context("sync")?;
    ranges(&disk, DISCARD, RANGE.0, RANGE.1).context("discard")?;
    ranges(&disk, WRITE_ZEROES, RANGE.0, RANGE.1).context("write zeroes")?;
    let after = numbers::<COUNTERS>(&disk, STATISTICS)?;
    let mut grown = [0; COUNTERS];
    for (grown, (after, before)) in grown.iter_mut().zip(after.into_iter().zip(before)) {
        *grown = after.wrapping_sub(before);
    }
    let [reads, read, writes, written, flushes, discards, zeroes, failures] = grown;
    same("reads and writes", (reads, read, writes, written), (10, 655_360, 3, 196_608))?;
    same("flushes, discards, write-zeroes, failures", (flushes, discards, zeroes, failures), (1, 1, 1, 0))?;
    Ok(format!("{after:?}"))
}

fn senseless(subject: &Subject) -> Result<String> {
    let disk = subject.disk().open_whole()?;
    // Not a constant: the kernel lends no read-only memory to a scheme.
    let mut numbers = [[0; 8]; 2].concat();
    refused("verb 99", system::call_write(&disk, &numbers, 99), EOPNOTSUPP)?;
    for (what, offset, length) in [
        ("an unaligned offset", 1, 512),
        ("an unaligned length", 0, 100),
        ("a range beyond the end", subject.bytes, 512),
        ("a range across the end", subject.bytes - 512, 1024),
        ("a range that wraps round", u64::MAX - 511, 1024),
    ] {
        refused(what, ranges(&disk, DISCARD, offset, length), EINVAL)?;
        refused(what, ranges(&disk, WRITE_ZEROES, offset, length), EINVAL)?;
    }
    refused("no range", system::call_write(&disk, &[], DISCARD), EINVAL)?;
    numbers.truncate(8);
    refused("half a range", system::call_write(&disk, &numbers, DISCARD), EINVAL)?;
    Ok("13 calls".to_owned())
}
