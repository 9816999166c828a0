//! What can be chosen about a device.

use std::time::Duration;

use redox_driver_sys::irq::InterruptKind;

/// Most requests in flight on one queue.
pub const MAX_DEPTH: u16 = 1024;

/// How a device is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most queues; one per CPU is usual. The device and the interrupts may allow fewer.
    pub queues: u16,
    /// Most requests in flight per queue, at most [`MAX_DEPTH`].
    pub queue_depth: u16,
    /// Queues without interrupts: whoever owns one looks at it.
    pub polled: bool,
    /// The best kind of interrupt to ask for: MSI-X or INTx.
    pub interrupts: InterruptKind,
    /// Packed rings where the device has them.
    pub packed: bool,
    /// Indirect descriptors where the device has them.
    pub indirect: bool,
    /// Notifications by index where the device has them.
    pub event_idx: bool,
    /// Have the device answer in order where it can. It then needs fewer entries for its answers, and a slow request holds up
    /// the others.
    pub in_order: bool,
    /// Whether writes may stay in the device's cache until a flush; `None` leaves it as the device has it.
    pub write_cache: Option<bool>,
    /// How long a request may take before the device is reset.
    pub command_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queues: u16::try_from(redox_driver_sys::cpu::count()).unwrap_or(u16::MAX),
            queue_depth: 256,
            polled: false,
            interrupts: InterruptKind::MsiX,
            packed: true,
            indirect: true,
            event_idx: true,
            in_order: false,
            write_cache: None,
            command_timeout: Duration::from_secs(30),
        }
    }
}
