//! Boots and what they report.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::data;
use super::image::{Driver, Recipe, Service};
use super::parts::{Parts, System};
use super::plans::{BOOTS, Boot, FLUSHED};
use super::programs::{self, DISK_CHECK};
use super::subject::Subject;
use crate::demo::report::{Environment, Section};
use crate::demo::{finish, judge, print};
use crate::progress::Step;
use crate::rig::console::{Check, Message};
use crate::rig::run::Outcome;
use crate::rig::{self, Guest, Qemu};

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// The drivers that are tried.
    pub(super) drivers: Vec<Subject>,
    /// Names of boots; none mean all.
    pub(super) only: Vec<String>,
    /// Try the boots on upstream's driver, leaving out what only ours has.
    pub(super) upstream: bool,
}

/// Everything that boots need.
struct Bench<'a> {
    qemu: &'a Qemu,
    system: &'a System,
    subject: Subject,
    driver: Driver,
    disk_check: &'a Path,
    target: &'a Path,
}

/// Runs the boots and writes the report.
///
/// # Errors
/// When something is missing. Failed checks end it with a failure status.
pub(super) fn run(
    parts: &Parts,
    options: &rig::Options,
    selection: &Selection,
    target: &Path,
) -> Result<ExitCode> {
    let boots: Vec<&Boot> = BOOTS.iter().filter(|boot| selected(selection, boot)).collect();
    ensure!(!boots.is_empty(), "no boot is called {}", selection.only.join(" or "));
    let system = parts.system()?;
    let mut wanted = vec![DISK_CHECK];
    if !selection.upstream {
        wanted.extend(selection.drivers.iter().map(|driver| driver.program()));
    }
    let programs = programs::obtain(parts, options, target, &wanted)?;
    let qemu = rig::emulator(options, target)?;
    let names: Vec<_> = selection.drivers.iter().map(|driver| driver.program().name).collect();
    let whose = if selection.upstream { "upstream's (a trial of the boots)" } else { "ours" };
    // Before the guests run: the checkout may have moved on afterwards.
    let mut environment = Environment::new("Red Bear drivers on Redox", &qemu, parts.programs.is_some());
    environment.add("Under test", &format!("{}, {whose}", names.join(", ")));
    environment.add("Redox's kernel", &system.kernel.display().to_string());
    environment.add("Redox's base", &system.base.display().to_string());
    let [disk_check, built @ ..] = &programs[..] else { return Ok(ExitCode::FAILURE) };
    let mut sections: Vec<Section> = Vec::new();
    for (index, &subject) in selection.drivers.iter().enumerate() {
        let daemon = subject.program();
        let driver = built.get(index).map(|program| Driver::Ours(daemon, program.clone()));
        let driver = driver.unwrap_or(Driver::Upstream);
        let bench = Bench { qemu: &qemu, system: &system, subject, driver, disk_check, target };
        for &boot in &boots {
            println!("\n{} — guest {}", boot.plan.title, bench.guest(boot.plan.name));
            let started = Instant::now();
            let result = bench.boot(boot);
            sections.push(judge(daemon.name, &boot.plan, selection.upstream, result, started.elapsed()));
        }
    }
    finish(&target.join("redox/report"), &environment, &sections)
}

/// A boot is wanted by its name, or because another one needs its disks.
fn selected(selection: &Selection, boot: &Boot) -> bool {
    let named = |name: &str| selection.only.iter().any(|only| only == name);
    let needed = BOOTS.iter().any(|other| other.after == Some(boot.plan.name) && named(other.plan.name));
    selection.only.is_empty() || named(boot.plan.name) || needed
}

impl Bench<'_> {
    /// What a boot's guest is called, and its directory.
    fn guest(&self, boot: &str) -> String {
        format!("{boot}-{}", self.subject.program().name)
    }

    fn boot(&self, boot: &Boot) -> Result<Outcome> {
        let runs = rig::runs(self.target);
        let mut guest = Guest::from_disk(self.qemu, &runs, &self.guest(boot.plan.name))?;
        let disks = match boot.after {
            Some(before) => runs
                .join(self.guest(before))
                .canonicalize()
                .with_context(|| format!("no disks of {before}"))?,
            None => guest.directory().to_owned(),
        };
        let (root, data) = (disks.join("root.img"), disks.join("data.img"));
        if boot.after.is_none() {
            let step = Step::begin("make the disks");
            let sum = data::make(&data)?;
            let mut arguments: Vec<String> = boot.plan.script.split(' ').map(str::to_owned).collect();
            arguments.extend(self.subject.check_arguments());
            arguments.extend(["--sha256".to_owned(), sum]);
            arguments.extend(["--bytes".to_owned(), data::BYTES.to_string()]);
            arguments.extend(["--gap".to_owned(), data::GAP.to_string()]);
            if self.driver == Driver::Upstream {
                arguments.push("--upstream".to_owned());
            }
            let recipe = Recipe {
                system: self.system,
                driver: self.driver.clone(),
                arguments: boot.arguments,
                later: None,
                services: vec![Service { program: self.disk_check, arguments, daemon: false }],
            };
            recipe.make(&self.target.join("redox"), &root)?;
            step.done("made");
        }
        guest = guest.disk_at("root", &root).disk_at("data", &data);
        let guest = (boot.plan.build)(self.subject.with_disks(guest, "root", "data"))?;
        let mut outcome = guest.run(&mut print)?;
        let ours = self.driver != Driver::Upstream;
        if ours && boot.plan.checks.iter().any(|expected| expected.name == FLUSHED.name) {
            let check = flushed(&outcome);
            print(&Message::Check(check.clone()));
            outcome.checks.push(check);
        }
        Ok(outcome)
    }
}

/// What QEMU has seen of flushes: its NVMe controller traces them, other disks count them.
fn flushed(outcome: &Outcome) -> Check {
    let trace = std::fs::read(outcome.directory.join("trace.log")).unwrap_or_default();
    let trace = String::from_utf8_lossy(&trace);
    let traced = trace.lines().filter(|line| line.contains("pci_nvme_flush")).count();
    // Of any disk: that of the root file system had none in a run, though a file on it was synced.
    let counted: u64 = outcome.disks.iter().map(|disk| disk.flushes).sum();
    Check {
        name: FLUSHED.name.to_owned(),
        passed: traced > 0 || counted > 0,
        detail: format!("{traced} traced, {counted} counted"),
        took: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::run::DiskUse;

    #[test]
    fn what_a_boot_needs_is_booted_before_it() {
        let drivers = vec![Subject::Nvmed];
        let only = vec!["redox-power-after".to_owned()];
        let selection = Selection { drivers: drivers.clone(), only, upstream: false };
        let names: Vec<&str> =
            BOOTS.iter().filter(|boot| selected(&selection, boot)).map(|boot| boot.plan.name).collect();
        assert_eq!(names, ["redox-power", "redox-power-after"]);
        let all = Selection { drivers, only: Vec::new(), upstream: false };
        assert!(BOOTS.iter().all(|boot| selected(&all, boot)));
    }

    #[test]
    fn a_run_without_flushes_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut outcome = Outcome { directory: dir.path().to_owned(), ..Outcome::default() };
        assert!(!flushed(&outcome).passed);
        outcome.disks = vec![DiskUse { name: "data".to_owned(), flushes: 2 }];
        assert!(flushed(&outcome).passed);
        outcome.disks.clear();
        std::fs::write(dir.path().join("trace.log"), "pci_nvme_flush_ns nsid 1\npci_nvme_read\n").unwrap();
        assert_eq!(flushed(&outcome).detail, "1 traced, 0 counted");
    }
}
