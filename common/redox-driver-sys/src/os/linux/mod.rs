//! Linux: VFIO, or the IOMMU daemon and sysfs.

pub mod iommu;
pub mod packet;
pub mod physical;
mod poller;
mod sysfs;
pub(crate) mod tap;
mod vfio;

pub(crate) use poller::Poller;
use rustix::time::ClockId;
use std::{os::fd::BorrowedFd, sync::Arc};

use crate::{
    error::{Error, Result},
    pci::{FunctionBackend, PciAddress},
    time::Time,
};

/// One vector.
#[derive(Debug)]
pub(crate) enum InterruptFd {
    Vfio(vfio::InterruptFd),
    Uio(sysfs::Uio),
}

impl InterruptFd {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            InterruptFd::Vfio(vector) => vector.as_fd(),
            InterruptFd::Uio(pin) => pin.as_fd(),
        }
    }

    pub(crate) fn take(&self) -> Result<u64> {
        match self {
            InterruptFd::Vfio(vector) => vector.take(),
            InterruptFd::Uio(pin) => pin.take(),
        }
    }

    pub(crate) fn rearm(&self) -> Result<()> {
        match self {
            InterruptFd::Vfio(vector) => vector.rearm(),
            InterruptFd::Uio(pin) => pin.rearm(),
        }
    }

    pub(crate) fn set_affinity(&self, cpu: usize) -> Result<()> {
        match self {
            InterruptFd::Vfio(vector) => vector.set_affinity(cpu),
            InterruptFd::Uio(_) => Err(Error::Unsupported("affinity of an interrupt pin".to_string())),
        }
    }
}

/// Which function is to be driven. The kernel, or the IOMMU daemon, keeps the device of a dead process from reaching memory.
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
        if sysfs::is_wanted(self.0) { sysfs::open_function(self.0) } else { vfio::open_function(self.0) }
    }

    pub(crate) fn stop_dma(&mut self) -> Result<()> {
        Ok(())
    }
}

pub(crate) fn coarse_now() -> Time {
    super::read_clock(ClockId::MonotonicCoarse)
}
