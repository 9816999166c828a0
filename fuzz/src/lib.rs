//! What the fuzz targets share.
#![forbid(unsafe_code)]

mod hostile;
mod input;
pub mod nvme_driver;
pub mod nvme_host;

pub use hostile::Hostile;
pub use input::Input;
