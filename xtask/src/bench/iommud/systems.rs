//! The guests, which differ in who drives the IOMMU and how, and what runs in them.

use std::fmt::Write as _;

use crate::bench::nvmed::QD32;
use crate::bench::plan::{self, Job, Runner, Workload};

/// The device's slot.
const SLOT: u8 = 4;
/// Mappings that are live in the fullest domain.
pub(super) const MILLION: u32 = 1_000_000;

/// How Linux's own driver is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each unmap is completed before the memory is anybody else's.
    Strict,
    /// Unmaps are gathered for up to 10 ms, while the device reaches what it had.
    Lazy,
    /// The device reaches everything: nothing is mapped.
    Passthrough,
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Pairs of map and unmap by iommud, `list` pages a request, beside `live` others.
    Pairs { list: u16, live: u32, pairs: u32 },
    /// Pairs by the kernel, a call each, as VFIO has them made.
    Kernel { pairs: u32 },
    /// fio on Linux's nvme, which maps and unmaps a page for each read.
    Disk { mode: Mode, reads: u32 },
    /// fio on nvmed's disk, behind iommud.
    Behind { reads: u32 },
}

impl Run {
    /// For a quick look.
    pub(super) fn shrunk(mut self, shrink: u32) -> Self {
        if let Run::Pairs { pairs: count, .. }
        | Run::Kernel { pairs: count }
        | Run::Disk { reads: count, .. } = &mut self
        {
            *count /= shrink.max(1);
        }
        self
    }

    /// fio's job.
    pub(super) fn fio(self, index: usize) -> Option<String> {
        let (Run::Disk { reads, .. } | Run::Behind { reads }) = self else { return None };
        let workload = Workload { count: reads, ..QD32 };
        let job = Job { workload, runner: Runner::Fio, slot: SLOT, pair: 0, group: 0, role: 0 };
        Some(plan::fio(&job, plan::label(index)))
    }
}

/// A guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct System {
    pub(super) name: &'static str,
    /// The kernel's parameters.
    pub(super) parameters: &'static [&'static str],
    pub(super) runs: &'static [Run],
}

const fn disk(mode: Mode) -> Run {
    Run::Disk { mode, reads: 40_000 }
}

/// All of them.
pub(super) const SYSTEMS: [System; 4] = [
    System {
        name: "bench-iommud",
        parameters: &["amd_iommu=off"],
        runs: &[
            Run::Pairs { list: 1, live: 1, pairs: 5_000 },
            Run::Pairs { list: 256, live: 1, pairs: 102_400 },
            Run::Pairs { list: 256, live: MILLION, pairs: 102_400 },
            Run::Behind { reads: 10_000 },
        ],
    },
    System {
        name: "bench-iommu-strict",
        // Linux finds no IOAPIC of its liking behind QEMU's unit, and remaps no interrupts.
        parameters: &["iommu.strict=1", "vfio_iommu_type1.allow_unsafe_interrupts=1"],
        runs: &[Run::Kernel { pairs: 5_000 }, disk(Mode::Strict)],
    },
    System { name: "bench-iommu-lazy", parameters: &["iommu.strict=0"], runs: &[disk(Mode::Lazy)] },
    System { name: "bench-iommu-pt", parameters: &["iommu=pt"], runs: &[disk(Mode::Passthrough)] },
];

/// The guest's list of jobs, one a line: `RUNNER INDEX FUNCTION arguments`.
pub(super) fn list(runs: &[Run]) -> String {
    let mut text = String::new();
    for (index, run) in runs.iter().enumerate() {
        let (runner, arguments) = match run {
            Run::Pairs { list, live, pairs } => {
                ("pairs", format!(" --list {list} --live {live} --pairs {pairs}"))
            }
            Run::Kernel { pairs } => ("ours", format!(" --by vfio --pairs {pairs}")),
            Run::Disk { .. } => ("fio", String::new()),
            Run::Behind { .. } => ("behind", String::new()),
        };
        let label = match run {
            Run::Pairs { .. } | Run::Kernel { .. } => format!(" --label {}", plan::label(index)),
            Run::Disk { .. } | Run::Behind { .. } => String::new(),
        };
        let _ = writeln!(text, "{runner} {index} 0000:00:{SLOT:02x}.0{arguments}{label}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_function_and_work() {
        let runs = [
            Run::Pairs { list: 256, live: 1, pairs: 512 },
            disk(Mode::Lazy),
            Run::Kernel { pairs: 7 },
            Run::Behind { reads: 9 },
        ];
        assert_eq!(
            list(&runs),
            "pairs 0 0000:00:04.0 --list 256 --live 1 --pairs 512 --label 1\n\
             fio 1 0000:00:04.0\n\
             ours 2 0000:00:04.0 --by vfio --pairs 7 --label 3\n\
             behind 3 0000:00:04.0\n"
        );
        assert!(runs[3].fio(3).unwrap().contains("number_ios=9\n"));
        assert_eq!(runs[0].fio(0), None);
    }

    #[test]
    fn a_quick_look_keeps_what_stays_mapped_and_what_is_compared() {
        assert_eq!(
            Run::Pairs { list: 256, live: MILLION, pairs: 102_400 }.shrunk(10),
            Run::Pairs { list: 256, live: MILLION, pairs: 10_240 }
        );
        assert_eq!(Run::Behind { reads: 10_000 }.shrunk(10), Run::Behind { reads: 10_000 });
    }
}
