//! nvmed beside Linux's nvme driver and vroom.

use super::measure::{Count, Sample};
use super::plan::{self, Operation, Runner, Workload};
use super::report::Entry;
use super::results::Window;
use super::stats::{self, median};
use super::subject::{NVME, Subject};

/// A guest's worth of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Name of the guest.
    pub name: &'static str,
    /// What is measured.
    pub subject: Subject,
    /// What stands before the workload in the names of entries.
    pub prefix: &'static str,
    /// What is counted.
    pub count: Count,
    /// Workloads with who runs them; the first is the reference.
    pub groups: Vec<(Workload, Vec<Runner>)>,
}

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contest {
    /// Our driver with its peers.
    Peers,
    /// The peer alone.
    PeerOnly,
    /// The peer with itself: shows how far a ratio can be trusted.
    SelfCheck,
}

/// The 4 KiB read at depth 32 that the targets speak of.
pub(super) const QD32: Workload =
    Workload { operation: Operation::RandomRead, block_size: 4096, depth: 32, count: 20_000 };

/// One operation: what fio's own beginning and end cost inside its marks.
pub(super) const NOTHING: Workload =
    Workload { operation: Operation::RandomRead, block_size: 4096, depth: 1, count: 1 };

fn workloads() -> Vec<Workload> {
    let random = [Operation::RandomRead, Operation::RandomWrite];
    let sequential = [Operation::SequentialRead, Operation::SequentialWrite];
    let work = |operation, block_size, depth, count| Workload { operation, block_size, depth, count };
    let mut all = Vec::new();
    for operation in random {
        all.push(work(operation, 4096, 1, 5_000));
        all.push(work(operation, 4096, 32, 20_000));
    }
    for operation in sequential {
        all.push(work(operation, 128 << 10, 1, 1_000));
        all.push(work(operation, 128 << 10, 32, 4_000));
    }
    all
}

/// Further peers that the user has brought along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guests {
    /// vroom.
    pub vroom: bool,
    /// libublk's example `null`.
    pub libublk_null: bool,
}

/// All passes. `shrink` divides the work for a quick look.
#[must_use]
pub fn passes(contest: Contest, guests: Guests, shrink: u32) -> Vec<Pass> {
    let against = |ours: &[Runner]| {
        let mut runners = vec![Runner::Fio];
        match contest {
            Contest::Peers => runners.extend_from_slice(ours),
            Contest::PeerOnly => {}
            Contest::SelfCheck => runners.push(Runner::Fio),
        }
        runners
    };
    let both = [Runner::Interrupt, Runner::Polled];
    let all = [Runner::Interrupt, Runner::Polled, Runner::PolledBare];
    let runners = |work: &Workload| if *work == QD32 { against(&all) } else { against(&both) };
    let mut counted: Vec<_> = workloads().into_iter().map(|work| (work, runners(&work))).collect();
    if contest != Contest::SelfCheck {
        let batched = against(&both).into_iter().map(|runner| match runner {
            Runner::Fio => Runner::FioBatched,
            other => other,
        });
        counted.push((QD32, batched.collect()));
    }
    counted.insert(0, (NOTHING, vec![Runner::Fio]));
    let touched = counted.clone();
    // A null ublk server touches no device, so there is no MMIO to compare.
    if contest != Contest::SelfCheck {
        let mut floors = vec![Runner::NullUblk];
        if guests.libublk_null {
            floors.push(Runner::LibublkNull);
        }
        let ours = if contest == Contest::Peers { vec![Runner::Ublk] } else { Vec::new() };
        for workload in [Workload { depth: 1, count: 5_000, ..QD32 }, QD32] {
            counted.extend(floors.iter().map(|&floor| (workload, [vec![floor], ours.clone()].concat())));
        }
    }
    let mut timed = vec![(QD32, against(&[Runner::Interrupt]))];
    if guests.vroom && contest != Contest::SelfCheck {
        let deep = Workload { depth: 128, count: 100_000, ..QD32 };
        let ours = if contest == Contest::Peers { vec![Runner::Polled] } else { Vec::new() };
        timed.push((deep, [vec![Runner::Vroom], ours].concat()));
    }
    let mut passes = vec![
        Pass {
            name: "bench-instructions",
            subject: NVME,
            prefix: "",
            count: Count::Instructions,
            groups: counted,
        },
        Pass { name: "bench-mmio", subject: NVME, prefix: "", count: Count::Mmio, groups: touched },
        Pass { name: "bench-time", subject: NVME, prefix: "", count: Count::Nothing, groups: timed },
    ];
    for (workload, _) in passes.iter_mut().flat_map(|pass| &mut pass.groups) {
        // Below that, what fio itself costs would drown the figure.
        workload.count = (workload.count / shrink.max(1)).max(workload.count.min(500));
    }
    passes
}

