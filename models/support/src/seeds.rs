//! Many runs, each of which its seed replays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, used by those of drivers"
)]

use std::{env, num::NonZero, panic::RefUnwindSafe, thread};

/// Runs as the environment says, on all processors: `RB_FAULT_RUNS` sets how many (`usual` by default, a tenth when
/// `RB_QUICK` is set), `RB_FAULT_BASE` where their seeds begin, and `RB_FAULT_SEED` replays one. Panics, with the seed, when
/// one goes wrong. What they came to is in no order.
pub fn over_seeds<R: Send>(usual: u64, run: impl Fn(u64) -> R + Sync + RefUnwindSafe) -> Vec<R> {
    if let Ok(seed) = env::var("RB_FAULT_SEED") {
        return vec![run(u64::from_str_radix(seed.trim_start_matches("0x"), 16).unwrap())];
    }
    let usual = if env::var_os("RB_QUICK").is_some() { usual.div_ceil(10) } else { usual };
    let runs = env::var("RB_FAULT_RUNS").map_or(usual, |runs| runs.parse().unwrap());
    let base: u64 = env::var("RB_FAULT_BASE").map_or(0x5eed, |base| base.parse().unwrap());
    let workers = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let run = &run;
    let one = move |number: u64| {
        let seed = base.wrapping_mul(0x9e37_79b9).wrapping_add(number);
        let outcome = std::panic::catch_unwind(|| run(seed));
        outcome.unwrap_or_else(|_| panic!("RB_FAULT_SEED={seed:#x}"))
    };
    thread::scope(|scope| {
        let every = usize::try_from(workers).unwrap();
        let workers: Vec<_> = (0..workers)
            .map(|first| scope.spawn(move || (first..runs).step_by(every).map(one).collect::<Vec<R>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("see the seed above")).collect()
    })
}
