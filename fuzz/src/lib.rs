//! What the fuzz targets share.
#![forbid(unsafe_code)]

pub mod ahci_driver;
pub mod ahci_host;
pub mod amd_vi_host;
mod clients;
mod driver;
mod hostile;
mod input;
pub mod iommud_clients;
pub mod iommud_unit;
pub mod ivrs;
pub mod nvme_driver;
pub mod nvme_host;
pub mod virtio_driver;
pub mod virtio_host;
pub mod virtio_ring;

pub use hostile::Hostile;
pub use input::Input;
