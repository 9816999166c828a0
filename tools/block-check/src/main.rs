//! Tries a block device of Linux from its clients' side. Its beginning is overwritten.
//!
//! The checks are those of `driver_block::testing::conformance` that a client can make: a line for each, and their number at
//! the end.

#![forbid(unsafe_code)]

mod bench;
mod data;
mod disk;
mod order;
mod ranges;
mod refusals;
mod sharing;

use std::{path::PathBuf, process::ExitCode};

use bench::Bench;
use clap::Parser;

/// Tries a block device of Linux from its clients' side. Its first 32 MiB are overwritten.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The block device
    disk: PathBuf,
    /// Make only the checks with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Succeed though a check was skipped because the disk has not what it tries
    #[arg(long)]
    may_skip: bool,
}

/// What a check that did not fail came to.
enum Outcome {
    /// It passed; something about it.
    Passed(String),
    /// The disk has not what it tries.
    Skipped(&'static str),
}

type Check = (&'static str, fn(&mut Bench) -> anyhow::Result<Outcome>);

const CHECKS: [Check; 13] = [
    ("what the kernel says of the disk fits together", refusals::geometry),
    ("reads and writes of every length", data::lengths),
    ("memory of every alignment", data::alignments),
    ("memory in pieces", data::pieces),
    ("what is longer than the largest request is split", data::long),
    ("random requests of several threads", data::threads),
    ("a write that is to be durable", order::durable_writes),
    ("flushes beside writes", order::flushes),
    ("discard", ranges::discard),
    ("zeroes are written", ranges::zeroes),
    ("requests that are not whole blocks are refused", refusals::unaligned),
    ("nothing is beyond the end", refusals::beyond_the_end),
    ("a client with many requests leaves one with few its turn", sharing::fair),
];

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut bench = Bench::new(&args.disk)?;
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for (name, check) in CHECKS {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        match check(&mut bench) {
            Ok(Outcome::Passed(detail)) => {
                println!("PASS  {name}: {detail}");
                passed += 1;
            }
            Ok(Outcome::Skipped(why)) => {
                println!("SKIP  {name}: {why}");
                skipped += 1;
            }
            Err(error) => {
                println!("FAIL  {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    let failures = failed.iter().map(|name| format!("; failed: {name}")).collect::<String>();
    println!("{passed} checks passed, {skipped} skipped, {} failed{failures}", failed.len());
    let complete = skipped == 0 || args.may_skip;
    Ok(if failed.is_empty() && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Args::command().debug_assert();
    }
}
