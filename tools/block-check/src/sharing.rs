//! Several clients of one disk.

use std::{
    io::IoSliceMut,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{Outcome, bench::Bench, disk::Memory};

/// Threads of the busy client, each with one request outstanding.
const MANY: u64 = 32;
/// Requests of the other, one at a time.
const TURNS: usize = 100;
/// No request may take longer, however slow the machine is.
const BOUND: Duration = Duration::from_secs(10);

fn read(bench: &Bench, offset: u64, memory: &mut Memory) -> Result<()> {
    bench.disk.read(offset, &mut [IoSliceMut::new(memory.all_mut())])
}

/// How many of the busy client's requests are answered while the other waits for one: as many as were there before it, and
/// some that were on their way, but not more and more.
pub(crate) fn fair(bench: &mut Bench) -> Result<Outcome> {
    let bench = &*bench;
    let (enough, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut passed, mut longest) = (Vec::with_capacity(TURNS), Duration::ZERO);
    let busy = |number: u64| {
        let mut memory = Memory::new(64 << 10);
        let mut offset = number << 19;
        while !enough.load(Ordering::Relaxed) {
            read(bench, offset, &mut memory)?;
            answered.fetch_add(1, Ordering::Relaxed);
            offset = (offset + (1 << 20)) % (16 << 20);
        }
        anyhow::Ok(())
    };
    let busy = &busy;
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..MANY).map(|number| scope.spawn(move || busy(number))).collect();
        let modest = (|| {
            let mut memory = Memory::new(4096);
            while answered.load(Ordering::Relaxed) < MANY {
                std::thread::sleep(Duration::from_millis(10));
                ensure!(!threads.iter().any(std::thread::ScopedJoinHandle::is_finished), "a thread ended");
            }
            for turn in 0..TURNS {
                let (before, began) = (answered.load(Ordering::Relaxed), Instant::now());
                read(bench, (turn * 4096) as u64, &mut memory)?;
                passed.push(answered.load(Ordering::Relaxed) - before);
                longest = longest.max(began.elapsed());
            }
            Ok(())
        })();
        enough.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().ok().context("a thread panicked")?)?;
        modest
    })?;
    passed.sort_unstable();
    let median = passed.get(TURNS / 2).copied().unwrap_or(0);
    ensure!(
        median <= 2 * MANY,
        "usually {median} requests of the busy client are answered before one of the other"
    );
    ensure!(longest < BOUND, "a request took {longest:?}");
    Ok(Outcome::Passed(format!(
        "usually after {median} of {MANY} others, at most {} ms",
        longest.as_millis()
    )))
}
