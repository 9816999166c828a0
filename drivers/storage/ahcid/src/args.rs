//! The command line.

use std::time::Duration;

use ahcid::{Coalescing, LinkPower, Options};
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::args::{DaemonArgs, Interrupts};

/// AHCI driver daemon.
///
/// Takes an AHCI controller over and serves its SATA disks and CD drives: on Linux as /dev/ublkb… (the controller has to
/// be bound to vfio-pci; pcid-spawner does that), on Redox as the scheme disk.pci-…_ahci.
#[derive(Debug, Parser)]
#[command(name = "ahcid", version)]
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
    /// Print what a controller and its devices tell of themselves: identity, health; and what its daemon has counted, if
    /// one is serving it.
    Inspect(DaemonArgs),
}

/// How the controller is driven.
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    /// Most commands in flight per port.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=32))]
    queue_depth: u8,
    /// Do without native command queuing.
    #[arg(long)]
    no_ncq: bool,
    /// Look for completions without waiting for interrupts. Costs a CPU while there is I/O.
    #[arg(long)]
    polled: bool,
    /// The best kind of interrupt to use.
    #[arg(long, value_enum, default_value_t = Interrupts::Msix)]
    interrupts: Interrupts,
    /// Seconds that a command may take before its port is recovered.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Completions to gather before an interrupt, 1 to 255, where the controller can. Needs --coalesce-delay.
    #[arg(long, value_name = "COUNT", requires = "coalesce_delay", value_parser = clap::value_parser!(u8).range(1..))]
    coalesce: Option<u8>,
    /// Milliseconds after which an interrupt is sent all the same.
    #[arg(long, value_name = "MILLISECONDS", requires = "coalesce", value_parser = clap::value_parser!(u16).range(1..))]
    coalesce_delay: Option<u16>,
    /// What links do while there is nothing to do.
    #[arg(long, value_enum, default_value_t = LinkPolicy::MaxPerformance)]
    link_power: LinkPolicy,
    /// Put disks into standby at the end.
    #[arg(long)]
    standby: bool,
    /// Leave the disks, with whoever uses them waiting, to the next daemon when this one is told to end.
    #[arg(long)]
    pub(crate) keep_disks: bool,
}

/// The names are those of Linux's link_power_management_policy where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LinkPolicy {
    /// Stay awake
    MaxPerformance,
    /// Partial
    MediumPower,
    /// Slumber
    MinPower,
    /// Slumber, and device sleep where controller and disk have it
    DeviceSleep,
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        let coalescing = self
            .coalesce
            .zip(self.coalesce_delay)
            .map(|(completions, delay_ms)| Coalescing { completions, delay_ms });
        Options {
            queue_depth: self.queue_depth,
            ncq: !self.no_ncq,
            polled: self.polled,
            interrupts: self.interrupts.into(),
            command_timeout: Duration::from_secs(self.timeout),
            coalescing,
            link_power: match self.link_power {
                LinkPolicy::MaxPerformance => LinkPower::MaxPerformance,
                LinkPolicy::MediumPower => LinkPower::MediumPower,
                LinkPolicy::MinPower => LinkPower::MinPower,
                LinkPolicy::DeviceSleep => LinkPower::DeviceSleep,
            },
            standby: self.standby,
            ..Options::default()
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
        let cli = Cli::try_parse_from(["ahcid", "--device", "0000:00:04.0"]).unwrap();
        let (ours, theirs) = (cli.tuning.options(), Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn senseless_values_are_refused() {
        for arguments in [
            ["--queue-depth", "0"],
            ["--queue-depth", "33"],
            ["--coalesce", "8"],
            ["--coalesce-delay", "1"],
            ["--timeout", "0"],
            ["--link-power", "none"],
        ] {
            let line = ["ahcid"].into_iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
