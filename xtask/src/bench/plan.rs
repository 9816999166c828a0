//! What is run, in which order.

use std::fmt::Write as _;

/// PCI slots of the two equal controllers.
pub const SLOTS: [u8; 2] = [4, 5];

/// How a workload touches the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads at random places.
    RandomRead,
    /// Writes at random places.
    RandomWrite,
    /// Reads one after the other.
    SequentialRead,
    /// Writes one after the other.
    SequentialWrite,
}

impl Operation {
    /// fio's word for it.
    fn fio(self) -> &'static str {
        match self {
            Self::RandomRead => "randread",
            Self::RandomWrite => "randwrite",
            Self::SequentialRead => "read",
            Self::SequentialWrite => "write",
        }
    }

    /// The word for it in names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::RandomRead => "randread",
            Self::RandomWrite => "randwrite",
            Self::SequentialRead => "seqread",
            Self::SequentialWrite => "seqwrite",
        }
    }

    /// Our own program's words for it.
    fn ours(self) -> &'static str {
        match self {
            Self::RandomRead => "--operation read --pattern random",
            Self::RandomWrite => "--operation write --pattern random",
            Self::SequentialRead => "--operation read --pattern sequential",
            Self::SequentialWrite => "--operation write --pattern sequential",
        }
    }
}

/// A fixed amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// What is done.
    pub operation: Operation,
    /// Bytes per operation.
    pub block_size: u32,
    /// Operations outstanding at a time.
    pub depth: u32,
    /// Operations altogether.
    pub count: u32,
}

impl Workload {
    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} KiB {} QD{}", self.block_size / 1024, self.operation.word(), self.depth)
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// fio with io_uring on Linux's own driver.
    Fio,
    /// The same, submitting and reaping in batches of a quarter of the depth.
    FioBatched,
    /// Our driver, woken by interrupts.
    Interrupt,
    /// Our driver, polling, with a doorbell for half the depth.
    Polled,
    /// The same without the block layer: the driver's queue alone.
    PolledBare,
    /// fio on our daemon's ublk disk.
    Ublk,
    /// fio on the disk of `null-ublk`, which does nothing behind our own front end and block layer.
    NullUblk,
    /// fio on the disk of libublk's example `null`, which does nothing at all: the floor of that path.
    LibublkNull,
    /// The vroom driver, polling; it chooses its own work (4 KiB reads) and runs for a time.
    Vroom,
}

impl Runner {
    /// Whether fio makes the load.
    #[must_use]
    pub fn is_fio(self) -> bool {
        matches!(self, Self::Fio | Self::FioBatched | Self::Ublk | Self::NullUblk | Self::LibublkNull)
    }

    /// Its name in reports; `peer` is what they call Linux's driver.
    #[must_use]
    pub fn name(self, peer: &str) -> String {
        let name = match self {
            Self::Fio => return format!("{peer}, fio io_uring"),
            Self::FioBatched => return format!("{peer}, fio io_uring batched"),
            Self::Interrupt => "interrupts",
            Self::Polled => "polled",
            Self::PolledBare => "polled without the block layer",
            Self::Ublk => "through ublk",
            Self::NullUblk => "null-ublk, fio io_uring",
            Self::LibublkNull => "libublk's null, fio io_uring",
            Self::Vroom => "vroom, polled",
        };
        name.to_owned()
    }
}

/// How long vroom runs at each of its two depths.
pub const VROOM_SECONDS: u32 = 3;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The work.
    pub workload: Workload,
    /// Who does it.
    pub runner: Runner,
    /// The slot of the controller that is used.
    pub slot: u8,
    /// The pair that it belongs to.
    pub pair: usize,
    /// Its group's place in the plan.
    pub group: usize,
    /// Its place in the group; 0 is the reference, which the others are compared with.
    pub role: usize,
}

/// Runs each group `pairs` times. A group's runs are neighbours in time; from pair to pair the order is reversed and
/// every other pair the slots are swapped, so that neither the machine's mood nor a controller favours anybody.
#[must_use]
pub fn interleave(groups: &[(Workload, Vec<Runner>)], pairs: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    for pair in 0..pairs {
        let [near, far] = if pair % 4 < 2 { SLOTS } else { [SLOTS[1], SLOTS[0]] };
        for (number, (workload, runners)) in groups.iter().enumerate() {
            let mut jobs_of_group: Vec<Job> = runners
                .iter()
                .enumerate()
                // The reference has a controller of its own.
                .map(|(role, &runner)| Job {
                    workload: *workload,
                    runner,
                    slot: if role == 0 { near } else { far },
                    pair,
                    group: number,
                    role,
                })
                .collect();
            if pair % 2 == 1 {
                jobs_of_group.reverse();
            }
            jobs.append(&mut jobs_of_group);
        }
    }
    jobs
}

