//! The IOMMU daemon's client: devices that go through it, where the kernel has no driver for the IOMMU.

mod client;
mod dma;

pub use client::{Client, ClientError};
pub use dma::Domain;
pub(super) use dma::IommuDmaAllocator;

use super::sysfs;
use crate::{
    error::Result,
    pci::{PciAddress, PciFunction},
};

/// Opens a function as [`PciFunction::open`] does where the daemon is there, together with its domain: for programs that
/// map by themselves.
///
/// # Errors
/// What is missing, or the daemon's refusal.
pub fn open(address: PciAddress) -> Result<(PciFunction, Domain)> {
    let (function, domain) = sysfs::open_with_domain(address)?;
    Ok((PciFunction::new(address, function), domain))
}
