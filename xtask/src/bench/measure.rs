//! Running a plan in a guest and collecting its samples.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::plan::{self, Job, Runner, SLOTS};
use super::results::{self, Done, Window};
use super::subject::Subject;
use crate::progress::Step;
use crate::rig::console::Message;
use crate::rig::{Guest, Rig};

/// Capacity of each controller: more than any run reads in sequence.
const DISK: u64 = 8 << 30;

/// Longest silence of a guest, which is the longest run.
const SILENCE: Duration = Duration::from_secs(240);

/// What QEMU counts during the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Nothing: time is what matters.
    Nothing,
    /// Instructions.
    Instructions,
    /// Instructions and MMIO accesses.
    Mmio,
}

/// The programs that the runs use.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Those of the workspace.
    pub own: Vec<PathBuf>,
    /// `tools/tcg-count`'s plugin.
    pub plugin: PathBuf,
    /// vroom's `io_test`.
    pub vroom: Option<PathBuf>,
    /// libublk's example `null`.
    pub libublk_null: Option<PathBuf>,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The run.
    pub job: Job,
    /// What the program says.
    pub done: Done,
    /// What the plugin counted.
    pub window: Option<Window>,
}

/// Runs the jobs one after the other in one guest.
///
/// # Errors
/// When the guest fails, or a run in it; the message names the run.
pub fn run(
    rig: &Rig,
    (name, subject): (&str, &Subject),
    programs: &Programs,
    jobs: &[Job],
    count: Count,
) -> Result<Vec<Sample>> {
    let mut step = Step::begin(format!("guest {name}: {} runs", jobs.len()));
    let mut guest = Guest::new(rig, name, "bench.sh")?
        .device("intel-iommu,intremap=on")
        // Linux's driver gets its best case: it need not map each request.
        .cmdline("intel_iommu=on")
        .cmdline("iommu=pt")
        .cmdline("quiet")
        .memory_mib(2048)
        .env("PCI_DRIVER", subject.pci_driver)
        .env("MODULES", subject.modules)
        .env("BENCH", subject.bench)
        .env("DAEMON", subject.daemon)
        .file("jobs", &plan::list(jobs))
        .silence(SILENCE)
        .deadline(SILENCE.saturating_add(Duration::from_secs(30).saturating_mul(u32::try_from(jobs.len())?)));
    for slot in SLOTS {
        guest = guest.null_disk(&format!("null{slot}"), DISK);
        for device in subject.devices {
            guest = guest.device(&device.replace("SLOT", &slot.to_string()));
        }
    }
    let Programs { own, vroom, libublk_null, plugin } = programs;
    for program in own.iter().chain(vroom).chain(libublk_null) {
        guest = guest.program(program);
    }
    for (variable, program) in [("VROOM", vroom), ("LIBUBLK_NULL", libublk_null)] {
        if let Some(name) = program.as_ref().and_then(|path| path.file_name()) {
            guest = guest.env(variable, &name.to_string_lossy());
        }
    }
    for (index, job) in jobs.iter().enumerate() {
        if job.runner.is_fio() {
            guest = guest.file(&format!("jobs.d/{index}.fio"), &plan::fio(job, plan::label(index)));
        }
    }
    let counts = guest.directory().join("counts.json");
    let guest = counting(guest, plugin, &counts, count);
    let outcome = guest.run(&mut |message| {
        if let Message::Note(note) = message {
            step.tick(note);
        }
    })?;
    if outcome.status != 0 {
        let said = outcome.notes.last().map_or("", String::as_str);
        bail!("the guest's script failed ({}): {said}, see {}", outcome.status, outcome.directory.display());
    }
    let windows = match count {
        Count::Nothing => None,
        Count::Instructions | Count::Mmio => Some(windows(&counts, jobs.len())?),
    };
    let mut samples = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        let path = outcome.directory.join(format!("share/out/{index}"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let done = match job.runner {
            runner if runner.is_fio() => results::fio(&text),
            Runner::Vroom => results::vroom(&text),
            _ => results::ours(&text),
        }
        .with_context(|| format!("run {index}, {:?} of {}", job.runner, job.workload.name()))?;
        let window = windows.as_ref().and_then(|windows| windows.get(index)).copied();
        samples.push(Sample { job: *job, done, window });
    }
    step.done(&format!("{:.0} s", outcome.elapsed.as_secs_f64()));
    Ok(samples)
}

/// Has QEMU count during the guest's windows, and write what it counted to `counts`.
pub(super) fn counting<'a>(guest: Guest<'a>, plugin: &Path, counts: &Path, count: Count) -> Guest<'a> {
    let mmio = match count {
        Count::Nothing => return guest,
        Count::Instructions => "off",
        Count::Mmio => "on",
    };
    let [plugin, out] = [plugin, counts].map(|path| path.display().to_string().replace(',', ",,"));
    guest.plugin(&format!("{plugin},out={out},mmio={mmio}"))
}

/// What was counted in each of `runs` windows, whose labels must be those of the runs.
pub(super) fn windows(counts: &Path, runs: usize) -> Result<Vec<Window>> {
    let text =
        std::fs::read_to_string(counts).with_context(|| format!("cannot read {}", counts.display()))?;
    let windows = results::windows(&text)?;
    ensure!(windows.len() == runs, "{} windows of {runs} runs", windows.len());
    for (index, window) in windows.iter().enumerate() {
        let wanted = plan::label(index);
        ensure!(window.label == wanted, "run {index} has the marks of window {}", window.label);
    }
    Ok(windows)
}
