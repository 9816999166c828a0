//! What can go wrong between the daemon and the kernel's ublk driver.

use std::{fmt, io, path::PathBuf, time::Duration};

use super::parameters::Unservable;
use crate::device::DiskId;

/// The number of a ublk device, or that it has none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(pub Option<u32>);

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "ublk device {number}"),
            None => f.write_str("new ublk device"),
        }
    }
}

/// A step towards serving a disk that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UblkError {
    /// There is no ublk in this kernel, or the module is not loaded.
    #[error("{path}: {source} (is the module ublk_drv loaded?)")]
    NoDriver {
        /// The device that is missing.
        path: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel's driver is older than what the front end stands on.
    #[error("the kernel's ublk driver lacks {missing} (features {features:#x})")]
    OldDriver {
        /// What it lacks.
        missing: &'static str,
        /// What it has.
        features: u64,
    },
    /// A command or system call failed.
    #[error("{device}: {step}: {source}")]
    Step {
        /// Of which device.
        device: DeviceNumber,
        /// Which one.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A command was not answered in time.
    #[error("{device}: {step}: no answer within {after:?}")]
    Timeout {
        /// Of which device.
        device: DeviceNumber,
        /// Which one.
        step: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// Another process serves the device.
    #[error("{device}: served by process {process}")]
    Busy {
        /// Which device.
        device: DeviceNumber,
        /// The other process.
        process: i32,
    },
    /// The disk is none that Linux can have.
    #[error("disk {disk}: {reason}")]
    Unservable {
        /// Which disk.
        disk: DiskId,
        /// Why not.
        reason: Unservable,
    },
    /// Memory for the data of requests is not to be had.
    #[error("{device}: {step}: {source}")]
    Memory {
        /// For which device.
        device: DeviceNumber,
        /// For what.
        step: &'static str,
        /// What the allocator said.
        source: redox_driver_sys::Error,
    },
    /// A file of the system could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A queue's thread has ended, or reads no messages.
    #[error("{device}: {step}: the thread of queue {queue} does not answer")]
    Thread {
        /// Which device.
        device: DeviceNumber,
        /// Its part of what.
        step: &'static str,
        /// Which hardware queue.
        queue: usize,
    },
}

impl UblkError {
    pub(super) fn step(device: u32, step: &'static str, source: io::Error) -> Self {
        UblkError::Step { device: DeviceNumber(Some(device)), step, source }
    }

    /// The error number that the kernel answered, if it was the kernel that failed.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            UblkError::Step { source, .. }
            | UblkError::NoDriver { source, .. }
            | UblkError::File { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
