//! `cargo xtask bench`: measures the drivers beside their peers.
//!
//! Both sides do fixed work in one guest, in interleaved pairs, between marks that `tools/tcg-count` sees; time is
//! measured in a second guest without the plugin. See `docs/benchmarks.md`.

pub mod ahcid;
pub mod iommud;
pub mod measure;
pub mod nvmed;
pub mod plan;
pub mod programs;
pub mod report;
pub mod results;
pub mod stats;
pub mod subject;
pub mod virtio_blkd;
pub mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use self::measure::Programs;
use self::nvmed::{Contest, Guests, Pass, Target};
use self::report::Entry;
use crate::rig::{self, Rig};

/// The drivers that have a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// NVMe
    Nvmed,
    /// SATA disks
    Ahcid,
    /// virtio block devices
    VirtioBlkd,
    /// The IOMMU
    Iommud,
}

/// What the user asked for.
#[derive(Debug, Clone, Args)]
pub struct Request {
    /// Drivers to measure
    #[arg(value_enum, default_values_t = [Driver::Nvmed])]
    pub drivers: Vec<Driver>,
    /// Interleaved pairs per figure
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub pairs: u16,
    /// A tenth of the work in two pairs: a look, not a result
    #[arg(long, conflicts_with = "pairs")]
    pub quick: bool,
    /// Measure the peer alone
    #[arg(long)]
    pub peer_only: bool,
    /// Measure the peer against itself: shows how far the ratios can be trusted
    #[arg(long, conflicts_with = "peer_only")]
    pub self_check: bool,
    /// Run only what has this in its name, as in "4 KiB randread QD32", "polled" or "ublk"
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Take our programs from this directory instead of building them
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// vroom's example `io_test`, built elsewhere, as a further peer
    #[arg(long, value_name = "PATH")]
    pub vroom: Option<PathBuf>,
    /// libublk's example `null`, built elsewhere, as a further peer of our daemon's ublk disk
    #[arg(long, value_name = "PATH")]
    pub libublk_null: Option<PathBuf>,
    /// Where the guests come from
    #[command(flatten)]
    pub rig: rig::Options,
}

/// Measures, writes `target/bench/NAME.json` and `.html`, and prints the figures.
///
/// # Errors
/// When something cannot be built or run.
pub fn run(request: &Request, target: &Path) -> Result<ExitCode> {
    let mut good = true;
    for driver in &request.drivers {
        good &= match driver {
            Driver::Nvmed => nvme(request, target)?,
            Driver::Ahcid => {
                let passes = ahcid::passes(effort(request).1);
                beside_linux(request, target, "ahcid", passes, &ahcid::TARGETS)?
            }
            Driver::VirtioBlkd => {
                let passes = virtio_blkd::passes(effort(request).1);
                beside_linux(request, target, "virtio-blkd", passes, &virtio_blkd::TARGETS)?
            }
            Driver::Iommud => iommud::run(request, target)?,
        };
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn nvme(request: &Request, target: &Path) -> Result<bool> {
    let contest = match (request.peer_only, request.self_check) {
        (true, _) => Contest::PeerOnly,
        (_, true) => Contest::SelfCheck,
        _ => Contest::Peers,
    };
    let vroom = request.vroom.as_deref().map(programs::given).transpose()?;
    let libublk_null = request.libublk_null.as_deref().map(programs::given).transpose()?;
    let names: &[&str] = match contest {
        Contest::Peers => &["rb-mark", "null-ublk", "nvme-bench", "nvmed"],
        Contest::PeerOnly => &["rb-mark", "null-ublk"],
        Contest::SelfCheck => &["rb-mark"],
    };
    let programs = Programs {
        own: programs::own(request.programs.as_deref(), names)?,
        plugin: programs::plugin(target)?,
        vroom,
        libublk_null,
    };
    let guests = Guests { vroom: programs.vroom.is_some(), libublk_null: programs.libublk_null.is_some() };
    let (_, shrink) = effort(request);
    let (name, title) = match contest {
        Contest::SelfCheck => ("nvmed-self-check", "Linux's nvme driver measured against itself"),
        Contest::PeerOnly => ("nvmed-peer", "The peers of nvmed"),
        Contest::Peers => ("nvmed", "nvmed beside its peers"),
    };
    let passes = nvmed::passes(contest, guests, shrink);
    measure_all(request, target, (name, title), &programs, passes, &nvmed::TARGETS)
}

/// Pairs, and by how much the work is less.
fn effort(request: &Request) -> (usize, u32) {
    if request.quick { (2, 10) } else { (usize::from(request.pairs), 1) }
}

/// Measures a driver that has no other peer than Linux's.
fn beside_linux(
    request: &Request,
    target: &Path,
    daemon: &str,
    passes: Vec<Pass>,
    targets: &[Target],
) -> Result<bool> {
    ensure!(
        !(request.peer_only || request.self_check),
        "{daemon} is measured beside its peer, and in no other way"
    );
    let subject = passes.first().context("nothing to measure")?.subject;
    let programs = Programs {
        own: programs::own(request.programs.as_deref(), &["rb-mark", subject.bench])?,
        plugin: programs::plugin(target)?,
        vroom: None,
        libublk_null: None,
    };
    let title = format!("{daemon} beside {}", subject.peer);
    measure_all(request, target, (daemon, &title), &programs, passes, targets)
}

/// Runs the passes that are wanted, writes the report and says which targets were reached.
fn measure_all(
    request: &Request,
    target: &Path,
    (name, title): (&str, &str),
    programs: &Programs,
    mut passes: Vec<Pass>,
    targets: &[Target],
) -> Result<bool> {
    let rig = Rig::prepare(&request.rig, target)?;
    let (pairs, _) = effort(request);
    let directory = target.join("bench");
    let mut entries = Vec::new();
    if let Some(text) = &request.only {
        passes = nvmed::only(passes, text);
        ensure!(!passes.is_empty(), "nothing that is measured has {text:?} in its name");
    }
    for pass in passes {
        let jobs = plan::interleave(&pass.groups, pairs);
        let samples = measure::run(&rig, (pass.name, &pass.subject), programs, &jobs, pass.count)?;
        entries.extend(nvmed::entries(&pass, &samples));
        // After each guest: what is measured stays, whatever happens to the next.
        report::write(&directory, name, title, &entries)?;
    }
    print!("{}", report::table(&entries));
    let good = judge(&entries, targets);
    println!("written to {}", directory.join(format!("{name}.html")).display());
    Ok(good)
}

/// Says which targets were reached, and whether all that were measured are.
fn judge(entries: &[Entry], targets: &[Target]) -> bool {
    let verdicts = nvmed::verdicts(entries, targets);
    for (reached, what) in &verdicts {
        println!("{}  {what}", if *reached { "REACHED" } else { "MISSED " });
    }
    verdicts.iter().all(|(reached, _)| *reached)
}
