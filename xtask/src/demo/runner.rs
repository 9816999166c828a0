//! Runs the guests of a demo and judges what they report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use super::report::{Environment, Section};
use super::{Plan, find, report};
use crate::rig::console::{Check, Message};
use crate::rig::run::Outcome;
use crate::rig::{self, Guest, Rig};
use crate::workspace;

/// What to show.
#[derive(Debug, Args)]
pub struct Selection {
    /// Drivers to show; all of them when none is named
    drivers: Vec<String>,
    /// Try the scenario on Linux's own driver instead of ours, leaving out what needs the daemon
    #[arg(long)]
    linux: bool,
    /// Run only the guests with these names
    #[arg(long, value_name = "GUEST")]
    only: Vec<String>,
    /// Take the programs from this directory instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    #[command(flatten)]
    rig: rig::Options,
}

/// Runs the demo of the drivers asked for and writes the report.
///
/// # Errors
/// When something that the demo needs is missing. Failed checks end it with a failure status.
pub fn run(options: &Selection) -> Result<ExitCode> {
    let drivers = find(&options.drivers)?;
    let target = workspace::target()?;
    let rig = Rig::prepare(&options.rig, &target)?;
    // Before the guests run: the checkout may have moved on afterwards.
    let mut environment = Environment::new("Red Bear drivers: demo", &rig.qemu, options.programs.is_some());
    let subject = if options.linux { "Linux's own driver (a trial of the scenario)" } else { "our daemon" };
    environment.add("Under test", subject);
    environment.add("Guest kernel", &rig.kernel.version);
    let mut sections = Vec::new();
    for driver in drivers {
        println!("{}: {}", driver.name, driver.summary);
        let daemons = if options.linux { &[] } else { driver.daemons };
        let names = [daemons, driver.tools].concat();
        let programs = match &options.programs {
            Some(dir) => names.iter().map(|name| dir.join(name)).collect(),
            None => workspace::build(&names)?,
        };
        for plan in driver.plans {
            if !options.only.is_empty() && !options.only.iter().any(|name| name == plan.name) {
                continue;
            }
            println!("\n{} — guest {}", plan.title, plan.name);
            let started = Instant::now();
            let mut guest = (plan.build)(Guest::new(&rig, plan.name, plan.script)?)?;
            let subject = if options.linux { "linux" } else { driver.name };
            guest = guest.env("SUBJECT", subject);
            for program in &programs {
                guest = guest.program(program);
            }
            let result = guest.run(&mut print);
            sections.push(judge(driver.name, plan, options.linux, result, started.elapsed()));
        }
    }
    finish(&target.join("demo"), &environment, &sections)
}

