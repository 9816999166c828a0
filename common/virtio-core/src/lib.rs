//! The driver side of virtio 1.2.
//!
//! A [`Transport`] finds the structures of a virtio device behind PCI, negotiates [`Features`] and makes [`VirtQueue`]s.
//! A queue is the same for its driver whichever ring is below: chains of memory are added, shown to the device, and come
//! back in any order. What a device writes into a ring is checked against what it was given; one that answers what it was
//! not asked has broken its queue and must be reset.
//!
//! Section numbers are those of Virtual I/O Device (VIRTIO) Version 1.2.

#![forbid(unsafe_code)]

mod error;
mod queue;
mod transport;

pub use error::{Error, Result};
pub use queue::{AddError, Chain, QueueError, QueueOptions, Used, VirtQueue};
pub use transport::{Transport, find_device_type};
pub use virtio_spec::Features;
