//! The driver's processes are killed again and again under a reader and a writer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use redox_guest::console::Console;
use redox_guest::{pattern, system};
use syscall::error::EIO;

use crate::Subject;

/// Bytes that reader and writer work on, each at the beginning of a partition, and of one transfer.
const SPAN: u64 = 8 << 20;
const TRANSFER: usize = 128 << 10;
/// Longest time from a kill to the next answer.
const RECOVERY: Duration = Duration::from_secs(30);
/// Longest pause between the driver's return and the next kill.
const PAUSE: Duration = Duration::from_millis(60);
/// The reader's contents.
const GENERATION: u64 = 900;

/// What reader and writer share with the killer.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
    /// Requests that were answered with `EIO`.
    failed: AtomicU64,
}

pub(crate) fn run(console: &Console, subject: &Subject) -> bool {
    let name = format!("{} kills under a reader and a writer", subject.kills);
    console.own(&name, || under_load(console, subject, subject.kills).map(|told| told.to_string()))
}

/// What happened.
#[derive(Debug)]
pub(super) struct Told {
    kills: usize,
    longest: Duration,
    reads: u64,
    writes: u64,
    failed: u64,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kills, longest, reads, writes, failed } = self;
        let longest = longest.as_millis();
        write!(
            f,
            "{kills} kills, {reads} reads and {writes} writes right, {failed} EIO, back after {longest} ms at most"
        )
    }
}

/// Kills the driver under load.
pub(super) fn under_load(console: &Console, subject: &Subject, kills: usize) -> Result<Told> {
    let disk = subject.disk();
    let reader = disk.open(&disk.partition(0))?;
    let writer = disk.open(&disk.partition(1))?;
    let mut buffer = vec![0; TRANSFER];
    for offset in (0..SPAN).step_by(TRANSFER) {
        pattern::fill(GENERATION, offset, &mut buffer);
        reader.write_all_at(&buffer, offset).context("prepare the reader's part")?;
    }
    reader.sync_all().context("prepare the reader's part")?;
    let load = Load::default();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| stopping(&load, || read(&reader, &load)));
        let writing = scope.spawn(|| stopping(&load, || write(&writer, &load)));
        let killing = stopping(&load, || kill(console, subject, &load, kills));
        let ended =
            |thread: std::thread::ScopedJoinHandle<'_, Result<()>>, who: &'static str| match thread.join() {
                Ok(result) => result.context(who),
                Err(_) => bail!("{who} panicked"),
            };
        ended(reading, "the reader")?;
        ended(writing, "the writer")?;
        let longest = killing?;
        Ok(Told {
            kills,
            longest,
            reads: load.reads.load(Ordering::Relaxed),
            writes: load.writes.load(Ordering::Relaxed),
            failed: load.failed.load(Ordering::Relaxed),
        })
    })
}

/// Whoever ends, ends all.
fn stopping<T>(load: &Load, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = action();
    load.stop.store(true, Ordering::Relaxed);
    result
}

/// Repeats a request that failed with `EIO`: the driver may answer so when it does not know what became of it.
fn insist(load: &Load, mut request: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match request() {
            Err(error) if error.raw_os_error() == Some(EIO) && !load.stop.load(Ordering::Relaxed) => {
                load.failed.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

fn read(disk: &File, load: &Load) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(2);
    let mut buffer = vec![0; TRANSFER];
    while !load.stop.load(Ordering::Relaxed) {
        let offset = random.u64(..SPAN / TRANSFER as u64) * TRANSFER as u64;
        // Stale contents must not pass.
        buffer.fill(0xee);
        insist(load, || disk.read_exact_at(&mut buffer, offset))
            .with_context(|| format!("read at {offset:#x}"))?;
        pattern::verify(GENERATION, offset, &buffer)?;
        load.reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn write(disk: &File, load: &Load) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(3);
    let mut buffer = vec![0; TRANSFER];
    let mut generation = GENERATION;
    while !load.stop.load(Ordering::Relaxed) {
        generation += 1;
        let offset = random.u64(..SPAN / TRANSFER as u64) * TRANSFER as u64;
        pattern::fill(generation, offset, &mut buffer);
        insist(load, || disk.write_all_at(&buffer, offset))
            .with_context(|| format!("write at {offset:#x}"))?;
        if generation.is_multiple_of(8) {
            insist(load, || disk.sync_all()).context("sync")?;
        }
        buffer.fill(0xee);
        insist(load, || disk.read_exact_at(&mut buffer, offset))
            .with_context(|| format!("read back at {offset:#x}"))?;
        pattern::verify(generation, offset, &buffer)?;
        load.writes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Returns the longest time from a kill to answers to both.
fn kill(console: &Console, subject: &Subject, load: &Load, kills: usize) -> Result<Duration> {
    let mut random = fastrand::Rng::with_seed(4);
    let mut longest = Duration::ZERO;
    for number in 1..=kills {
        std::thread::sleep(PAUSE.mul_f64(random.f64()));
        let victim = subject.disk().driver()?;
        let (reads, writes) = (load.reads.load(Ordering::Relaxed), load.writes.load(Ordering::Relaxed));
        let killed = Instant::now();
        system::kill(victim).with_context(|| format!("kill process {victim}"))?;
        // The request under way may have been answered before: two make sure.
        while load.reads.load(Ordering::Relaxed) < reads + 2
            || load.writes.load(Ordering::Relaxed) < writes + 2
        {
            if load.stop.load(Ordering::Relaxed) {
                bail!("the load ended after kill {number}");
            }
            if killed.elapsed() > RECOVERY {
                // Reader or writer hang for ever, and with them this process.
                console.note(&format!("no answer for {RECOVERY:?} after kill {number} of process {victim}"));
                console.end(1);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        longest = longest.max(killed.elapsed());
    }
    Ok(longest)
}
