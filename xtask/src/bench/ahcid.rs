//! ahcid beside Linux's ahci.

use super::measure::Count;
use super::nvmed::{Pass, Target};
use super::subject::AHCI;
use super::workloads::disk;

/// All passes. `shrink` divides the work for a quick look.
#[must_use]
pub fn passes(shrink: u32) -> Vec<Pass> {
    let pass = |name, count| Pass { name, subject: AHCI, prefix: "", count, groups: disk(shrink) };
    vec![pass("bench-ahci", Count::Instructions), pass("bench-ahci-mmio", Count::Mmio)]
}

/// The targets for ahcid.
pub const TARGETS: [Target; 2] = [
    Target {
        entry: "4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a third of Linux's instructions",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio <= 1.0 / 3.0),
    },
    Target {
        entry: "4 KiB randread QD32, interrupts: MMIO",
        unit: "accesses/op",
        says: "at most 60 % of Linux's MMIO accesses",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio <= 0.6),
    },
];
