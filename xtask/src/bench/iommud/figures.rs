//! What comes of the runs.

use anyhow::{Context, Result};

use super::Sample;
use super::systems::{MILLION, Mode, Run};
use crate::bench::nvmed::Target;
use crate::bench::report::Entry;
use crate::bench::stats::median;

const INSTRUCTIONS: &str = "instructions/pair";
/// Entries of a table.
const ENTRIES: u32 = 512;

/// The pages of tables that `mappings` pages side by side take at least, in three levels.
fn fewest(mappings: u32) -> u32 {
    let lowest = mappings.div_ceil(ENTRIES);
    lowest.saturating_add(lowest.div_ceil(ENTRIES)).saturating_add(1)
}

fn per(count: u64, sample: &Sample) -> f64 {
    count as f64 / sample.done.operations as f64
}

fn user(sample: &Sample) -> f64 {
    per(sample.window.user, sample)
}

fn kernel(sample: &Sample) -> f64 {
    per(sample.window.kernel, sample)
}

fn all(sample: &Sample) -> f64 {
    user(sample) + kernel(sample)
}

/// The median of what some of the runs gave, and how many these were.
fn middle(
    samples: &[Sample],
    what: &str,
    wanted: impl Fn(Run) -> bool,
    value: impl Fn(&Sample) -> f64,
) -> Result<(f64, usize)> {
    let values: Vec<f64> = samples.iter().filter(|sample| wanted(sample.run)).map(value).collect();
    Ok((median(&values).with_context(|| format!("{what} was not measured"))?, values.len()))
}

/// The figures of all runs. Guests differ in the kernel's parameters, so medians are compared, not pairs.
///
/// # Errors
/// When something was not measured.
pub(super) fn entries(samples: &[Sample]) -> Result<Vec<Entry>> {
    let single = |run| matches!(run, Run::Pairs { list: 1, .. });
    let batched = |run| matches!(run, Run::Pairs { list: 2.., live: 1, .. });
    let full = |run| matches!(run, Run::Pairs { live: MILLION, .. });
    let ours =
        |what, wanted: fn(Run) -> bool, value: fn(&Sample) -> f64| middle(samples, what, wanted, value);
    let vfio = middle(samples, "VFIO", |run| matches!(run, Run::Kernel { .. }), kernel)?.0;
    let disk = |wanted| {
        let of = move |run| matches!(run, Run::Disk { mode, .. } if mode == wanted);
        Ok::<_, anyhow::Error>(middle(samples, "Linux's nvme", of, all)?.0)
    };
    let (strict, lazy, none) = (disk(Mode::Strict)?, disk(Mode::Lazy)?, disk(Mode::Passthrough)?);
    let behind = |run| matches!(run, Run::Behind { .. });
    let entry = |name: &str, unit: &str, (ours, runs): (f64, usize), (peer_name, peer): (&str, f64)| Entry {
        name: name.to_owned(),
        unit: unit.to_owned(),
        ours: Some(ours),
        peer,
        peer_name: peer_name.to_owned(),
        ratio: (peer > 0.0).then_some(ours / peer),
        runs,
        command: String::new(),
    };
    let vfio = ("Linux VFIO", vfio);
    let strict = ("Linux DMA API, strict", strict - none);
    let lazy = ("Linux DMA API, lazy", lazy - none);
    let one = ours("a request a page", single, user)?;
    let many = ours("lists", batched, user)?;
    let many_all = ours("lists", batched, all)?;
    let full_all = ours("a full domain", full, all)?.0;
    let time = |sample: &Sample| sample.done.seconds * 1e6 / sample.done.operations as f64;
    let times = (ours("a full domain", full, time)?, ours("lists", batched, time)?.0);
    let tables = ours("a full domain", full, |sample| sample.extra as f64)?;
    let requests = ours("nvmed behind iommud", behind, |sample| sample.extra as f64)?;
    let reads = ours("nvmed behind iommud", behind, |sample| sample.done.operations as f64)?.0;
    Ok(vec![
        entry(STRICT_VFIO, INSTRUCTIONS, one, vfio),
        entry(STRICT_DMA, INSTRUCTIONS, one, strict),
        entry(
            "strict, a request each: with the socket and the kernel",
            INSTRUCTIONS,
            ours("", single, all)?,
            vfio,
        ),
        entry(BATCHED_STRICT, INSTRUCTIONS, many, strict),
        entry(BATCHED_LAZY, INSTRUCTIONS, many, lazy),
        entry("strict, lists of 256: with the socket and the kernel", INSTRUCTIONS, many_all, strict),
        entry(FULL, INSTRUCTIONS, (full_all, many_all.1), ("beside 1", many_all.0)),
        entry("beside 1,000,000 mappings: time", "µs/pair", times.0, ("beside 1", times.1)),
        entry(TABLES, "pages", tables, ("the fewest", fewest(MILLION).into())),
        entry(REQUESTS, "requests", requests, ("reads", reads)),
    ])
}

