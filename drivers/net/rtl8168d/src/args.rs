//! The command line.

use std::{num::NonZeroU32, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::{
    args::DaemonArgs,
    itr::Throttling,
    phy::{Duplex, FlowControl, Modes, Wish},
};
use driver_network::{MacAddress, WakeOn, daemon::NetArgs};
use redox_driver_sys::irq::InterruptKind;
use rtl8168d::{Options, RING};

/// Driver daemon for Realtek's gigabit Ethernet controllers.
///
/// Takes an RTL8168 or RTL8111 of the versions B to H over and serves it: on Linux as a network interface (the device has to be bound to
/// vfio-pci; pcid-spawner does that), on Redox as the scheme network.pci-…_rtl8168.
#[derive(Debug, Parser)]
#[command(name = "rtl8168d", version)]
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
    /// The station's address, instead of the one that is stored.
    #[arg(long, value_name = "ADDRESS")]
    mac: Option<MacAddress>,
    /// The best kind of interrupt to use.
    #[arg(long, value_enum, default_value_t = Interrupts::Msix)]
    interrupts: Interrupts,
    /// How often the device may interrupt: adaptive, off (as often as it likes), or a number per second.
    #[arg(long, value_name = "RATE", default_value = "adaptive")]
    itr: Rate,
    /// How the link comes about: auto, or a mode such as 1000-full or 100-half. Modes of 10 and 100 Mb/s are forced.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    link: LinkMode,
    /// Neither send nor obey pause frames.
    #[arg(long)]
    no_flow_control: bool,
    /// Entries of the transmit ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    tx_ring: u16,
    /// Entries of the receive ring.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(i64::from(*RING.start())..=i64::from(*RING.end())))]
    rx_ring: u16,
    /// Most bytes of a frame's payload to begin with. With more than 1500 the device puts no checksums in and cuts no packets; with at most
    /// 1500 it takes no more later.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..=9194))]
    mtu: u16,
    /// What wakes the machine up after the daemon's end, as ethtool has it: letters of p, u, m, b, g.
    #[arg(long, value_name = "LETTERS", default_value = "")]
    wake_on: Wake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interrupts {
    Msix,
    Msi,
    Intx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(Throttling);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "adaptive" => Ok(Rate(Throttling::Adaptive)),
            "off" => Ok(Rate(Throttling::Off)),
            _ => match text.parse() {
                Ok(rate) => Ok(Rate(Throttling::Fixed(rate))),
                Err(_) => Err("neither adaptive, off nor interrupts per second"),
            },
        }
    }
}

/// `None`: whatever is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkMode(Option<Modes>);

impl FromStr for LinkMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "neither auto nor a mode such as 100-full";
        if text == "auto" {
            return Ok(LinkMode(None));
        }
        let (speed, duplex) = text.split_once('-').ok_or(WRONG)?;
        let duplex = match duplex {
            "full" => Duplex::Full,
            "half" => Duplex::Half,
            _ => return Err(WRONG),
        };
        let speed: NonZeroU32 = speed.parse().map_err(|_| WRONG)?;
        Modes::of(speed.get(), duplex).map(|mode| LinkMode(Some(mode))).ok_or(WRONG)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wake(WakeOn);

impl FromStr for Wake {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letter = |letter| match letter {
            'p' => Ok(WakeOn::PHY),
            'u' => Ok(WakeOn::UNICAST),
            'm' => Ok(WakeOn::MULTICAST),
            'b' => Ok(WakeOn::BROADCAST),
            'g' => Ok(WakeOn::MAGIC),
            _ => Err("a letter other than p, u, m, b, g"),
        };
        text.chars().map(letter).collect::<Result<WakeOn, _>>().map(Wake)
    }
}

impl Tuning {
    pub(crate) fn options(&self) -> Options {
        let pause = !self.no_flow_control;
        let flow_control = FlowControl { receive: pause, transmit: pause };
        let gigabit = Modes::T1000_FULL | Modes::T1000_HALF;
        let link = match self.link.0 {
            None => Wish::Negotiate { modes: Modes::all(), flow_control },
            // 1000BASE-T has to be negotiated.
            Some(modes) if gigabit.contains(modes) => Wish::Negotiate { modes, flow_control },
            Some(mode) => Wish::Force(mode),
        };
        Options {
            address: self.mac,
            interrupts: match self.interrupts {
                Interrupts::Msix => InterruptKind::MsiX,
                Interrupts::Msi => InterruptKind::Msi,
                Interrupts::Intx => InterruptKind::Intx,
            },
            throttling: self.itr.0,
            link,
            tx_ring: self.tx_ring,
            rx_ring: self.rx_ring,
            mtu: self.mtu,
            ..Options::default()
        }
    }

    pub(crate) fn wake_on(&self) -> WakeOn {
        self.wake_on.0
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["rtl8168d"], arguments].concat())
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
            ["--rx-ring", "1025"],
            ["--mtu", "67"],
            ["--itr", "0"],
            ["--link", "1000"],
            ["--link", "99-full"],
            ["--wake-on", "a"],
            ["--mac", "52:54:00"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }
}
