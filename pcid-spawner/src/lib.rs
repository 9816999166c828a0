//! The parts of `pcid-spawner` for Linux.
//!
//! [`pci`] lists the functions that sysfs knows, [`plan`] says which of them a pcid.d entry claims and what speaks
//! against taking it ([`usage`], IOMMU group), [`bind`] gives a function to vfio-pci and back, [`launch`] starts its
//! daemon with the descriptors of that function alone, [`service`] is one daemon's life, [`supervisor`] the loop that
//! watches all of them, and [`status`] what it tells others.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

pub mod backoff;
pub mod bind;
pub mod cli;
pub mod launch;
pub mod pci;
pub mod plan;
pub mod report;
pub mod roots;
pub mod service;
pub mod status;
pub mod supervisor;
pub mod usage;
