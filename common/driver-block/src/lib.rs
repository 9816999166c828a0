//! The block layer that the storage daemons share.
//!
//! A driver implements [`Controller`] and [`HardwareQueue`]; everything between them and the clients is here.

#![forbid(unsafe_code)]

mod device;
mod error;
pub mod frontend;
pub mod queue;
mod request;
mod statistics;
mod waker;

pub use device::{
    Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, LbaRange, Limits,
    Operation, SubmitError, WriteCache,
};
pub use error::BlockError;
pub use queue::{Queue, QueueOptions};
pub use request::{Completion, Expired, Rejected, Request, Segments};
pub use statistics::{OPERATIONS, OperationStatistics, Statistics};
pub use waker::Waker;
