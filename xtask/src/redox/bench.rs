//! `cargo xtask redox bench`: our driver beside upstream's, in interleaved boots of the same system.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::image::{Driver, Recipe, Service};
use super::parts::{Parts, System};
use super::programs::{self, BENCH, NULL_DISK};
use super::subject::Subject;
use super::targets::{FLOOR, verdicts};
use crate::bench::measure::Count;
use crate::bench::programs::plugin;
use crate::bench::report::{self, Entry};
use crate::bench::results::{self, Window};
use crate::bench::stats;
use crate::progress::Step;
use crate::rig::{self, Guest, Qemu};

/// What the user asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Request {
    /// Drivers to measure
    #[arg(value_enum, value_name = "DRIVER", default_values_t = [Subject::Nvmed])]
    drivers: Vec<Subject>,
    /// Interleaved pairs of boots per figure
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pairs: u16,
    /// A tenth of the work in two pairs: a look, not a result
    #[arg(long, conflicts_with = "pairs")]
    quick: bool,
    /// Measure upstream's driver against itself: shows how far the ratios can be trusted
    #[arg(long)]
    self_check: bool,
    #[command(flatten)]
    parts: Parts,
    #[command(flatten)]
    rig: rig::Options,
}

/// Capacity of the disk, which reads zeroes and costs nothing.
const DISK: u64 = 8 << 30;

/// Fixed work.
#[derive(Debug, Clone, Copy)]
struct Job {
    name: &'static str,
    pattern: &'static str,
    size: u32,
    threads: u32,
    count: u32,
}

const JOBS: [Job; 3] = [
    Job { name: "1 MiB seqread, 1 thread", pattern: "seqread", size: 1 << 20, threads: 1, count: 400 },
    Job { name: "4 KiB randread, 1 thread", pattern: "randread", size: 4096, threads: 1, count: 4000 },
    Job { name: "4 KiB randread, 32 threads", pattern: "randread", size: 4096, threads: 32, count: 9600 },
];

/// What a job came to in one boot.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    operations: f64,
    seconds: f64,
    window: Option<Window>,
}

