//! Linux: VFIO.

mod poller;
pub(crate) mod tap;
mod vfio;

pub(crate) use poller::Poller;
use rustix::time::ClockId;
use std::sync::Arc;

pub(crate) use vfio::InterruptFd;

use crate::{
    error::{Error, Result},
    pci::{FunctionBackend, PciAddress},
    time::Time,
};

/// Which function is to be driven. The kernel keeps the device of a dead process from reaching memory.
pub(crate) struct Claim(PciAddress);

impl Claim {
    pub(crate) fn find(address: Option<PciAddress>) -> Result<Self> {
        let reason = "no device: give --device ADDRESS, as in --device 0000:00:04.0";
        address.map(Claim).ok_or_else(|| Error::Attach { reason: reason.to_string() })
    }

    pub(crate) fn address(&self) -> PciAddress {
        self.0
    }

    pub(crate) fn reserve_interrupts(&mut self, _vectors: usize) {}

    pub(crate) fn open(&mut self) -> Result<Arc<dyn FunctionBackend>> {
        vfio::open_function(self.0)
    }

    pub(crate) fn stop_dma(&mut self) -> Result<()> {
        Ok(())
    }
}

pub(crate) fn coarse_now() -> Time {
    super::read_clock(ClockId::MonotonicCoarse)
}
