//! virtio-blkd beside Linux's virtio-blk, on split and on packed rings.

use super::measure::Count;
use super::nvmed::{Pass, Target};
use super::subject::{Subject, VIRTIO_PACKED, VIRTIO_SPLIT};
use super::workloads::disk;

/// All passes. `shrink` divides the work for a quick look.
#[must_use]
pub fn passes(shrink: u32) -> Vec<Pass> {
    let groups = disk(shrink);
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
pub const TARGETS: [Target; 5] = [
    Target {
        entry: "split: 4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a quarter of Linux's instructions",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio <= 0.25),
    },
    Target {
        entry: "packed: 4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a quarter of Linux's instructions",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio <= 0.25),
    },
    Target {
        entry: "split: 4 KiB randread QD32, polled: MMIO",
        unit: "accesses/op",
        says: "at most 0.5 notifications",
        holds: |entry, _| entry.ours.is_some_and(|ours| ours <= 0.5),
    },
    Target {
        entry: "packed: 4 KiB randread QD32, polled: MMIO",
        unit: "accesses/op",
        says: "at most 0.5 notifications",
        holds: |entry, _| entry.ours.is_some_and(|ours| ours <= 0.5),
    },
    // Polled, because what interrupts cost depends on how many the host lets come together.
    Target {
        entry: "packed: 4 KiB randread QD32, polled: instructions without empty polls",
        unit: "instructions/op",
        says: "not more than on split rings, as closely as that can be measured",
        holds: |packed, entries| {
            let split = packed.name.replace("packed: ", "split: ");
            let split = entries.iter().find(|entry| entry.name == split).and_then(|entry| entry.ours);
            packed.ours.zip(split).is_some_and(|(packed, split)| packed <= 1.02 * split)
        },
    },
];