/// Writes the report into a directory and says how it went.
///
/// # Errors
/// When the report cannot be written.
pub(crate) fn finish(directory: &Path, environment: &Environment, sections: &[Section]) -> Result<ExitCode> {
    let path = report::write(directory, environment, sections)?;
    let all = || sections.iter().flat_map(|section| &section.checks);
    let failed = all().filter(|check| !check.passed).count();
    println!("\n{} checks passed, {failed} failed", all().count().saturating_sub(failed));
    for check in all().filter(|check| !check.passed) {
        println!("FAIL  {}  {}", check.name, check.detail);
    }
    println!("report: {}", path.display());
    Ok(if failed == 0 && all().count() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots the first guest of a driver's demo with a shell on this terminal.
///
/// # Errors
/// When something is missing or QEMU fails.
pub fn interact(driver: &str, options: &rig::Options) -> Result<ExitCode> {
    let drivers = find(&[driver.to_owned()])?;
    let Some((driver, plan)) =
        drivers.first().and_then(|driver| driver.plans.first().map(|plan| (driver, plan)))
    else {
        return Ok(ExitCode::FAILURE);
    };
    let rig = Rig::prepare(options, &workspace::target()?)?;
    let name = format!("{}-interactive", driver.name);
    let mut guest = (plan.build)(Guest::new(&rig, &name, "interactive.sh")?)?;
    guest = guest.env("SUBJECT", driver.name);
    for program in workspace::build(&[driver.daemons, driver.tools].concat())? {
        guest = guest.program(&program);
    }
    println!("ctrl-a x ends QEMU, ctrl-a c is its monitor; leaving the shell powers the guest off");
    guest.interact()?;
    Ok(ExitCode::SUCCESS)
}

/// Puts together what a guest reported and what it should have reported.
///
/// With `peer` the scenario was tried on the peer's driver, which has not all that ours has.
pub(crate) fn judge(
    driver: &'static str,
    plan: &Plan,
    peer: bool,
    result: Result<Outcome>,
    elapsed: Duration,
) -> Section {
    let (outcome, error) = match result {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let mut checks = outcome.as_ref().map(|outcome| outcome.checks.clone()).unwrap_or_default();
    let missing = |detail: &str, name: &str| Check {
        name: name.to_owned(),
        passed: false,
        detail: detail.to_owned(),
        took: Duration::ZERO,
    };
    for expected in plan.checks.iter().filter(|expected| !(peer && expected.daemon_only)) {
        if !checks.iter().any(|check| check.name == expected.name) {
            checks.push(missing("not reported", expected.name));
        }
    }
    if let Some(error) = &error {
        println!("{error}");
        checks.push(missing(error.lines().next().unwrap_or(""), "the guest runs to its end"));
    }
    if let Some(outcome) = outcome.as_ref().filter(|outcome| outcome.status != 0) {
        let detail = format!("its script ended with status {}", outcome.status);
        checks.push(missing(&detail, "the guest runs to its end"));
    }
    let metrics = outcome
        .as_ref()
        .map(|outcome| outcome.metrics.iter().map(|metric| (metric.name.clone(), metric.clone())).collect())
        .unwrap_or_else(BTreeMap::new);
    Section {
        driver,
        title: plan.title,
        guest: plan.name,
        curves: plan.curves,
        checks,
        metrics,
        notes: outcome.as_ref().map(|outcome| outcome.notes.clone()).unwrap_or_default(),
        boot: outcome.as_ref().map_or(Duration::ZERO, |outcome| outcome.boot),
        elapsed,
        directory: outcome.map(|outcome| outcome.directory),
    }
}

/// Prints a message of a guest as it comes.
pub(crate) fn print(message: &Message) {
    match message {
        Message::Check(check) => {
            let word = if check.passed { "PASS" } else { "FAIL" };
            println!("{word}  {} ({:.1} s)  {}", check.name, check.took.as_secs_f64(), check.detail);
        }
        Message::Note(note) => println!("      {note}"),
        Message::Metric(metric) => println!("      {} = {} {}", metric.name, metric.value, metric.unit),
        Message::Ready | Message::Host { .. } | Message::Exit(_) | Message::Unknown(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{DRIVERS, always, ours};

    const PLAN: Plan = Plan {
        name: "p",
        title: "t",
        script: "s",
        build: |guest| Ok(guest),
        checks: &[always("one"), ours("two")],
        curves: &[],
    };

    fn outcome(names: &[&str], status: i32) -> Outcome {
        let checks = names
            .iter()
            .map(|name| Check {
                name: (*name).to_owned(),
                passed: true,
                detail: String::new(),
                took: Duration::ZERO,
            })
            .collect();
        Outcome { checks, status, ..Outcome::default() }
    }

    fn failures(linux: bool, result: Result<Outcome>) -> Vec<String> {
        let section = judge(DRIVERS[0].name, &PLAN, linux, result, Duration::ZERO);
        section.checks.iter().filter(|check| !check.passed).map(|check| check.name.clone()).collect()
    }

    #[test]
    fn what_is_not_reported_has_failed() {
        assert_eq!(failures(false, Ok(outcome(&["one"], 0))), ["two"]);
        assert!(failures(true, Ok(outcome(&["one"], 0))).is_empty());
        assert!(failures(false, Ok(outcome(&["one", "two"], 0))).is_empty());
    }

    #[test]
    fn a_guest_that_breaks_off_has_failed() {
        assert_eq!(failures(true, Ok(outcome(&["one"], 1))).len(), 1);
        assert_eq!(failures(false, Err(anyhow::anyhow!("silence"))).len(), 3);
    }

    #[test]
    fn plans_name_each_check_once_and_have_their_scripts() {
        let root = workspace::root().unwrap_or_default();
        for plan in DRIVERS.iter().flat_map(|driver| driver.plans) {
            let read = |name: &str| std::fs::read_to_string(root.join("xtask/guest").join(name));
            let script = read(plan.script);
            assert!(script.is_ok(), "{}", plan.script);
            // With what it takes in from other files.
            let mut text = script.unwrap_or_default();
            let sources: Vec<String> = text
                .lines()
                .filter_map(|line| line.strip_prefix(". /rig/guest/"))
                .map(str::to_owned)
                .collect();
            for source in sources {
                text += &read(&source).unwrap_or_default();
            }
            for expected in plan.checks {
                assert!(text.contains(&format!("\"{}\"", expected.name)), "{}", expected.name);
                let same = plan.checks.iter().filter(|other| other.name == expected.name).count();
                assert_eq!(same, 1, "{}", expected.name);
            }
        }
    }
}
