//! The work that a driver and its peer are compared in.

use super::nvmed::{NOTHING, QD32};
use super::plan::{Operation, Runner, Workload};

/// What is measured of a disk. `shrink` divides the work for a quick look.
#[must_use]
pub fn disk(shrink: u32) -> Vec<(Workload, Vec<Runner>)> {
    let work = |workload: Workload, runners: &[Runner]| {
        // Below that, what fio itself costs would drown the figure.
        let count = (workload.count / shrink.max(1)).max(workload.count.min(500));
        (Workload { count, ..workload }, runners.to_vec())
    };
    let both = [Runner::Fio, Runner::Interrupt, Runner::Polled];
    vec![
        work(NOTHING, &[Runner::Fio]),
        work(QD32, &both),
        work(QD32, &[Runner::FioBatched, Runner::Interrupt]),
        work(Workload { operation: Operation::RandomWrite, ..QD32 }, &both),
        work(Workload { depth: 1, count: 5_000, ..QD32 }, &both),
        work(
            Workload { operation: Operation::SequentialRead, block_size: 128 << 10, depth: 32, count: 4_000 },
            &both,
        ),
    ]
}
