//! Serves a disk that does nothing as a Redox disk scheme.
//!
//! Writes are forgotten, reads give what happens to be in memory, everything completes at once. What is left is the cost
//! of the kernel, of the scheme's server, of the way to its driver and of the block layer: the floor below every storage
//! daemon's figures.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use common::{args::LogArgs, daemon::Readiness, logger::Logging};

/// Serves a disk that does nothing, as `/scheme/disk.null/1`. For Redox; on Linux there is null-ublk.
#[derive(Debug, Parser)]
#[command(name = "null-disk", version)]
struct Args {
    /// Size of the disk in MiB
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    size: u64,
    /// How many queues, and threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: u16,
    #[command(flatten)]
    log: LogArgs,
}

fn main() -> ExitCode {
    common::exit(run(&Args::parse()))
}

#[cfg(target_os = "redox")]
fn run(args: &Args) -> anyhow::Result<()> {
    use driver_block::{
        daemon::run_without_device,
        testing::{NullDisk, plain_disk},
    };

    Logging::new("disk", "null", "disk.null").level(args.log.log_level).init()?;
    let readiness = Readiness::from_env()?;
    let (blocks, queues) = (args.size << 11, args.queues);
    run_without_device("null", queues, readiness, || NullDisk::new(vec![plain_disk(1, blocks)], queues, 256))
}

#[cfg(not(target_os = "redox"))]
fn run(args: &Args) -> anyhow::Result<()> {
    Logging::new("disk", "null", "disk.null").level(args.log.log_level).init()?;
    drop(Readiness::from_env()?);
    anyhow::bail!("a disk scheme of {} MiB in {} queues can be served on Redox only", args.size, args.queues)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Args::command().debug_assert();
    }
}
