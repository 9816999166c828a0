//! virtio network devices, version 1 of the specification and later, behind PCI.
//!
//! [`VirtioNet::attach`] takes a PCI function over and yields a [`driver_network::NetDevice`]; the framework does the rest. Section
//! numbers are those of Virtual I/O Device (VIRTIO) Version 1.2.

#![forbid(unsafe_code)]

mod adapter;
mod control;
mod error;
mod inspect;
mod options;
mod queue;
mod rx;
mod tx;

pub use adapter::VirtioNet;
pub use error::{Error, Result};
pub use options::{Options, RING};
pub use queue::Pair;
