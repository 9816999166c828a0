//! iommud beside Linux's driver of the same IOMMU: what a page costs that is mapped and unmapped again.

mod figures;
mod systems;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use self::systems::{Run, SYSTEMS, System};
use super::measure::{Count, counting, windows};
use super::programs;
use super::results::{self, Done, Window};
use super::{Request, effort, judge, report};
use crate::progress::Step;
use crate::rig::console::Message;
use crate::rig::{Guest, Rig};

/// Longest silence of a guest: a million mappings.
const SILENCE: Duration = Duration::from_secs(240);
/// Capacity of the disk: more than is read.
const DISK: u64 = 1 << 30;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Sample {
    run: Run,
    window: Window,
    done: Done,
    /// Pages of tables for what stayed mapped, or requests that the daemon had.
    extra: u64,
}

/// Measures, writes `target/bench/iommud.json` and `.html`, and prints the figures.
///
/// # Errors
/// When something cannot be built or run.
pub fn run(request: &Request, target: &Path) -> Result<bool> {
    ensure!(
        !(request.peer_only || request.self_check || request.only.is_some()),
        "iommud is measured beside its peer, as a whole, and in no other way"
    );
    let own = programs::own(request.programs.as_deref(), &["rb-mark", "iommu-bench", "iommud", "nvmed"])?;
    let plugin = programs::plugin(target)?;
    let rig = Rig::prepare(&request.rig, target)?;
    let (repeats, shrink) = effort(request);
    let mut samples = Vec::new();
    for system in SYSTEMS {
        let runs: Vec<Run> = (0..repeats).flat_map(|_| system.runs.iter().copied()).collect();
        let runs: Vec<Run> = runs.into_iter().map(|run| run.shrunk(shrink)).collect();
        samples.push(guest(&rig, &system, &own, &plugin, &runs)?);
    }
    let entries = figures::entries(&samples.concat())?;
    let directory = target.join("bench");
    report::write(&directory, "iommud", "iommud beside Linux's driver of the IOMMU", &entries)?;
    print!("{}", report::table(&entries));
    let good = judge(&entries, &figures::TARGETS);
    println!("written to {}", directory.join("iommud.html").display());
    Ok(good)
}

/// Runs all of them in one guest.
fn guest(
    rig: &Rig,
    system: &System,
    own: &[std::path::PathBuf],
    plugin: &Path,
    runs: &[Run],
) -> Result<Vec<Sample>> {
    let name = system.name;
    let mut step = Step::begin(format!("guest {name}: {} runs", runs.len()));
    let mut guest = Guest::new(rig, name, "bench.sh")?
        .device("amd-iommu,intremap=on,xtsup=on,dma-remap=on")
        .cmdline("quiet")
        // A second one would be idle while a client waits, and what it does meanwhile would count.
        .processors(1)
        .memory_mib(2048)
        .env("PCI_DRIVER", "nvme")
        .env("MODULES", "nvme")
        .env("BENCH", "iommu-bench")
        .env("DAEMON", "nvmed")
        .file("jobs", &systems::list(runs))
        .null_disk("null4", DISK)
        .device("nvme,serial=bench4,drive=null4,addr=4")
        .silence(SILENCE)
        .deadline(SILENCE.saturating_add(Duration::from_secs(60).saturating_mul(u32::try_from(runs.len())?)));
    for parameter in system.parameters {
        guest = guest.cmdline(parameter);
    }
    for program in own {
        guest = guest.program(program);
    }
    for (index, run) in runs.iter().enumerate() {
        if let Some(text) = run.fio(index) {
            guest = guest.file(&format!("jobs.d/{index}.fio"), &text);
        }
    }
    let counts = guest.directory().join("counts.json");
    let outcome = counting(guest, plugin, &counts, Count::Instructions).run(&mut |message| {
        if let Message::Note(note) = message {
            step.tick(note);
        }
    })?;
    if outcome.status != 0 {
        let said = outcome.notes.last().map_or("", String::as_str);
        bail!("the guest's script failed ({}): {said}, see {}", outcome.status, outcome.directory.display());
    }
    let mut samples = Vec::with_capacity(runs.len());
    for ((index, &run), window) in runs.iter().enumerate().zip(windows(&counts, runs.len())?) {
        let read = |name: String| {
            let path = outcome.directory.join(format!("share/out/{name}"));
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let said = read(index.to_string())?;
        let (done, extra) = match run {
            Run::Pairs { .. } => (results::ours(&said)?, results::number(&said, "tables")?),
            Run::Kernel { .. } => (results::ours(&said)?, 0),
            Run::Disk { .. } => (results::fio(&said)?, 0),
            Run::Behind { .. } => {
                let requests = read(format!("{index}.requests"))?;
                (results::fio(&said)?, requests.trim().parse().context("a number of requests")?)
            }
        };
        samples.push(Sample { run, window, done, extra });
    }
    step.done(&format!("{:.0} s", outcome.elapsed.as_secs_f64()));
    Ok(samples)
}
