//! What the figures on Redox are meant to reach.

use super::subject::Subject;
use crate::bench::report::Entry;

/// Who a driver is compared with, beside upstream's.
pub(super) const FLOOR: &str = "null-disk, the floor";

const READ_1M: &str = "1 MiB seqread, 1 thread: instructions";
const READ_4K: &str = "4 KiB randread, 1 thread: instructions";
const READ_4K_32: &str = "4 KiB randread, 32 threads: instructions";
const RATE_32: &str = "4 KiB randread, 32 threads: rate";

/// A figure that the project means to reach.
struct Target {
    /// The entry's name.
    entry: &'static str,
    goal: Goal,
}

enum Goal {
    /// At most so many times the peer's.
    AtMost(f64),
    /// At least so many times the peer's.
    AtLeast(f64),
    /// At most so many, whatever the peer has.
    Absolute(f64),
}

impl Goal {
    fn holds(&self, entry: &Entry) -> bool {
        match self {
            Goal::AtMost(times) => entry.ratio.is_some_and(|ratio| ratio <= *times),
            Goal::AtLeast(times) => entry.ratio.is_some_and(|ratio| ratio >= *times),
            Goal::Absolute(most) => entry.ours.is_some_and(|ours| ours <= *most),
        }
    }

    fn says(&self) -> String {
        match self {
            Goal::AtMost(times) => format!("at most {times:.2} times that of"),
            Goal::AtLeast(times) => format!("at least {times:.1} times that of"),
            Goal::Absolute(most) => format!("at most {most}, beside"),
        }
    }
}

const fn at_most(entry: &'static str, times: f64) -> Target {
    Target { entry, goal: Goal::AtMost(times) }
}

const fn at_least(entry: &'static str, times: f64) -> Target {
    Target { entry, goal: Goal::AtLeast(times) }
}

const fn absolute(entry: &'static str, most: f64) -> Target {
    Target { entry, goal: Goal::Absolute(most) }
}

/// Above the floor.
const NEAR_FLOOR: [Target; 3] = [at_most(READ_1M, 1.3), at_most(READ_4K, 1.3), at_most(READ_4K_32, 1.3)];

const NVMED: [Target; 6] = [
    at_least("1 MiB seqread, 1 thread: throughput", 5.0),
    at_least(RATE_32, 2.5),
    at_most(READ_4K, 0.8),
    absolute("4 KiB randread, 1 thread: MMIO", 3.0),
    absolute("4 KiB randread, 32 threads: MMIO", 3.0),
    absolute("1 MiB seqread, 1 thread: MMIO", 3.0),
];

const AHCID: [Target; 3] = [at_most(READ_4K, 0.25), at_most(READ_1M, 0.4), at_least(RATE_32, 3.0)];

const VIRTIO_BLKD: [Target; 3] =
    [at_most(READ_4K, 1.0 / 3.0), at_most(READ_1M, 0.75), at_least(RATE_32, 3.0)];

/// Which targets were reached; those that were not measured are left out.
pub(super) fn verdicts(subject: Subject, upstream: &str, entries: &[Entry]) -> Vec<(bool, String)> {
    let beside_upstream: &[Target] = match subject {
        Subject::Nvmed => &NVMED,
        Subject::Ahcid => &AHCID,
        Subject::VirtioBlkd => &VIRTIO_BLKD,
    };
    let all = beside_upstream.iter().map(|target| (upstream, target));
    all.chain(NEAR_FLOOR.iter().map(|target| (FLOOR, target)))
        .filter_map(|(peer, Target { entry, goal })| {
            let found = entries.iter().find(|found| found.name == *entry && found.peer_name == peer)?;
            Some((goal.holds(found), format!("{entry}: {} {peer}", goal.says())))
        })
        .collect()
}