/// Leaves only the groups in which a runner's entry has `text` in its name, and the passes that still have one.
#[must_use]
pub fn only(mut passes: Vec<Pass>, text: &str) -> Vec<Pass> {
    for pass in &mut passes {
        pass.groups.retain(|(workload, runners)| {
            let named = |runner: &Runner| {
                format!("{}{}, {}", pass.prefix, workload.name(), runner.name(pass.subject.peer))
                    .contains(text)
            };
            *workload == NOTHING || runners.iter().any(named)
        });
    }
    passes.retain(|pass| pass.groups.iter().any(|(workload, _)| *workload != NOTHING));
    passes
}

/// One way to look at a run.
struct Figure {
    /// How the entry is called.
    name: &'static str,
    /// How it is called when the peer ran alone.
    alone: &'static str,
    unit: &'static str,
    /// Whether it says something of a polling runner only.
    polling: bool,
    /// Ours, then the peer's; nothing when that was not counted.
    sides: [fn(&Sample, Overhead) -> Option<f64>; 2],
}

/// What is no work: kernel and user instructions and MMIO accesses of fio's beginning and end, and the instructions of
/// each look at a queue that had nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Overhead {
    kernel: f64,
    user: f64,
    mmio: f64,
    poll: f64,
}

fn kernel(sample: &Sample, overhead: Overhead) -> Option<f64> {
    Some((sample.window?.kernel as f64 - overhead.kernel) / sample.done.operations as f64)
}

fn instructions(sample: &Sample, overhead: Overhead) -> Option<f64> {
    let user = (sample.window?.user as f64 - overhead.user) / sample.done.operations as f64;
    Some(kernel(sample, overhead)? + user)
}

fn working(sample: &Sample, overhead: Overhead) -> Option<f64> {
    let waiting = overhead.poll * sample.done.empty_polls as f64 / sample.done.operations as f64;
    Some(instructions(sample, overhead)? - waiting)
}

fn mmio(sample: &Sample, overhead: Overhead) -> Option<f64> {
    Some((sample.window?.mmio? as f64 - overhead.mmio) / sample.done.operations as f64)
}

fn rate(sample: &Sample, _: Overhead) -> Option<f64> {
    Some(sample.done.rate())
}

fn figures(count: Count) -> Vec<Figure> {
    match count {
        Count::Nothing => {
            vec![Figure { name: "rate", alone: "rate", unit: "op/s", polling: false, sides: [rate, rate] }]
        }
        Count::Instructions => vec![
            Figure {
                name: "instructions",
                alone: "instructions",
                unit: "instructions/op",
                polling: false,
                sides: [instructions, instructions],
            },
            Figure {
                name: "instructions without empty polls",
                alone: "instructions without empty polls",
                unit: "instructions/op",
                polling: true,
                sides: [working, working],
            },
            Figure {
                name: "all our instructions against the peer's kernel part",
                alone: "kernel instructions",
                unit: "instructions/op",
                polling: false,
                sides: [instructions, kernel],
            },
        ],
        // Instructions are slower here and so a little more; the pass without MMIO is the better one for them.
        Count::Mmio => vec![Figure {
            name: "MMIO",
            alone: "MMIO",
            unit: "accesses/op",
            polling: false,
            sides: [mmio, mmio],
        }],
    }
}

