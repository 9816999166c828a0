//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use common::args::{DaemonArgs, Interrupts};

use nvmed::{Coalescing, MAX_DEPTH, Options};

/// NVM Express driver daemon.
///
/// Takes an NVMe controller over and serves its namespaces: on Linux as /dev/ublkb… (the controller has to be bound to
/// vfio-pci; pcid-spawner does that), on Redox as the scheme disk.pci-…-nvme.
#[derive(Debug, Parser)]
#[command(name = "nvmed", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Task>,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Print what a controller tells of itself: identity, health, namespaces; and what its daemon has counted, if one is
    /// serving it.
    Inspect(DaemonArgs),
    /// Print the partitions of a controller's namespaces, as nvmed reads their tables. The controller must not be in use.
    Partitions(DaemonArgs),
}

/// How the controller is driven.
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    /// Most I/O queues [default: one per CPU].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    queues: Option<u16>,
    /// Most commands in flight per queue.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..i64::from(MAX_DEPTH)))]
    queue_depth: u16,
    /// Look for completions without waiting for interrupts. Costs a CPU per queue while there is I/O.
    #[arg(long)]
    polled: bool,
    /// The best kind of interrupt to use.
    #[arg(long, value_enum, default_value_t = Interrupts::Msix)]
    interrupts: Interrupts,
    /// Describe data by PRP lists even where the controller has scatter gather lists.
    #[arg(long)]
    no_sgl: bool,
    /// Seconds that a command may take before it is aborted.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Completions to gather before an interrupt, 1 to 256. Needs --coalesce-delay.
    #[arg(long, value_name = "COUNT", requires = "coalesce_delay", value_parser = clap::value_parser!(u16).range(1..=256))]
    coalesce: Option<u16>,
    /// Microseconds after which an interrupt is sent all the same, in steps of 100.
    #[arg(long, value_name = "MICROSECONDS", requires = "coalesce", value_parser = clap::value_parser!(u64).range(100..=25500))]
    coalesce_delay: Option<u64>,
    /// Milliseconds that the controller may take to wake up from a power state of its own choice; 0 keeps it awake.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100)]
    power_latency: u64,
    /// Leave the disks, with whoever uses them waiting, to the next daemon when this one is told to end.
    #[arg(long)]
    pub(crate) keep_disks: bool,
    /// MiB to lend to a controller that wants a host memory buffer; 0 for none.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u64).range(0..=4096))]
    host_memory: u64,
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        let defaults = Options::default();
        let coalescing = self
            .coalesce
            .zip(self.coalesce_delay)
            .map(|(completions, delay)| Coalescing { completions, delay: Duration::from_micros(delay) });
        Options {
            queues: self.queues.unwrap_or(defaults.queues),
            queue_depth: self.queue_depth,
            polled: self.polled,
            interrupts: self.interrupts.into(),
            sgl: !self.no_sgl,
            command_timeout: Duration::from_secs(self.timeout),
            coalescing,
            power_latency: (self.power_latency > 0).then(|| Duration::from_millis(self.power_latency)),
            host_memory: self.host_memory << 20,
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let cli = Cli::try_parse_from(["nvmed", "--device", "0000:00:04.0"]).unwrap();
        let (ours, theirs) = (cli.tuning.options(), Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn senseless_values_are_refused() {
        for arguments in [
            ["--queue-depth", "0"],
            ["--queue-depth", "1024"],
            ["--queues", "0"],
            ["--coalesce", "8"],
            ["--coalesce-delay", "100"],
            ["--timeout", "0"],
            ["--interrupts", "smoke-signal"],
        ] {
            let line = ["nvmed"].into_iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