/// Measures, writes `target/bench/DRIVER-redox.json` and `.html`, and prints the figures.
///
/// # Errors
/// When something is missing or a boot fails.
pub(super) fn run(request: &Request, target: &Path) -> Result<ExitCode> {
    let mut good = true;
    for driver in &request.drivers {
        good &= measure(request, *driver, target)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a driver reached its targets.
fn measure(request: &Request, subject: Subject, target: &Path) -> Result<bool> {
    let system = request.parts.system()?;
    let program = subject.program();
    let wanted = if request.self_check { &[BENCH][..] } else { &[BENCH, program, NULL_DISK] };
    let built = programs::obtain(&request.parts, &request.rig, target, wanted)?;
    let [bench, ours @ ..] = &built[..] else { bail!("no program") };
    let plugin = plugin(target)?;
    let qemu = rig::emulator(&request.rig, target)?;
    let (pairs, shrink) = if request.quick { (2, 10) } else { (request.pairs, 1) };
    let jobs = arguments(shrink);
    let on = |disk: Vec<String>| {
        let arguments = jobs.iter().cloned().chain(disk).collect();
        Service { program: bench, arguments, daemon: false }
    };
    let bench = on(subject.data_arguments());
    // Ours, the peer, and where there is one the floor.
    let sides = match ours {
        [built, null_disk] => {
            let driver = Driver::Ours(program, built.clone());
            let floor = Service { program: null_disk, arguments: Vec::new(), daemon: true };
            let on_floor = on(["--scheme", "disk.null", "--node", "1"].map(str::to_owned).to_vec());
            vec![
                ("ours", driver.clone(), vec![bench.clone()]),
                ("upstream", Driver::Upstream, vec![bench]),
                ("floor", driver, vec![floor, on_floor]),
            ]
        }
        _ => vec![
            ("upstream-a", Driver::Upstream, vec![bench.clone()]),
            ("upstream-b", Driver::Upstream, vec![bench]),
        ],
    };
    let work = target.join("redox/bench");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let step = Step::begin("make the disks");
    let mut images = Vec::new();
    for (name, driver, services) in sides {
        let image = work.join(format!("{name}.img"));
        let recipe = Recipe { system: &system, driver, arguments: &[], later: None, services };
        recipe.make(&work, &image)?;
        images.push((name, image));
    }
    step.done("made");
    let daemon = program.name;
    let upstream = format!("upstream's {daemon}");
    let (name, title) = if request.self_check {
        (format!("{daemon}-redox-self-check"), format!("{upstream} on Redox against itself"))
    } else {
        (format!("{daemon}-redox"), format!("{daemon} on Redox beside upstream's"))
    };
    let boots = Boots { qemu: &qemu, plugin: &plugin, target, system: &system, subject };
    let mut entries = Vec::new();
    for count in [Count::Instructions, Count::Mmio, Count::Nothing] {
        let mut measured = Vec::new();
        for pair in 0..pairs {
            let mut sides: Vec<_> = images.iter().enumerate().collect();
            if pair % 2 == 1 {
                sides.reverse();
            }
            let mut samples = vec![Vec::new(); images.len()];
            for (side, (name, image)) in sides {
                let step = Step::begin(format!("{count:?}, pair {} of {pairs}: {name}", pair + 1));
                let sample = boots.measure(name, image, count)?;
                step.done("measured");
                if let Some(place) = samples.get_mut(side) {
                    *place = sample;
                }
            }
            measured.push(samples);
        }
        entries.extend(figures(count, &measured, (1, &upstream), &jobs));
        entries.extend(figures(count, &measured, (2, FLOOR), &jobs));
        // After each kind of boot: what is measured stays, whatever happens to the next.
        report::write(&target.join("bench"), &name, &title, &entries)?;
    }
    print!("{}", report::table(&entries));
    let verdicts = if request.self_check { Vec::new() } else { verdicts(subject, &upstream, &entries) };
    for (reached, what) in &verdicts {
        println!("{}  {what}", if *reached { "REACHED" } else { "MISSED " });
    }
    println!("written to {}", target.join("bench").join(format!("{name}.html")).display());
    Ok(verdicts.iter().all(|(reached, _)| *reached))
}

/// The label of a job's marks.
fn label(index: usize) -> usize {
    index + 1
}

/// What `redox-bench` is asked for.
fn arguments(shrink: u32) -> Vec<String> {
    JOBS.iter()
        .enumerate()
        .map(|(index, job)| {
            let Job { pattern, size, threads, count, .. } = job;
            // Each thread does as many.
            let count = (count / shrink / threads).max(1) * threads;
            format!("{}:{pattern}:{size}:{threads}:{count}", label(index))
        })
        .collect()
}

struct Boots<'a> {
    qemu: &'a Qemu,
    plugin: &'a Path,
    target: &'a Path,
    system: &'a System,
    subject: Subject,
}

impl Boots<'_> {
    /// Boots a copy of an image and returns what each job came to.
    fn measure(&self, name: &str, image: &Path, count: Count) -> Result<Vec<Sample>> {
        let mut guest = Guest::from_disk(self.qemu, &rig::runs(self.target), &format!("redox-bench-{name}"))?;
        let root: PathBuf = guest.directory().join("root.img");
        std::fs::copy(image, &root).with_context(|| format!("cannot copy {}", image.display()))?;
        guest = guest.disk_at("root", &root).null_disk("data", DISK);
        guest =
            self.subject.with_disks(guest, "root", "data").processors(2).deadline(Duration::from_secs(900));
        let counts = guest.directory().join("counts.json");
        if count != Count::Nothing {
            let mmio = if count == Count::Mmio { "on" } else { "off" };
            let [plugin, out] =
                [self.plugin, &counts].map(|path| path.display().to_string().replace(',', ",,"));
            guest = guest.plugin(&format!("{plugin},out={out},mmio={mmio}"));
        }
        let outcome =
            guest.run(&mut |_| {}).with_context(|| format!("kernel {}", self.system.kernel.display()))?;
        if let Some(check) = outcome.checks.iter().find(|check| !check.passed) {
            bail!("{}: {}, see {}", check.name, check.detail, outcome.directory.display());
        }
        let windows = match count {
            Count::Nothing => Vec::new(),
            Count::Instructions | Count::Mmio => {
                let text = std::fs::read_to_string(&counts)
                    .with_context(|| format!("cannot read {}", counts.display()))?;
                results::windows(&text)?
            }
        };
        let mut samples = Vec::new();
        for index in 0..JOBS.len() {
            let label = label(index);
            let figure = |what: &str| {
                let name = format!("{label}.{what}");
                let metric = outcome.metrics.iter().find(|metric| metric.name == name);
                metric.map(|metric| metric.value).with_context(|| format!("the guest did not tell {name}"))
            };
            let window = windows.iter().find(|window| usize::from(window.label) == label).copied();
            ensure!(window.is_some() || count == Count::Nothing, "no window {label} was counted");
            samples.push(Sample { operations: figure("operations")?, seconds: figure("seconds")?, window });
        }
        Ok(samples)
    }
}

/// One way to look at a sample.
type Side = fn(&Sample, &Job) -> Option<f64>;

fn per_operation(sample: &Sample, value: impl Fn(&Window) -> u64) -> Option<f64> {
    Some(value(sample.window.as_ref()?) as f64 / sample.operations)
}

