//! What can be chosen about a device.

use std::{ops::RangeInclusive, time::Duration};

use common::{itr::Throttling, phy::Wish};
use driver_network::MacAddress;
use redox_driver_sys::irq::InterruptKind;
use rtl8168_spec::descriptors::MAX_RING;

/// What the number of entries of a ring may be.
pub const RING: RangeInclusive<u16> = 64..=MAX_RING;

/// How a device is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// The station's address, instead of the one that is stored.
    pub address: Option<MacAddress>,
    /// The best kind of interrupt to ask for.
    pub interrupts: InterruptKind,
    /// How often the device may interrupt.
    pub throttling: Throttling,
    /// How the link is to come about.
    pub link: Wish,
    /// Entries of the transmit ring.
    pub tx_ring: u16,
    /// Entries of the receive ring.
    pub rx_ring: u16,
    /// Most bytes of a frame's payload. With more than 1500 the device neither puts checksums in nor cuts packets: no chip does that with
    /// large frames; with at most 1500 it can take no more than that later.
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
            tx_ring: 256,
            rx_ring: 256,
            mtu: 1500,
            transmit_timeout: Duration::from_secs(5),
        }
    }
}
