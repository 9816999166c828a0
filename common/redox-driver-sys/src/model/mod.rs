//! Device models behind the same types as real hardware.
//!
//! A model implements [`Device`] and is put into a [`Host`], which plays the machine: virtual time, an IOMMU that
//! notices stray DMA, interrupt lines. [`Host::function`] is the [`PciFunction`](crate::pci::PciFunction) that a driver
//! is given. Everything happens on the caller's thread, so that a run replays exactly.
//!
//! A machine may have several devices and an IOMMU that is a model itself: each device is in a [`Host`] of its own, with
//! its own time; they share a [`Memory`], and their DMA and interrupts pass an [`Iommu`].

mod backend;
mod bus;
mod config;
mod host;
mod inert;
mod memory;

pub use bus::{Bus, DmaFault, Iommu};
pub use config::ConfigSpace;
pub(crate) use host::Bar;
pub use host::{Device, DmaMode, Host, Line};
pub use inert::Inert;
pub use memory::Memory;
