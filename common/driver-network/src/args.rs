//! Arguments of daemons whose devices have a PHY of their own.

use std::{num::NonZeroU32, str::FromStr};

use common::{
    itr::Throttling,
    phy::{Duplex, FlowControl, Modes, Wish},
};
use redox_driver_sys::irq::InterruptKind;

use crate::{address::MacAddress, settings::WakeOn};

/// How an Ethernet controller is driven, for `#[command(flatten)]`.
#[derive(Debug, clap::Args)]
pub struct EthernetArgs {
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
}

impl EthernetArgs {
    /// The address to have, if it is not that of the device.
    pub fn address(&self) -> Option<MacAddress> {
        self.mac
    }

    /// The best kind of interrupt to use.
    pub fn interrupts(&self) -> InterruptKind {
        match self.interrupts {
            Interrupts::Msix => InterruptKind::MsiX,
            Interrupts::Msi => InterruptKind::Msi,
            Interrupts::Intx => InterruptKind::Intx,
        }
    }

    /// How often the device may interrupt.
    pub fn throttling(&self) -> Throttling {
        self.itr.0
    }

    /// What the PHY is to agree on, or to do.
    pub fn link(&self) -> Wish {
        let pause = !self.no_flow_control;
        let flow_control = FlowControl { receive: pause, transmit: pause };
        let gigabit = Modes::T1000_FULL | Modes::T1000_HALF;
        match self.link.0 {
            None => Wish::Negotiate { modes: Modes::all(), flow_control },
            // 1000BASE-T has to be negotiated.
            Some(modes) if gigabit.contains(modes) => Wish::Negotiate { modes, flow_control },
            Some(mode) => Wish::Force(mode),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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

/// Letters of what wakes the machine up, as ethtool has them, of a device that is `able` to do that.
///
/// # Errors
/// A sentence about the first letter that is none of them.
pub fn wake_on(letters: &str, able: WakeOn) -> Result<WakeOn, String> {
    const ALL: [(char, WakeOn); 6] = [
        ('p', WakeOn::PHY),
        ('u', WakeOn::UNICAST),
        ('m', WakeOn::MULTICAST),
        ('b', WakeOn::BROADCAST),
        ('a', WakeOn::ARP),
        ('g', WakeOn::MAGIC),
    ];
    let known = || ALL.into_iter().filter(|(_, event)| able.contains(*event));
    let find = |letter| {
        let found = known().find(|(known, _)| *known == letter).map(|(_, event)| event);
        found.ok_or_else(|| {
            let known: Vec<String> = known().map(|(known, _)| known.to_string()).collect();
            format!("{letter} is none of {}", known.join(", "))
        })
    };
    letters.chars().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_what_the_device_can() {
        assert_eq!(wake_on("pg", WakeOn::all()), Ok(WakeOn::PHY | WakeOn::MAGIC));
        assert_eq!(wake_on("", WakeOn::empty()), Ok(WakeOn::empty()));
        let error = wake_on("ga", WakeOn::MAGIC | WakeOn::PHY).unwrap_err();
        assert_eq!(error, "a is none of p, g");
    }
}