/// What a kind of boot tells: name, unit, figure.
fn views(count: Count, job: &Job) -> Vec<(&'static str, &'static str, Side)> {
    match count {
        Count::Instructions => vec![
            ("instructions", "instructions/op", |sample, _| {
                per_operation(sample, |window| window.kernel.saturating_add(window.user))
            }),
            ("kernel instructions", "instructions/op", |sample, _| {
                per_operation(sample, |window| window.kernel)
            }),
            ("user instructions", "instructions/op", |sample, _| per_operation(sample, |window| window.user)),
        ],
        Count::Mmio => {
            vec![("MMIO", "accesses/op", |sample, _| Some(sample.window?.mmio? as f64 / sample.operations))]
        }
        Count::Nothing if job.size >= 1 << 20 => vec![("throughput", "MB/s", |sample, job| {
            Some(sample.operations * f64::from(job.size) / sample.seconds / 1e6)
        })],
        Count::Nothing => {
            vec![("rate", "op/s", |sample, _| Some(sample.operations / sample.seconds))]
        }
    }
}

/// Entries of one kind of boot, of which each round has the samples of each side, ours first. Nothing comes of a peer that
/// was not booted.
fn figures(
    count: Count,
    measured: &[Vec<Vec<Sample>>],
    (place, peer): (usize, &str),
    arguments: &[String],
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, job) in JOBS.iter().enumerate() {
        for (name, unit, side) in views(count, job) {
            let pairs: Vec<(f64, f64)> = measured
                .iter()
                .filter_map(|sides| {
                    let figure = |place: usize| side(sides.get(place)?.get(index)?, job);
                    Some((figure(0)?, figure(place)?))
                })
                .collect();
            let Some(result) = stats::compare(&pairs) else { continue };
            entries.push(Entry {
                name: format!("{}: {name}", job.name),
                unit: unit.to_owned(),
                ours: Some(result.ours),
                peer: result.peer,
                peer_name: peer.to_owned(),
                ratio: Some(result.ratio),
                runs: result.runs,
                command: format!("redox-bench {}", arguments.get(index).map_or("", String::as_str)),
            });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::subject::ALL;
    use super::*;

    const UPSTREAM: &str = "upstream's";

    fn samples(cost: u64, count: Count) -> Vec<Sample> {
        let window = Window { label: 1, kernel: 600 * cost, user: 400 * cost, mmio: Some(2 * cost) };
        let window = (count != Count::Nothing).then_some(window);
        JOBS.iter().map(|_| Sample { operations: 100.0, seconds: cost as f64, window }).collect()
    }

    fn all(ours: u64, theirs: u64, floor: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        for count in [Count::Instructions, Count::Mmio, Count::Nothing] {
            let round = vec![samples(ours, count), samples(theirs, count), samples(floor, count)];
            let measured = vec![round; 4];
            entries.extend(figures(count, &measured, (1, UPSTREAM), &arguments(1)));
            entries.extend(figures(count, &measured, (2, FLOOR), &arguments(1)));
            assert!(figures(count, &measured, (3, "nobody"), &arguments(1)).is_empty());
        }
        entries
    }

    #[test]
    fn each_job_has_its_figures() {
        let entries = all(1, 5, 1);
        assert_eq!(entries.len(), 2 * 3 * 5);
        let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        let entry = find("4 KiB randread, 1 thread: instructions");
        assert_eq!((entry.ours, entry.peer, entry.ratio, entry.runs), (Some(10.0), 50.0, Some(0.2), 4));
        assert_eq!(find("4 KiB randread, 32 threads: rate").ratio, Some(5.0));
        let entry = find("1 MiB seqread, 1 thread: throughput");
        assert_eq!((entry.ours, entry.unit.as_str()), (Some(104.8576), "MB/s"));
        assert_eq!(find("4 KiB randread, 1 thread: MMIO").ours, Some(0.02));
        assert!(entry.command.contains("seqread:1048576:1:400"), "{}", entry.command);
    }

    #[test]
    fn every_target_is_measured_and_can_be_missed() {
        for (subject, count) in ALL.into_iter().zip([9, 6, 6]) {
            let reached = |entries: &[Entry]| {
                let verdicts = verdicts(subject, UPSTREAM, entries).into_iter();
                verdicts.map(|(reached, _)| reached).collect::<Vec<_>>()
            };
            assert_eq!(reached(&all(1, 5, 1)), vec![true; count]);
            assert_eq!(reached(&all(500, 500, 5)), vec![false; count]);
            assert!(reached(&[]).is_empty());
        }
    }

    #[test]
    fn work_can_be_divided_among_threads() {
        for shrink in [1, 10, 1000] {
            for (text, job) in arguments(shrink).iter().zip(JOBS) {
                let count: u32 = text.rsplit(':').next().unwrap().parse().unwrap();
                assert!(count > 0 && count.is_multiple_of(job.threads), "{text}");
            }
        }
    }
}
