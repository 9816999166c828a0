//! Redox: pcid, `/scheme/memory`, `/scheme/irq`.

mod dma;
mod function;
mod interrupt;
mod memory;
pub(crate) mod scheme;

pub(crate) use function::open_function;
pub(crate) use interrupt::InterruptFd;

use crate::time::Time;

/// Redox has one clock; it is not a device on the machines that matter, but costs a system call.
pub(crate) fn coarse_now() -> Time {
    super::monotonic_now()
}
