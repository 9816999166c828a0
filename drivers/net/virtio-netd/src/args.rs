//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::args::DaemonArgs;
use driver_network::{MacAddress, daemon::NetArgs};
use redox_driver_sys::irq::InterruptKind;
use virtio_netd::{Options, RING};

/// virtio network device driver daemon.
///
/// Takes a virtio network device over and serves it: on Linux as a network interface (the device has to be bound to vfio-pci;
/// pcid-spawner does that), on Redox as the scheme network.pci-…_virtio_net.
#[derive(Debug, Parser)]
#[command(name = "virtio-netd", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Task>,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) net: NetArgs,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Print what a device tells of itself: features, address, link; and what its daemon has counted, if one is serving it.
    Inspect(DaemonArgs),
}

/// How the device is driven.
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    /// The station's address, instead of the device's own.
    #[arg(long, value_name = "ADDRESS")]
    mac: Option<MacAddress>,
    /// The best kind of interrupt to use.
    #[arg(long, value_enum, default_value_t = Interrupts::Msix)]
    interrupts: Interrupts,
    /// Most pairs of queues [default: one per CPU].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    queues: Option<u16>,
    /// Entries of each transmit ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    tx_ring: u16,
    /// Entries of each receive ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    rx_ring: u16,
    /// Most bytes of a frame's payload to begin with.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..=16_110))]
    mtu: u16,
    /// Split rings even where the device has packed ones.
    #[arg(long)]
    no_packed: bool,
    /// No indirect descriptors even where the device takes them.
    #[arg(long)]
    no_indirect: bool,
    /// No notifications by index even where the device has them.
    #[arg(long)]
    no_event_idx: bool,
    /// One receive buffer for each packet even where the device can use several.
    #[arg(long)]
    no_mergeable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interrupts {
    Msix,
    Intx,
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            address: self.mac,
            interrupts: match self.interrupts {
                Interrupts::Msix => InterruptKind::MsiX,
                Interrupts::Intx => InterruptKind::Intx,
            },
            queues: self.queues.unwrap_or(defaults.queues),
            tx_ring: self.tx_ring,
            rx_ring: self.rx_ring,
            mtu: self.mtu,
            packed: !self.no_packed,
            indirect: !self.no_indirect,
            event_idx: !self.no_event_idx,
            mergeable: !self.no_mergeable,
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
        let cli = Cli::try_parse_from(["virtio-netd", "--device", "0000:00:04.0"]).unwrap();
        let (ours, theirs) = (cli.tuning.options(), Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn senseless_values_are_refused() {
        for arguments in [
            ["--tx-ring", "15"],
            ["--rx-ring", "4097"],
            ["--queues", "0"],
            ["--mtu", "67"],
            ["--interrupts", "msi"],
            ["--mac", "52:54:00"],
        ] {
            let line = ["virtio-netd"].into_iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
