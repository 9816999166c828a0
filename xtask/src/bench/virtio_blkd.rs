//! virtio-blkd beside Linux's virtio-blk, on split and on packed rings.

use super::measure::Count;
use super::nvmed::{NOTHING, Pass, QD32, Target};
use super::plan::{Operation, Runner, Workload};
use super::subject::{Subject, VIRTIO_PACKED, VIRTIO_SPLIT};

/// All passes. `shrink` divides the work for a quick look.
#[must_use]
pub fn passes(shrink: u32) -> Vec<Pass> {
    let work = |workload: Workload, runners: &[Runner]| {
        // Below that, what fio itself costs would drown the figure.
        let count = (workload.count / shrink.max(1)).max(workload.count.min(500));
        (Workload { count, ..workload }, runners.to_vec())
    };
    let both = [Runner::Fio, Runner::Interrupt, Runner::Polled];
    let groups = vec![
        work(NOTHING, &[Runner::Fio]),
        work(QD32, &both),
        work(QD32, &[Runner::FioBatched, Runner::Interrupt]),
        work(Workload { operation: Operation::RandomWrite, ..QD32 }, &both),
        work(Workload { depth: 1, count: 5_000, ..QD32 }, &both),
        work(
            Workload { operation: Operation::SequentialRead, block_size: 128 << 10, depth: 32, count: 4_000 },
            &both,
        ),
    ];
    let pass =
        |name, prefix, subject: Subject, count| Pass { name, subject, prefix, count, groups: groups.clone() };
    vec![
        pass("bench-virtio-split", "split: ", VIRTIO_SPLIT, Count::Instructions),
        pass("bench-virtio-packed", "packed: ", VIRTIO_PACKED, Count::Instructions),
        pass("bench-virtio-split-mmio", "split: ", VIRTIO_SPLIT, Count::Mmio),
        pass("bench-virtio-packed-mmio", "packed: ", VIRTIO_PACKED, Count::Mmio),
    ]
}

/// The targets for virtio-blkd. Its only MMIO accesses are notifications.
pub const TARGETS: [Target; 4] = [
    Target {
        entry: "split: 4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a quarter of Linux's instructions",
        holds: |entry| entry.ratio.is_some_and(|ratio| ratio <= 0.25),
    },
    Target {
        entry: "packed: 4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a quarter of Linux's instructions",
        holds: |entry| entry.ratio.is_some_and(|ratio| ratio <= 0.25),
    },
    Target {
        entry: "split: 4 KiB randread QD32, polled: MMIO",
        unit: "accesses/op",
        says: "at most 0.5 notifications",
        holds: |entry| entry.ours.is_some_and(|ours| ours <= 0.5),
    },
    Target {
        entry: "packed: 4 KiB randread QD32, polled: MMIO",
        unit: "accesses/op",
        says: "at most 0.5 notifications",
        holds: |entry| entry.ours.is_some_and(|ours| ours <= 0.5),
    },
];
