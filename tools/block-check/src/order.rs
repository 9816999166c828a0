//! Requests that promise that something is on the medium.

use std::io::IoSlice;

use anyhow::{Context, Result};
use rustix::io::ReadWriteFlags;

use crate::{Outcome, bench::Bench, disk::Memory};

pub(crate) fn durable_writes(bench: &mut Bench) -> Result<Outcome> {
    let mut memory = Memory::new(1 << 20);
    for (number, count) in [1, 8, 100, 255].into_iter().enumerate() {
        let len = bench.blocks(count);
        let offset = bench.blocks(number * 300);
        bench.write(offset, &mut memory.all_mut()[..len], ReadWriteFlags::DSYNC)?;
        bench.read(offset, &mut memory.all_mut()[..len])?;
    }
    let fua = bench.disk.number("queue/fua")?;
    Ok(Outcome::Passed(format!("{}, FUA {fua}", bench.disk.attribute("queue/write_cache")?)))
}

pub(crate) fn flushes(bench: &mut Bench) -> Result<Outcome> {
    const FLUSHES: usize = 20;
    let block = bench.disk.block;
    let mut memory = Memory::new(64 * block);
    bench.noise(memory.all_mut());
    let disk = &bench.disk;
    let data = memory.all();
    std::thread::scope(|scope| -> Result<()> {
        let flushing = scope.spawn(|| (0..FLUSHES).try_for_each(|_| disk.file.sync_all()));
        for (number, block_data) in data.chunks(block).enumerate() {
            disk.write((number * block) as u64, &[IoSlice::new(block_data)], ReadWriteFlags::empty())?;
        }
        flushing.join().ok().context("a thread panicked")?.context("flush")
    })?;
    let data = data.to_vec();
    bench.now_holds(0, &data);
    bench.check_all()?;
    Ok(Outcome::Passed(format!("{FLUSHES} flushes beside 64 writes")))
}
