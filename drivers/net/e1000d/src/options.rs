//! What can be chosen about a device.

use std::{ops::RangeInclusive, time::Duration};

use common::{itr::Throttling, phy::Wish};
use driver_network::MacAddress;
use redox_driver_sys::irq::InterruptKind;

/// What the number of entries of a ring may be. It is rounded up to a multiple of 8.
pub const RING: RangeInclusive<u16> = 64..=4096;

/// How a device is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// The station's address, instead of that in the EEPROM.
    pub address: Option<MacAddress>,
    /// The best kind of interrupt to ask for.
    pub interrupts: InterruptKind,
    /// How often the device may interrupt.
    pub throttling: Throttling,
    /// How the link is to come about.
    pub link: Wish,
    /// Most pairs of queues (82574: 2 with MSI-X).
    pub queues: u16,
    /// Entries of each transmit ring.
    pub tx_ring: u16,
    /// Entries of each receive ring.
    pub rx_ring: u16,
    /// Most bytes of a frame's payload.
    pub mtu: u16,
    /// How long a packet may take to be sent before the device is reset.
    pub transmit_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            address: None,
            interrupts: InterruptKind::MsiX,
            throttling: Throttling::Adaptive,
            link: Wish::default(),
            queues: 2,
            tx_ring: 256,
            rx_ring: 256,
            mtu: 1500,
            transmit_timeout: Duration::from_secs(5),
        }
    }
}
