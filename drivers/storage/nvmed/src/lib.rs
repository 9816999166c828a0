//! NVM Express over PCI Express, versions 1.0 to 2.0.
//!
//! [`NvmeController::attach`] takes a PCI function over and yields a [`driver_block::Controller`]; the block layer does
//! the rest. Section numbers are those of the NVM Express Base Specification 1.4.

#![forbid(unsafe_code)]

mod admin;
mod controller;
mod data;
mod error;
mod hmb;
mod inspect;
mod io;
mod namespace;
mod options;
mod power;
mod queue;
mod regs;
mod status;

pub use controller::NvmeController;
pub use error::{Error, Result};
pub use io::{Counters, IoQueue, MAX_DEPTH};
pub use namespace::NamespaceError;
pub use options::{Coalescing, Options};