/// The label of a job's marks: neighbouring jobs differ, so that a lost mark is found.
#[must_use]
pub fn label(index: usize) -> u8 {
    u8::try_from(index % 127).unwrap_or(0) + 1
}

/// The guest's list of jobs, one a line: `RUNNER INDEX FUNCTION arguments`.
#[must_use]
pub fn list(jobs: &[Job]) -> String {
    let mut text = String::new();
    for (index, job) in jobs.iter().enumerate() {
        let function = format!("0000:00:{:02x}.0", job.slot);
        let line = match job.runner {
            Runner::Fio | Runner::FioBatched => format!("fio {index} {function}"),
            Runner::Interrupt | Runner::Polled | Runner::PolledBare => {
                format!("ours {index} {function} {}", ours(job, label(index)))
            }
            Runner::Ublk => format!("ublk {index} {function}"),
            Runner::NullUblk => format!("null_ublk {index} {function}"),
            Runner::LibublkNull => format!("libublk_null {index} {function}"),
            Runner::Vroom => format!("vroom {index} {function} {} {VROOM_SECONDS}", label(index)),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The arguments of our own program, but for the function.
#[must_use]
pub fn ours(job: &Job, label: u8) -> String {
    let Workload { operation, block_size, depth, count } = job.workload;
    let mut text = format!(
        "{} --size {block_size} --depth {depth} --operations {count} --label {label}",
        operation.ours()
    );
    if matches!(job.runner, Runner::Polled | Runner::PolledBare) {
        let _ = write!(text, " --polled --batch {}", (depth / 2).max(1));
    }
    if job.runner == Runner::PolledBare {
        text.push_str(" --layer hardware");
    }
    text
}

/// A job file for fio; the disk is in the environment.
#[must_use]
pub fn fio(job: &Job, label: u8) -> String {
    let Workload { operation, block_size, depth, count } = job.workload;
    let mut text = format!(
        "[job]\nfilename=${{DISK}}\nioengine=io_uring\nfixedbufs=1\nregisterfiles=1\ndirect=1\nthread=1\n\
         cpus_allowed=0\nrandrepeat=1\nnorandommap=1\nrw={}\nbs={block_size}\niodepth={depth}\nnumber_ios={count}\n\
         exec_prerun=rb-mark --begin {label}\nexec_postrun=rb-mark --end {label}\n",
        operation.fio()
    );
    if job.runner == Runner::FioBatched {
        let batch = (depth / 4).max(1);
        let _ = writeln!(text, "iodepth_batch_submit={batch}\niodepth_batch_complete_min={batch}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Workload =
        Workload { operation: Operation::RandomRead, block_size: 4096, depth: 32, count: 100 };

    #[test]
    fn pairs_alternate_order_and_slots() {
        let jobs = interleave(&[(WORK, vec![Runner::Fio, Runner::Interrupt])], 8);
        assert_eq!(jobs.len(), 16);
        for runner in [Runner::Fio, Runner::Interrupt] {
            for slot in SLOTS {
                let here = jobs.iter().filter(|job| job.runner == runner && job.slot == slot).count();
                assert_eq!(here, 4, "{runner:?} in slot {slot}");
            }
        }
        let first = jobs.chunks(2).filter(|pair| pair[0].runner == Runner::Fio).count();
        assert_eq!(first, 4);
        for pair in jobs.chunks(2) {
            assert_eq!(pair[0].pair, pair[1].pair);
            assert_ne!(pair[0].slot, pair[1].slot);
        }
    }

    #[test]
    fn labels_fit_and_neighbours_differ() {
        for index in 0..1000 {
            assert!((1..128).contains(&label(index)));
            assert_ne!(label(index), label(index + 1));
        }
    }

    #[test]
    fn the_list_names_function_and_work() {
        let jobs = interleave(&[(WORK, vec![Runner::Fio, Runner::Polled])], 1);
        assert_eq!(
            list(&jobs),
            "fio 0 0000:00:04.0\nours 1 0000:00:05.0 --operation read --pattern random --size 4096 --depth 32 \
             --operations 100 --label 2 --polled --batch 16\n"
        );
    }

    #[test]
    fn fio_does_the_same_work() {
        let mut job = Job { workload: WORK, runner: Runner::Fio, slot: 4, pair: 0, group: 0, role: 0 };
        let text = fio(&job, 9);
        for line in
            ["rw=randread", "bs=4096", "iodepth=32", "number_ios=100", "exec_prerun=rb-mark --begin 9"]
        {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert!(!text.contains("batch"));
        job.runner = Runner::FioBatched;
        assert!(fio(&job, 9).contains("iodepth_batch_submit=8"));
    }
}
