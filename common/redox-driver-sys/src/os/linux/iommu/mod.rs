//! The IOMMU daemon's client: devices that go through it, where the kernel has no driver for the IOMMU.

mod client;
mod dma;

pub use client::{Client, ClientError};
pub(super) use dma::IommuDmaAllocator;
