//! virtio block devices, version 1 of the specification and later, behind PCI.
//!
//! [`BlkController::attach`] takes a PCI function over and yields a [`driver_block::Controller`]; the block layer does the
//! rest. Section numbers are those of Virtual I/O Device (VIRTIO) Version 1.2.

#![forbid(unsafe_code)]

mod controller;
mod disk;
mod error;
mod inspect;
mod io;
mod options;

pub use controller::BlkController;
pub use error::{Error, Result};
pub use io::{Counters, IoQueue};
pub use options::{MAX_DEPTH, Options};
