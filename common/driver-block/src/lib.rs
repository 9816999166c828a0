//! The block layer that the storage daemons share.
//!
//! A driver implements [`Controller`] and [`HardwareQueue`]; everything between them and the clients is here.

#![forbid(unsafe_code)]

mod device;
mod error;

pub use device::{
    Command, Completed, Controller, ControllerEvent, Disk, DiskId, HardwareQueue, LbaRange, Limits,
    Operation, SubmitError, WriteCache,
};
pub use error::BlockError;
