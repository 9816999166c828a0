//! Requests that name a range and move no data.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::ReadWriteFlags,
};

use crate::{Outcome, bench::Bench, disk::Memory};

/// Blocks at which ranges begin, and their lengths.
const RANGES: [(usize, usize); 4] = [(8, 8), (64, 24), (1001, 1), (1024, 2048)];

fn filled(bench: &mut Bench) -> Result<()> {
    let mut memory = Memory::new(bench.blocks(4096));
    bench.write(0, memory.all_mut(), ReadWriteFlags::empty())
}

pub(crate) fn discard(bench: &mut Bench) -> Result<Outcome> {
    if bench.disk.number("queue/discard_max_bytes")? == 0 {
        return Ok(Outcome::Skipped("it cannot discard"));
    }
    filled(bench)?;
    let granule = usize::try_from(bench.disk.number("queue/discard_granularity")?)?.max(bench.disk.block);
    for (at, len) in RANGES {
        let (offset, len) =
            (bench.blocks(at).next_multiple_of(granule), bench.blocks(len).next_multiple_of(granule));
        let done = Command::new("blkdiscard")
            .arg("--force")
            .args(["--offset", &offset.to_string(), "--length", &len.to_string()])
            .arg(&bench.disk.path)
            .output()
            .context("cannot run blkdiscard")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
        // What it reads as is the disk's to choose, the same each time.
        let mut memory = Memory::new(len);
        bench.disk.read(offset as u64, &mut [std::io::IoSliceMut::new(memory.all_mut())])?;
        bench.now_holds(offset, memory.all());
        bench.read(offset, memory.all_mut())?;
    }
    bench.check_all()?;
    Ok(Outcome::Passed(format!("{} ranges, multiples of {granule}", RANGES.len())))
}

pub(crate) fn zeroes(bench: &mut Bench) -> Result<Outcome> {
    filled(bench)?;
    for (at, len) in RANGES {
        let (offset, len) = (bench.blocks(at), bench.blocks(len));
        fallocate(&bench.disk.file, FallocateFlags::ZERO_RANGE, offset as u64, len as u64)
            .with_context(|| format!("{len} bytes of zeroes at {offset}"))?;
        bench.now_holds(offset, &vec![0; len]);
    }
    bench.check_all()?;
    let most = bench.disk.number("queue/write_zeroes_max_bytes")?;
    Ok(Outcome::Passed(format!("a request has up to {most} bytes")))
}
