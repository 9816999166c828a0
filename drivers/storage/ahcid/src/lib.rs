//! AHCI for Redox and Red Bear OS: SATA disks and CD drives as block devices.
//!
//! [`AhciController::attach`] takes a PCI function over and makes its ports ready; the controller is then driven by
//! [`driver_block`]. All ports share one interrupt and so one [`AhciQueue`], whose ports nevertheless know nothing of each
//! other: each is a state machine that never waits. Nothing here knows the operating system, the clients or whether the
//! device is real: tests run it on a model.
#![forbid(unsafe_code)]

mod board;
mod controller;
mod drive;
mod error;
mod memory;
mod options;
mod port;
mod queue;
mod regs;

pub use controller::AhciController;
pub use error::{Error, Result};
pub use options::{Coalescing, LinkPower, Options};
pub use port::PortCounters;
pub use queue::AhciQueue;
