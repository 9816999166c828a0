//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::args::DaemonArgs;
use redox_driver_sys::irq::InterruptKind;

use virtio_blkd::{MAX_DEPTH, Options};

/// virtio block device driver daemon.
///
/// Takes a virtio block device over and serves it: on Linux as /dev/ublkb… (the device has to be bound to vfio-pci;
/// pcid-spawner does that), on Redox as the scheme disk.pci-…_virtio_blk.
#[derive(Debug, Parser)]
#[command(name = "virtio-blkd", version)]
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
    /// Print what a device tells of itself: features, serial number, wear; and what its daemon has counted, if one is serving it.
    Inspect(DaemonArgs),
}

/// How the device is driven.
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    /// Most queues [default: one per CPU].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    queues: Option<u16>,
    /// Most requests in flight per queue.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_DEPTH)))]
    queue_depth: u16,
    /// Look for completions without waiting for interrupts. Costs a CPU per queue while there is I/O.
    #[arg(long)]
    polled: bool,
    /// The best kind of interrupt to use.
    #[arg(long, value_enum, default_value_t = Interrupts::Msix)]
    interrupts: Interrupts,
    /// Split rings even where the device has packed ones.
    #[arg(long)]
    no_packed: bool,
    /// No indirect descriptors even where the device takes them.
    #[arg(long)]
    no_indirect: bool,
    /// No notifications by index even where the device has them.
    #[arg(long)]
    no_event_idx: bool,
    /// Have the device answer in order where it can.
    #[arg(long)]
    in_order: bool,
    /// Whether writes may stay in the device's cache until a flush [default: as the device has it].
    #[arg(long, value_enum)]
    write_cache: Option<Switch>,
    /// Seconds that a request may take before the device is reset.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Leave the disk, with whoever uses it waiting, to the next daemon when this one is told to end.
    #[arg(long)]
    pub(crate) keep_disks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interrupts {
    Msix,
    Intx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            queues: self.queues.unwrap_or(defaults.queues),
            queue_depth: self.queue_depth,
            polled: self.polled,
            interrupts: match self.interrupts {
                Interrupts::Msix => InterruptKind::MsiX,
                Interrupts::Intx => InterruptKind::Intx,
            },
            packed: !self.no_packed,
            indirect: !self.no_indirect,
            event_idx: !self.no_event_idx,
            in_order: self.in_order,
            write_cache: self.write_cache.map(|switch| switch == Switch::On),
            command_timeout: Duration::from_secs(self.timeout),
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
        let cli = Cli::try_parse_from(["virtio-blkd", "--device", "0000:00:04.0"]).unwrap();
        let (ours, theirs) = (cli.tuning.options(), Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn senseless_values_are_refused() {
        for arguments in [
            ["--queue-depth", "0"],
            ["--queue-depth", "1025"],
            ["--queues", "0"],
            ["--timeout", "0"],
            ["--interrupts", "msi"],
            ["--write-cache", "maybe"],
        ] {
            let line = ["virtio-blkd"].into_iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
