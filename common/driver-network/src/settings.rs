//! What of a device can be chosen, and what is told about its link.

use std::fmt;

use bitflags::bitflags;
use common::phy::Negotiated;
pub use common::phy::{Duplex, FlowControl};

use crate::{
    address::MacAddress,
    device::{Capabilities, NetEvent},
    error::NetError,
};

bitflags! {
    /// Work that a device takes off the system (Linux: `ethtool -k`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
        /// Put transport checksums into packets that are sent (`tx-checksumming`).
        const TX_CHECKSUM = 1 << 0;
        /// Cut IPv4 TCP packets (`tx-tcp-segmentation`).
        const TSO4 = 1 << 1;
        /// Cut IPv6 TCP packets (`tx-tcp6-segmentation`).
        const TSO6 = 1 << 2;
        /// Insert 802.1Q tags (`tx-vlan-hw-insert`).
        const TX_VLAN = 1 << 3;
        /// Check checksums of received packets (`rx-checksumming`).
        const RX_CHECKSUM = 1 << 4;
        /// Take 802.1Q tags out of received packets (`rx-vlan-hw-parse`).
        const RX_VLAN = 1 << 5;
        /// Choose the receive queue by a hash (`rx-hashing`).
        const RX_HASH = 1 << 6;
        /// Put received TCP packets together (`rx-lro`, `rx-gro-hw`).
        const RX_LRO = 1 << 7;
    }
}

bitflags! {
    /// What wakes the machine up (Linux: `ethtool -s … wol`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct WakeOn: u8 {
        /// The link changes.
        const PHY = 1 << 0;
        /// A frame to the own address.
        const UNICAST = 1 << 1;
        /// A frame to a group.
        const MULTICAST = 1 << 2;
        /// A frame to everybody.
        const BROADCAST = 1 << 3;
        /// ARP for the own address.
        const ARP = 1 << 4;
        /// A magic packet.
        const MAGIC = 1 << 5;
    }
}

/// Which frames the device receives, beside those to its own address and to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// All frames.
    pub promiscuous: bool,
    /// All frames to groups.
    pub all_multicast: bool,
    /// Further addresses of this station.
    pub unicast: Vec<MacAddress>,
    /// Groups. A device that filters by a hash lets others through as well.
    pub multicast: Vec<MacAddress>,
}

/// The state of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// No carrier.
    #[default]
    Down,
    /// Frames go through.
    Up {
        /// Megabits per second; `None`: the device does not say.
        speed: Option<u32>,
        /// Both ways at once or not.
        duplex: Duplex,
        /// What was agreed on.
        flow_control: FlowControl,
    },
}

impl Link {
    /// Whether frames go through.
    pub const fn is_up(self) -> bool {
        matches!(self, Link::Up { .. })
    }

    /// What there is to tell when the link has become `next`, and may have been `dropped` in between: nothing, or one or two changes.
    pub fn changes(self, next: Link, dropped: bool) -> impl Iterator<Item = NetEvent> {
        let again = dropped && next.is_up();
        let changed = self != next || again;
        let fell = changed && self.is_up() && next.is_up();
        let events = [fell.then_some(Link::Down), changed.then_some(next)];
        events.into_iter().flatten().map(NetEvent::LinkChanged)
    }
}

impl From<Option<Negotiated>> for Link {
    /// As the PHY has it.
    fn from(link: Option<Negotiated>) -> Self {
        link.map_or(Link::Down, |Negotiated { speed, duplex, flow_control, .. }| Link::Up {
            speed: Some(speed),
            duplex,
            flow_control,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link::Up { speed, duplex, flow_control } = self else { return f.write_str("down") };
        f.write_str("up")?;
        if let Some(speed) = speed {
            write!(f, ", {speed} Mb/s")?;
        }
        f.write_str(match duplex {
            Duplex::Half => ", half duplex",
            Duplex::Full => ", full duplex",
        })?;
        f.write_str(match (flow_control.receive, flow_control.transmit) {
            (false, false) => "",
            (true, false) => ", flow control rx",
            (false, true) => ", flow control tx",
            (true, true) => ", flow control rx/tx",
        })
    }
}

/// What can be changed while queues are running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The station's address.
    pub address: MacAddress,
    /// What is received.
    pub filter: Filter,
    /// The active ones; within [`Capabilities::features`](crate::Capabilities::features).
    pub features: Features,
}

impl Settings {
    /// Whether a device can be set so.
    ///
    /// # Errors
    /// [`NetError::Unsupported`] for features that it does not have, [`NetError::Invalid`] for an address that is no station's.
    pub fn check(&self, capabilities: &Capabilities) -> Result<(), NetError> {
        if !capabilities.features.contains(self.features) {
            return Err(NetError::Unsupported);
        }
        if !self.address.is_station() {
            return Err(NetError::Invalid);
        }
        Ok(())
    }
}

/// What can only be changed by a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Most bytes of a frame's payload (after Ethernet header and VLAN tag); within
    /// [`Capabilities::mtu`](crate::Capabilities::mtu).
    pub mtu: u16,
    /// Entries of each transmit ring; the device may round.
    pub tx_ring: u16,
    /// Entries of each receive ring; the device may round.
    pub rx_ring: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_came_again_was_down_in_between() {
        let up = |speed| Link::Up {
            speed: Some(speed),
            duplex: Duplex::Full,
            flow_control: FlowControl::default(),
        };
        let told = |from: Link, to, dropped| -> Vec<Link> {
            let link = |event| match event {
                NetEvent::LinkChanged(link) => link,
                other => panic!("{other:?}"),
            };
            from.changes(to, dropped).map(link).collect()
        };
        assert_eq!(told(up(100), up(100), false), []);
        assert_eq!(told(up(100), up(100), true), [Link::Down, up(100)]);
        assert_eq!(told(up(100), up(1000), false), [Link::Down, up(1000)]);
        assert_eq!(told(up(100), Link::Down, true), [Link::Down]);
        assert_eq!(told(Link::Down, up(100), true), [up(100)]);
        assert_eq!(told(Link::Down, Link::Down, true), []);
    }
}