/// Turns a pass's samples into entries.
#[must_use]
pub fn entries(pass: &Pass, samples: &[Sample]) -> Vec<Entry> {
    let overhead = overhead(pass, samples);
    let cost = |runner| match runner {
        runner if runner.is_fio() => overhead,
        Runner::Polled | Runner::PolledBare => {
            Overhead { poll: empty_poll(samples, runner).unwrap_or(0.0), ..Overhead::default() }
        }
        _ => Overhead::default(),
    };
    let mut entries = Vec::new();
    for (number, (workload, runners)) in pass.groups.iter().enumerate() {
        let Some((&reference, others)) = runners.split_first().filter(|_| *workload != NOTHING) else {
            continue;
        };
        let of =
            |role| samples.iter().filter(move |sample| sample.job.group == number && sample.job.role == role);
        for figure in figures(pass.count) {
            let waits = |runner| matches!(runner, Runner::Polled | Runner::PolledBare);
            let [our_side, peer_side] = figure.sides;
            let peer = |sample| peer_side(sample, cost(reference));
            let base = Entry {
                name: String::new(),
                unit: figure.unit.to_owned(),
                ours: None,
                peer: 0.0,
                peer_name: reference.name(pass.subject.peer),
                ratio: None,
                runs: 0,
                command: String::new(),
            };
            if others.is_empty() {
                if figure.polling {
                    continue;
                }
                let values: Vec<f64> = of(0).filter_map(peer).collect();
                let Some(peer) = median(&values) else { continue };
                let name = format!("{}{}: {}", pass.prefix, workload.name(), figure.alone);
                let command = command(&pass.subject, of(0).next(), None);
                entries.push(Entry { name, peer, runs: values.len(), command, ..base });
                continue;
            }
            for (index, &runner) in others.iter().enumerate() {
                // Only a polling runner has empty polls to leave out.
                if figure.polling && !waits(runner) {
                    continue;
                }
                let role = index.saturating_add(1);
                let pairs: Vec<(f64, f64)> = of(role)
                    .filter_map(|ours| {
                        let partner = of(0).find(|peer| peer.job.pair == ours.job.pair)?;
                        Some((our_side(ours, cost(runner))?, peer(partner)?))
                    })
                    .collect();
                let Some(result) = stats::compare(&pairs) else { continue };
                entries.push(Entry {
                    name: format!(
                        "{}{}, {}: {}",
                        pass.prefix,
                        workload.name(),
                        runner.name(pass.subject.peer),
                        figure.name
                    ),
                    ours: Some(result.ours),
                    peer: result.peer,
                    ratio: Some(result.ratio),
                    runs: result.runs,
                    command: command(&pass.subject, of(0).next(), of(role).next()),
                    ..base.clone()
                });
            }
        }
    }
    entries
}

