//! The OS boundary of the Red Bear drivers.
//!
//! Everything that a driver may ask of the machine goes through the concrete types of this crate: configuration
//! space and BARs ([`pci`]), registers ([`mmio`]), memory that a device can reach ([`dma`]), interrupts ([`irq`]),
//! waiting ([`event`]) and time ([`time`]), memory of several processes ([`shared`], [`process`]), and clients of a
//! Redox scheme ([`scheme`]). A driver never knows whether the function behind them is reached through Redox's pcid, through Linux's
//! VFIO, or is a device model in the same process (feature `model`).
//!
//! `unsafe` code is here, and beside it in front ends only, where a system call leaves no other way; what is exported is safe to
//! use from `#![forbid(unsafe_code)]` crates.

mod codes;
pub mod cpu;
pub mod dma;
pub mod error;
pub mod event;
pub mod fd;
pub mod irq;
#[cfg(feature = "mark")]
pub mod mark;
pub mod mmio;
#[cfg(feature = "model")]
pub mod model;
mod os;
pub mod pci;
#[cfg(target_os = "linux")]
pub use os::{iommu, packet, physical};
pub mod process;
pub mod scheme;
pub mod shared;
#[cfg(target_os = "linux")]
pub mod tap {
    //! Network interfaces whose cable is a file (Linux).

    pub use crate::os::tap::{Tap, TapOffload};
}
pub mod time;

pub use error::{Error, Result};
