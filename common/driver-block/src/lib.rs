//! The block layer that the storage daemons share.
//!
//! A driver implements [`Controller`] and [`HardwareQueue`]; everything between them and the clients is here.

// Allowed in one file: the system calls of the ublk front end.
#![deny(unsafe_code)]

#[cfg(not(loom))]
pub mod daemon;
mod device;
mod error;
pub mod frontend;
mod local;
pub mod partitions;
mod pause;
pub mod queue;
mod recovery;
mod request;
mod ring;
mod runtime;
mod statistics;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod waker;

pub use device::{
    Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, LbaRange, Limits,
    Operation, SubmitError, WriteCache,
};
pub use error::BlockError;
pub use local::{Answer, LocalEngine};
pub use pause::Pause;
pub use queue::{Queue, QueueOptions};
pub use recovery::{Recovery, RecoveryPolicy, Step};
pub use request::{Completion, Expired, Rejected, Request, Segments};
pub use runtime::RuntimeEvent;
#[cfg(not(loom))]
pub use runtime::{Runtime, RuntimeError, RuntimeOptions};
pub use statistics::{OPERATIONS, OperationStatistics, Statistics};
pub use waker::Waker;
