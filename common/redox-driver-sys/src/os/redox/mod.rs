//! Redox: pcid, `/scheme/memory`, `/scheme/irq`.

mod dma;
mod function;
mod interrupt;
mod memory;
mod poller;
pub(crate) mod scheme;

pub(crate) use function::Claim;
pub(crate) use interrupt::{InterruptFd, processors};
pub(crate) use poller::{Poller, clock_was_read, coarse_now};
