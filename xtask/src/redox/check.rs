//! Boots and what they report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::data;
use super::image::{Driver, Recipe, Service};
use super::parts::{Parts, System};
use super::plans::{BOOTS, Boot, FLUSHED};
use super::programs::{self, DISK_CHECK, NVMED};
use crate::demo::report::{Environment, Section};
use crate::demo::{finish, judge, print};
use crate::progress::Step;
use crate::rig::console::{Check, Message};
use crate::rig::run::Outcome;
use crate::rig::{self, Guest, Qemu};

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// Names of boots; none mean all.
    pub(super) only: Vec<String>,
    /// Try the boots on upstream's driver, leaving out what only ours has.
    pub(super) upstream: bool,
}

/// Everything that boots need.
struct Bench<'a> {
    qemu: &'a Qemu,
    system: &'a System,
    driver: Driver,
    disk_check: PathBuf,
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
    let wanted = if selection.upstream { &[DISK_CHECK][..] } else { &[DISK_CHECK, NVMED] };
    let programs = programs::obtain(parts, options, target, wanted)?;
    let qemu = rig::emulator(options, target)?;
    let subject = if selection.upstream { "upstream's nvmed (a trial of the boots)" } else { "our nvmed" };
    // Before the guests run: the checkout may have moved on afterwards.
    let mut environment = Environment::new("Red Bear drivers on Redox", &qemu, parts.programs.is_some());
    environment.add("Under test", subject);
    environment.add("Redox's kernel", &system.kernel.display().to_string());
    environment.add("Redox's base", &system.base.display().to_string());
    let [disk_check, nvmed @ ..] = &programs[..] else { return Ok(ExitCode::FAILURE) };
    let bench = Bench {
        qemu: &qemu,
        system: &system,
        driver: nvmed.first().map_or(Driver::Upstream, |program| Driver::Ours(program.clone())),
        disk_check: disk_check.clone(),
        target,
    };
    let mut sections: Vec<Section> = Vec::new();
    for boot in boots {
        println!("\n{} — guest {}", boot.plan.title, boot.plan.name);
        let started = Instant::now();
        let result = bench.boot(boot);
        sections.push(judge(NVMED.name, &boot.plan, selection.upstream, result, started.elapsed()));
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
    fn boot(&self, boot: &Boot) -> Result<Outcome> {
        let runs = rig::runs(self.target);
        let mut guest = Guest::from_disk(self.qemu, &runs, boot.plan.name)?;
        let disks = match boot.after {
            Some(before) => {
                runs.join(before).canonicalize().with_context(|| format!("no disks of {before}"))?
            }
            None => guest.directory().to_owned(),
        };
        let (root, data) = (disks.join("root.img"), disks.join("data.img"));
        if boot.after.is_none() {
            let step = Step::begin("make the disks");
            let sum = data::make(&data)?;
            let mut arguments: Vec<String> = boot.plan.script.split(' ').map(str::to_owned).collect();
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
                services: vec![Service { program: &self.disk_check, arguments, daemon: false }],
            };
            recipe.make(&self.target.join("redox"), &root)?;
            step.done("made");
        }
        guest = guest.disk_at("root", &root).disk_at("data", &data);
        let guest = (boot.plan.build)(with_disks(guest, "root", "data"))?;
        let mut outcome = guest.run(&mut print)?;
        let ours = self.driver != Driver::Upstream;
        if ours && boot.plan.checks.iter().any(|expected| expected.name == FLUSHED.name) {
            let check = flushed(&outcome.directory);
            print(&Message::Check(check.clone()));
            outcome.checks.push(check);
        }
        Ok(outcome)
    }
}

/// The controllers of a Redox guest: one that it boots from, and one to try things on.
pub(super) fn with_disks<'a>(guest: Guest<'a>, root: &str, data: &str) -> Guest<'a> {
    guest
        .device(&format!("nvme,serial=root,drive={root},addr=4,bootindex=0"))
        .device(&format!("nvme,serial=data,drive={data},addr=5"))
}

/// What QEMU recorded of flushes.
fn flushed(directory: &Path) -> Check {
    let trace = std::fs::read(directory.join("trace.log")).unwrap_or_default();
    let trace = String::from_utf8_lossy(&trace);
    let count = trace.lines().filter(|line| line.contains("pci_nvme_flush")).count();
    Check {
        name: FLUSHED.name.to_owned(),
        passed: count > 0,
        detail: format!("{count} events"),
        took: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_needs_is_booted_before_it() {
        let selection = Selection { only: vec!["redox-power-after".to_owned()], upstream: false };
        let names: Vec<&str> =
            BOOTS.iter().filter(|boot| selected(&selection, boot)).map(|boot| boot.plan.name).collect();
        assert_eq!(names, ["redox-power", "redox-power-after"]);
        let all = Selection { only: Vec::new(), upstream: false };
        assert!(BOOTS.iter().all(|boot| selected(&all, boot)));
    }

    #[test]
    fn a_run_without_flushes_fails() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!flushed(dir.path()).passed);
        std::fs::write(dir.path().join("trace.log"), "pci_nvme_flush_ns nsid 1\npci_nvme_read\n").unwrap();
        assert_eq!(flushed(dir.path()).detail, "1 events");
    }
}