const STRICT_VFIO: &str = "strict, a request each: iommud and its client";
const STRICT_DMA: &str = "strict, a request each: iommud and its client (DMA API)";
const BATCHED_STRICT: &str = "strict, lists of 256: iommud and its client";
const BATCHED_LAZY: &str = "strict, lists of 256: iommud and its client (lazy)";
const FULL: &str = "beside 1,000,000 mappings: instructions";
const TABLES: &str = "tables of 1,000,000 mappings";
const REQUESTS: &str = "requests of nvmed during reads";

fn at_most(entry: &Entry, most: f64) -> bool {
    entry.ratio.is_some_and(|ratio| ratio <= most)
}

/// What is to be reached.
pub(super) const TARGETS: [Target; 7] = [
    Target {
        entry: STRICT_VFIO,
        unit: INSTRUCTIONS,
        says: "at most those of the kernel for VFIO, which pins the page as well",
        holds: |entry, _| at_most(entry, 1.0),
    },
    Target {
        entry: STRICT_DMA,
        unit: INSTRUCTIONS,
        says: "at most those that Linux's nvme pays for a page, strict",
        holds: |entry, _| at_most(entry, 1.0),
    },
    Target {
        entry: BATCHED_STRICT,
        unit: INSTRUCTIONS,
        says: "at most those that Linux's nvme pays for a page, strict",
        holds: |entry, _| at_most(entry, 1.0),
    },
    Target {
        entry: BATCHED_LAZY,
        unit: INSTRUCTIONS,
        says: "at most those that Linux's nvme pays for a page, lazy",
        holds: |entry, _| at_most(entry, 1.0),
    },
    Target {
        entry: FULL,
        unit: INSTRUCTIONS,
        says: "at most twice those beside 1 mapping",
        holds: |entry, _| at_most(entry, 2.0),
    },
    Target {
        entry: TABLES,
        unit: "pages",
        says: "at most 1.1 times the fewest",
        holds: |entry, _| at_most(entry, 1.1),
    },
    Target { entry: REQUESTS, unit: "requests", says: "none", holds: |entry, _| at_most(entry, 0.0) },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::nvmed::verdicts;
    use crate::bench::results::{Done, Window};

    fn sample(run: Run, user: u64, kernel: u64, extra: u64) -> Sample {
        let window = Window { label: 1, kernel, user, mmio: None };
        Sample { run, window, done: Done { operations: 100, seconds: 1.0, empty_polls: 0 }, extra }
    }

    fn samples() -> Vec<Sample> {
        let pairs = |list, live| Run::Pairs { list, live, pairs: 100 };
        let disk = |mode| Run::Disk { mode, reads: 100 };
        vec![
            sample(pairs(1, 1), 90_000, 500_000, 3),
            sample(pairs(256, 1), 20_000, 10_000, 3),
            sample(pairs(256, MILLION), 24_000, 12_000, 1960),
            sample(Run::Behind { reads: 100 }, 1, 1, 0),
            sample(Run::Kernel { pairs: 100 }, 10_000, 300_000, 0),
            sample(disk(Mode::Strict), 100_000, 500_000, 0),
            sample(disk(Mode::Lazy), 100_000, 420_000, 0),
            sample(disk(Mode::Passthrough), 100_000, 400_000, 0),
        ]
    }

    #[test]
    fn each_figure_stands_beside_its_peers() {
        let entries = entries(&samples()).unwrap();
        let of = |name| entries.iter().find(|entry| entry.name == name).unwrap();
        let ratio = |name| of(name).ratio.unwrap();
        assert_eq!((of(STRICT_VFIO).ours, of(STRICT_VFIO).peer), (Some(900.0), 3000.0));
        assert_eq!((of(STRICT_DMA).peer, of(BATCHED_LAZY).peer), (1000.0, 200.0));
        assert_eq!(ratio(FULL), 1.2);
        assert_eq!(of(TABLES).peer, 1959.0);
        assert!(verdicts(&entries, &TARGETS).iter().all(|(reached, _)| *reached));
    }

    #[test]
    fn each_target_can_be_missed() {
        let missed = |at: usize, change: fn(&mut Sample)| {
            let mut samples = samples();
            change(&mut samples[at]);
            let verdicts = verdicts(&entries(&samples).unwrap(), &TARGETS);
            verdicts.iter().filter(|(reached, _)| !reached).count()
        };
        assert_eq!(missed(0, |sample| sample.window.user = 310_000), 2);
        assert_eq!(missed(0, |sample| sample.window.user = 110_000), 1);
        assert_eq!(missed(1, |sample| sample.window.user = 21_000), 1);
        assert_eq!(missed(2, |sample| sample.window.kernel = 37_000), 1);
        assert_eq!(missed(2, |sample| sample.extra = 2200), 1);
        assert_eq!(missed(3, |sample| sample.extra = 1), 1);
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let mut samples = samples();
        samples.pop();
        assert!(entries(&samples).unwrap_err().to_string().contains("nvme"));
    }
}