/// What both sides of a comparison ran.
fn command(subject: &Subject, peer: Option<&Sample>, ours: Option<&Sample>) -> String {
    let sides = [("ours", ours), ("peer", peer)];
    let said = sides.iter().filter_map(|(side, sample)| {
        let job = &sample.as_ref()?.job;
        let what = match job.runner {
            runner if runner.is_fio() => {
                let file = plan::fio(job, 1);
                let words: Vec<_> =
                    file.lines().filter(|line| !line.starts_with('[') && !line.contains("exec_")).collect();
                format!("fio --{}", words.join(" --"))
            }
            Runner::Vroom => format!("io_test FUNCTION {}", plan::VROOM_SECONDS),
            _ => format!("{} --device FUNCTION {}", subject.bench, plan::ours(job, 1)),
        };
        Some(format!("{side}: {what}"))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// What one empty poll costs, from how the user instructions per operation grow with the empty polls per operation
/// from run to run. The device decides how many there are, so they differ enough. Runs of one workload share a line.
fn empty_poll(samples: &[Sample], runner: Runner) -> Option<f64> {
    let mut slopes = Vec::new();
    let mut groups: Vec<usize> = samples.iter().map(|sample| sample.job.group).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let points: Vec<(f64, f64)> = samples
            .iter()
            .filter(|sample| sample.job.group == group && sample.job.runner == runner)
            .filter_map(|sample| {
                let operations = sample.done.operations as f64;
                Some((sample.done.empty_polls as f64 / operations, sample.window?.user as f64 / operations))
            })
            .collect();
        slopes.extend(stats::slope(&points));
    }
    median(&slopes)
}

/// The medians of the runs that do nothing.
fn overhead(pass: &Pass, samples: &[Sample]) -> Overhead {
    let windows: Vec<Window> = samples
        .iter()
        .filter(|sample| pass.groups.get(sample.job.group).is_some_and(|(workload, _)| *workload == NOTHING))
        .filter_map(|sample| sample.window)
        .collect();
    let middle =
        |side: fn(&Window) -> f64| median(&windows.iter().map(side).collect::<Vec<_>>()).unwrap_or(0.0);
    Overhead {
        kernel: middle(|window| window.kernel as f64),
        user: middle(|window| window.user as f64),
        mmio: middle(|window| window.mmio.unwrap_or(0) as f64),
        poll: 0.0,
    }
}

/// A figure that the project means to reach.
#[derive(Debug)]
pub struct Target {
    /// The entry's name.
    pub entry: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What must hold.
    pub says: &'static str,
    /// Whether it does; for some it depends on another entry.
    pub holds: fn(&Entry, &[Entry]) -> bool,
}

/// The targets for nvmed.
pub const TARGETS: [Target; 5] = [
    Target {
        entry: "4 KiB randread QD32, interrupts: instructions",
        unit: "instructions/op",
        says: "at most a quarter of Linux's instructions",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio <= 0.25),
    },
    Target {
        entry: "4 KiB randread QD32, polled without the block layer: instructions",
        unit: "instructions/op",
        says: "at most 700 instructions, all polls included",
        holds: |entry, _| entry.ours.is_some_and(|ours| ours <= 700.0),
    },
    Target {
        entry: "4 KiB randread QD32, polled: instructions",
        unit: "instructions/op",
        says: "at most 700 instructions, all polls included",
        holds: |entry, _| entry.ours.is_some_and(|ours| ours <= 700.0),
    },
    Target {
        entry: "4 KiB randread QD32, polled: MMIO",
        unit: "accesses/op",
        says: "at most 0.2 MMIO accesses",
        holds: |entry, _| entry.ours.is_some_and(|ours| ours <= 0.2),
    },
    Target {
        entry: "4 KiB randread QD128, polled: rate",
        unit: "op/s",
        says: "at least vroom's rate",
        holds: |entry, _| entry.ratio.is_some_and(|ratio| ratio >= 1.0),
    },
];

/// Lines that say which targets were reached; those that were not measured are left out.
#[must_use]
pub fn verdicts(entries: &[Entry], targets: &[Target]) -> Vec<(bool, String)> {
    let measured = |target: &Target| {
        entries
            .iter()
            .find(|entry| entry.ours.is_some() && entry.unit == target.unit && entry.name == target.entry)
            .map(|entry| ((target.holds)(entry, entries), format!("{}: {}", target.entry, target.says)))
    };
    targets.iter().filter_map(measured).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::interleave;
    use crate::bench::results::Done;

    /// Samples in which each side costs the same every time; fio's start and end cost 1,000 and 500.
    fn samples(pass: &Pass, pairs: usize) -> Vec<Sample> {
        interleave(&pass.groups, pairs)
            .into_iter()
            .map(|job| {
                let operations = u64::from(job.workload.count);
                let (kernel, user, mmio) = match job.runner {
                    _ if job.workload == NOTHING => (1000, 500, 10),
                    Runner::Fio => (8000 * operations + 1000, 2000 * operations + 500, 3 * operations + 10),
                    Runner::NullUblk | Runner::LibublkNull => {
                        (20_000 * operations + 1000, 5000 * operations + 500, 10)
                    }
                    Runner::Ublk => (25_000 * operations + 1000, 6250 * operations + 500, operations + 10),
                    Runner::FioBatched => {
                        (5000 * operations + 1000, 2000 * operations + 500, operations + 10)
                    }
                    Runner::Interrupt => (1500 * operations, 500 * operations, operations / 2),
                    Runner::Polled | Runner::PolledBare | Runner::Vroom => {
                        (0, 600 * operations, operations / 10)
                    }
                };
                // Each empty poll costs 20 instructions, and every pair has more of them.
                let polls = matches!(job.runner, Runner::Polled | Runner::PolledBare);
                let empty_polls = if polls { (job.pair as u64 + 1) * operations } else { 0 };
                let user = user + 20 * empty_polls;
                let seconds = if job.runner == Runner::Vroom { 2.0 } else { 1.0 };
                let done = Done { operations, seconds, empty_polls };
                let mmio = (pass.count == Count::Mmio).then_some(mmio);
                let window =
                    (pass.count != Count::Nothing).then_some(Window { label: 1, kernel, user, mmio });
                Sample { job, done, window }
            })
            .collect()
    }

    fn all(contest: Contest) -> Vec<Entry> {
        passes(contest, Guests { vroom: true, libublk_null: true }, 1)
            .iter()
            .flat_map(|pass| entries(pass, &samples(pass, 8)))
            .collect()
    }

    fn named(entries: &[Entry], name: &str, peer: &str) -> Entry {
        let found: Vec<_> =
            entries.iter().filter(|entry| entry.name == name && entry.peer_name == peer).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].clone()
    }

    #[test]
    fn each_side_is_compared_with_its_reference() {
        let entries = all(Contest::Peers);
        let entry =
            named(&entries, "4 KiB randread QD32, interrupts: instructions", "Linux nvme, fio io_uring");
        assert_eq!((entry.ours, entry.peer, entry.ratio, entry.runs), (Some(2000.0), 10_000.0, Some(0.2), 8));
        let entry = named(
            &entries,
            "4 KiB randread QD32, interrupts: instructions",
            "Linux nvme, fio io_uring batched",
        );
        assert_eq!((entry.ours, entry.peer), (Some(2000.0), 7000.0));
        let name = "4 KiB randread QD32, interrupts: all our instructions against the peer's kernel part";
        assert_eq!(named(&entries, name, "Linux nvme, fio io_uring").ratio, Some(0.25));
        let entry = named(&entries, "4 KiB randread QD32, polled: MMIO", "Linux nvme, fio io_uring");
        assert_eq!((entry.ours, entry.peer), (Some(0.1), 3.0));
        let entry = named(&entries, "4 KiB randread QD128, polled: rate", "vroom, polled");
        assert_eq!(entry.ratio, Some(2.0));
        assert!(
            entry.command.contains("--depth 128") && entry.command.contains("io_test"),
            "{}",
            entry.command
        );
    }

    #[test]
    fn our_daemon_is_compared_with_the_floor_of_ublk() {
        let entries = all(Contest::Peers);
        for depth in [1, 32] {
            let name = format!("4 KiB randread QD{depth}, through ublk: instructions");
            for floor in ["null-ublk, fio io_uring", "libublk's null, fio io_uring"] {
                assert_eq!(named(&entries, &name, floor).ratio, Some(1.25));
            }
        }
        assert!(!entries.iter().any(|entry| entry.peer_name.contains("ublk") && entry.unit == "accesses/op"));
    }

    #[test]
    fn a_part_can_be_chosen() {
        let all = || passes(Contest::Peers, Guests { vroom: true, libublk_null: true }, 1);
        let ublk = only(all(), "ublk");
        assert_eq!(ublk.len(), 1);
        assert_eq!(ublk[0].groups.len(), 5, "two depths with two floors, and what fio itself costs");
        assert_eq!(only(all(), "QD128").len(), 1);
        assert_eq!(only(all(), "no such thing"), []);
    }

    #[test]
    fn empty_polls_can_be_taken_off() {
        let entries = all(Contest::Peers);
        let peer = "Linux nvme, fio io_uring";
        assert_eq!(named(&entries, "4 KiB randread QD32, polled: instructions", peer).ours, Some(690.0));
        let name = "4 KiB randread QD32, polled: instructions without empty polls";
        assert_eq!(named(&entries, name, peer).ours, Some(600.0));
        assert!(!entries.iter().any(|entry| entry.name.contains("interrupts: instructions without")));
    }

    #[test]
    fn the_peer_alone_has_no_ratio() {
        let entries = all(Contest::PeerOnly);
        assert!(entries.iter().all(|entry| entry.ours.is_none() && entry.ratio.is_none()));
        let entry = named(&entries, "4 KiB randread QD1: instructions", "Linux nvme, fio io_uring");
        assert_eq!((entry.peer, entry.runs), (10_000.0, 8));
    }

    #[test]
    fn the_peer_equals_itself() {
        let entries = all(Contest::SelfCheck);
        assert!(
            entries
                .iter()
                .filter(|entry| !entry.name.contains("kernel part"))
                .all(|entry| entry.ratio == Some(1.0))
        );
    }

    #[test]
    fn targets_are_judged_only_when_measured() {
        let verdicts_of = |contest| verdicts(&all(contest), &TARGETS);
        assert_eq!(verdicts_of(Contest::PeerOnly), []);
        let reached = verdicts_of(Contest::Peers);
        assert_eq!(reached.len(), TARGETS.len());
        assert!(reached.iter().all(|(good, _)| *good));
        let mut entries = all(Contest::Peers);
        for entry in &mut entries {
            entry.ours = entry.ours.map(|ours| ours * 10.0);
            entry.ratio = Some(if entry.unit == "op/s" { 0.9 } else { 2.5 });
        }
        assert!(verdicts(&entries, &TARGETS).iter().all(|(good, _)| !*good));
    }
}
