//! The command line.

use clap::{Args, Parser, Subcommand};
use common::args::DaemonArgs;
use driver_network::{
    WakeOn,
    args::{EthernetArgs, wake_on},
    daemon::NetArgs,
};
use e1000d::{Options, RING, WAKE_ON};

/// Driver daemon for Intel's gigabit Ethernet controllers.
///
/// Takes an 82540EM, 82544, 82545EM or 82574L over and serves it: on Linux as a network interface (the device has to be bound to
/// vfio-pci; pcid-spawner does that), on Redox as the scheme network.pci-…_e1000.
#[derive(Debug, Parser)]
#[command(name = "e1000d", version)]
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
    /// Print what a device tells of itself: chip, address, PHY, link, counters; and what its daemon has counted, if one is serving it.
    Inspect(DaemonArgs),
}

/// How the device is driven.
#[derive(Debug, Args)]
pub(crate) struct Tuning {
    #[command(flatten)]
    ethernet: EthernetArgs,
    /// Most pairs of queues (82574 with MSI-X: 2).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=2))]
    queues: u16,
    /// Entries of each transmit ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    tx_ring: u16,
    /// Entries of each receive ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    rx_ring: u16,
    /// Most bytes of a frame's payload to begin with.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..=16_106))]
    mtu: u16,
    /// What wakes the machine up after the daemon's end, as ethtool has it: letters of p, u, m, b, a, g.
    #[arg(long, value_name = "LETTERS", default_value = "", value_parser = |letters: &str| wake_on(letters, WAKE_ON))]
    wake_on: WakeOn,
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        Options {
            address: self.ethernet.address(),
            interrupts: self.ethernet.interrupts(),
            throttling: self.ethernet.throttling(),
            link: self.ethernet.link(),
            queues: self.queues,
            tx_ring: self.tx_ring,
            rx_ring: self.rx_ring,
            mtu: self.mtu,
            ..Options::default()
        }
    }

    pub(crate) fn wake_on(&self) -> WakeOn {
        self.wake_on
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use clap::CommandFactory;
    use common::{
        itr::Throttling,
        phy::{FlowControl, Modes, Wish},
    };

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["e1000d"], arguments].concat())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let cli = parse(&["--device", "0000:00:04.0"]).unwrap();
        let (ours, theirs) = (cli.tuning.options(), Options::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert!(cli.tuning.wake_on().is_empty());
    }

    #[test]
    fn values_mean_what_they_say() {
        let cli = parse(&["--link", "100-half", "--itr", "8000", "--wake-on", "pg"]).unwrap();
        let options = cli.tuning.options();
        assert_eq!(options.link, Wish::Force(Modes::T100_HALF));
        assert_eq!(options.throttling, Throttling::Fixed(NonZeroU32::new(8000).unwrap()));
        assert_eq!(cli.tuning.wake_on(), WakeOn::PHY | WakeOn::MAGIC);
        let gigabit = parse(&["--link", "1000-full", "--no-flow-control"]).unwrap().tuning.options().link;
        let flow_control = FlowControl { receive: false, transmit: false };
        assert_eq!(gigabit, Wish::Negotiate { modes: Modes::T1000_FULL, flow_control });
    }

    #[test]
    fn senseless_values_are_refused() {
        for arguments in [
            ["--tx-ring", "63"],
            ["--rx-ring", "4097"],
            ["--queues", "3"],
            ["--mtu", "67"],
            ["--itr", "0"],
            ["--link", "1000"],
            ["--link", "99-full"],
            ["--wake-on", "x"],
            ["--mac", "52:54:00"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }
}
