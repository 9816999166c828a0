//! Measures a disk scheme from its clients' side, inside a Redox guest of the rig: fixed work, between marks that
//! `tools/tcg-count` sees.

#![forbid(unsafe_code)]

mod job;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use redox_guest::console::Console;
use redox_guest::disk::DiskScheme;

use job::Job;

/// Measures a disk scheme from its clients' side. Results go to the serial console.
#[derive(Debug, Parser)]
#[command(name = "redox-bench", version)]
struct Cli {
    /// The disk's scheme
    #[arg(long, default_value = "disk.pci-0000-00-05.0-nvme")]
    scheme: String,
    /// The disk
    #[arg(long, default_value = "1")]
    node: String,
    /// Work, as LABEL:PATTERN:SIZE:THREADS:COUNT, where PATTERN is seqread or randread, SIZE the bytes of an operation,
    /// COUNT the operations of all threads together
    #[arg(required = true)]
    jobs: Vec<Job>,
}

/// Longest time of one job.
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let Cli { scheme, node, jobs } = Cli::parse();
    let console = Console::open(false);
    std::thread::scope(|scope| {
        scope.spawn(|| console.watch(LIMIT));
        let scheme = DiskScheme { name: scheme, node };
        let mut good = true;
        for job in jobs {
            good &= console.check(&job.to_string(), || {
                let disk = scheme.open_whole()?;
                let bytes = disk.metadata().context("the disk's size")?.len();
                let took = job.run(&disk, bytes)?;
                console.metric(&format!("{}.seconds", job.label), took.as_secs_f64(), "s");
                console.metric(&format!("{}.operations", job.label), job.count as f64, "");
                Ok(format!("{:.3} s", took.as_secs_f64()))
            });
        }
        console.end(i32::from(!good))
    });
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
