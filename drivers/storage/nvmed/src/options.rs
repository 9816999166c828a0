//! What can be chosen about a controller.

use std::time::Duration;

use redox_driver_sys::irq::InterruptKind;

/// How a controller is driven. The defaults suit a daemon.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most I/O queue pairs; one per CPU is usual. The controller and the interrupts may allow fewer.
    pub queues: u16,
    /// Most commands in flight per I/O queue.
    pub queue_depth: u16,
    /// I/O queues without interrupts: whoever owns one looks at it.
    pub polled: bool,
    /// The best kind of interrupt to ask for.
    pub interrupts: InterruptKind,
    /// Use scatter gather lists where the controller has them.
    pub sgl: bool,
    /// How long an admin command may take.
    pub admin_timeout: Duration,
    /// How long an I/O command may take before it is aborted.
    pub command_timeout: Duration,
    /// Interrupt coalescing: completions to gather and how long to wait for them; the controller counts the latter in
    /// units of 100 µs.
    pub coalescing: Option<Coalescing>,
    /// Longest time that waking up from a power state of the controller's own choice may take; `None` switches
    /// autonomous transitions off.
    pub power_latency: Option<Duration>,
    /// Most bytes lent to a controller that wants a host memory buffer; 0 for none.
    pub host_memory: u64,
}

/// Interrupt coalescing (section 5.21.1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalescing {
    /// Completions per interrupt, 1–256.
    pub completions: u16,
    /// Longest delay of an interrupt.
    pub delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queues: u16::try_from(redox_driver_sys::cpu::count()).unwrap_or(u16::MAX),
            queue_depth: 256,
            polled: false,
            interrupts: InterruptKind::MsiX,
            sgl: true,
            admin_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            coalescing: None,
            power_latency: Some(Duration::from_millis(100)),
            host_memory: 32 << 20,
        }
    }
}
