//! What can be chosen about a controller.

use std::time::Duration;

use redox_driver_sys::irq::InterruptKind;

/// How a controller is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most commands in flight per port, 1 to 32.
    pub queue_depth: u8,
    /// Use native command queuing where controller and disk have it.
    pub ncq: bool,
    /// No interrupts: whoever owns the queue looks at it.
    pub polled: bool,
    /// The best kind of interrupt to ask for.
    pub interrupts: InterruptKind,
    /// How long a command may take before its port is recovered.
    pub command_timeout: Duration,
    /// How long attaching waits for devices to say what they are. What comes later is announced then.
    pub settle: Duration,
    /// What links do while there is nothing to do.
    pub link_power: LinkPower,
    /// Command completion coalescing, where the controller has it.
    pub coalescing: Option<Coalescing>,
    /// Put disks into standby when the controller is shut down.
    pub standby: bool,
}

/// Power states of idle links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPower {
    /// Links stay awake.
    MaxPerformance,
    /// Partial by the host.
    MediumPower,
    /// Slumber, begun by host or device.
    MinPower,
    /// Slumber, and device sleep where there is a line for it.
    DeviceSleep,
}

/// Command completion coalescing (AHCI, chapter 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Completions per interrupt; 0: the timer alone.
    pub completions: u8,
    /// Longest delay of an interrupt, in milliseconds, not 0.
    pub delay_ms: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queue_depth: 32,
            ncq: true,
            polled: false,
            interrupts: InterruptKind::MsiX,
            command_timeout: Duration::from_secs(30),
            settle: Duration::from_secs(3),
            link_power: LinkPower::MaxPerformance,
            coalescing: None,
            standby: false,
        }
    }
}
