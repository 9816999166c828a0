//! What can be chosen about a device.

use std::{ops::RangeInclusive, time::Duration};

use driver_network::MacAddress;
use redox_driver_sys::irq::InterruptKind;

/// What the number of entries of a ring may be. It is rounded up to a power of two; the device may allow fewer.
pub const RING: RangeInclusive<u16> = 16..=4096;

/// How a device is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// The station's address, instead of the device's own.
    pub address: Option<MacAddress>,
    /// The best kind of interrupt to ask for: MSI-X or INTx.
    pub interrupts: InterruptKind,
    /// Most pairs of queues; one per CPU is usual. The device and the interrupts may allow fewer.
    pub queues: u16,
    /// Entries of each transmit ring.
    pub tx_ring: u16,
    /// Entries of each receive ring.
    pub rx_ring: u16,
    /// Most bytes of a frame's payload; the device may allow fewer.
    pub mtu: u16,
    /// Packed rings where the device has them.
    pub packed: bool,
    /// Indirect descriptors where the device has them.
    pub indirect: bool,
    /// Notifications by index where the device has them.
    pub event_idx: bool,
    /// Packets that take several receive buffers where the device has them.
    pub mergeable: bool,
    /// How long a packet may take to be sent before the device is reset.
    pub transmit_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            address: None,
            interrupts: InterruptKind::MsiX,
            queues: u16::try_from(redox_driver_sys::cpu::count()).unwrap_or(u16::MAX),
            tx_ring: 256,
            rx_ring: 256,
            mtu: 1500,
            packed: true,
            indirect: true,
            event_idx: true,
            mergeable: true,
            transmit_timeout: Duration::from_secs(5),
        }
    }
}
