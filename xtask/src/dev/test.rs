//! `cargo xtask test`: all tests of the workspace, and how many there were.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::find_program;
use crate::workspace;

/// How many tests there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed, timed out or could not be run.
    pub failed: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs the tests of the whole workspace. With `quick` the long property and fault runs are
/// shortened: tests see `RB_QUICK=1`.
///
/// # Errors
/// When the tests cannot be built or run. Failed tests are in the counts.
pub fn run(quick: bool) -> Result<Counts> {
    let mut counts = Counts::default();
    let nextest = find_program("cargo-nextest").is_some();
    let mut command = workspace::cargo()?;
    if nextest {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    watch(&mut command, quick, &mut counts)?;
    let documented: Vec<String> = workspace::packages()?
        .into_iter()
        .filter(workspace::Package::has_doc_tests)
        .map(|package| package.name)
        .collect();
    if !documented.is_empty() {
        let mut command = workspace::cargo()?;
        command.args(["test", "--doc", "--no-fail-fast"]);
        command.args(documented.iter().flat_map(|name| ["-p", name]));
        watch(&mut command, quick, &mut counts)?;
    }
    Ok(counts)
}

/// Shows what a test command says and counts what it reports. A command that fails without
/// reporting a failed test counts as one failure.
fn watch(command: &mut Command, quick: bool, counts: &mut Counts) -> Result<()> {
    if quick {
        command.env("RB_QUICK", "1");
    }
    // nextest reports on stderr, cargo's own harness on stdout: both go into one pipe.
    let (reader, writer) = std::io::pipe().context("cannot create a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null());
    let mut child = command.spawn().context("cannot start cargo")?;
    // The command holds the writing ends until it is replaced; the pipe would never end.
    *command = Command::new("true");
    let before = *counts;
    for line in BufReader::new(reader).lines() {
        let line = line.context("cannot read what cargo says")?;
        println!("{line}");
        if let Some(found) = parse(&line) {
            counts.passed = counts.passed.saturating_add(found.passed);
            counts.failed = counts.failed.saturating_add(found.failed);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && counts.failed == before.failed {
        counts.failed = counts.failed.saturating_add(1);
    }
    Ok(())
}

/// The counts in a summary line of nextest or of the standard harness.
fn parse(line: &str) -> Option<Counts> {
    let line = line.trim();
    let summary = line.strip_prefix("Summary [").or_else(|| line.strip_prefix("test result:"))?;
    let mut counts = Counts::default();
    let words: Vec<&str> =
        summary.split([' ', ',', ';', '.', ':', '(']).filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        let [number, kind] = pair else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match *kind {
            "passed" => counts.passed = counts.passed.saturating_add(number),
            "failed" | "timed" | "exec" => counts.failed = counts.failed.saturating_add(number),
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_harnesses() {
        let nextest =
            "     Summary [   0.041s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(parse(nextest), Some(Counts { passed: 9, failed: 3 }));
        let libtest = "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!(parse(libtest), Some(Counts { passed: 5, failed: 1 }));
        assert_eq!(parse("12 passed, 1 failed"), None);
    }

    #[test]
    fn a_command_that_breaks_down_is_a_failure() {
        let mut counts = Counts::default();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test result: ok. 3 passed; 0 failed'; exit 101"]);
        assert!(watch(&mut command, false, &mut counts).is_ok());
        assert_eq!(counts, Counts { passed: 3, failed: 1 });
    }

    #[test]
    fn quick_is_seen_by_tests() {
        let mut counts = Counts::default();
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"test result: ok. $RB_QUICK passed; 0 failed\""]);
        assert!(watch(&mut command, true, &mut counts).is_ok());
        assert_eq!(counts, Counts { passed: 1, failed: 0 });
    }
}
