//! A controller with a thread of its own, and one thread for each of its hardware queues.
//!
//! A queue's thread owns the [`Queue`](crate::Queue) and its front end and takes no lock on the way of a request. What
//! concerns the device as a whole - aborts, resets, disks that come and go, the end - is decided by the controller's
//! thread; the threads talk by messages, and a hardware queue travels with them, so that never two threads touch it.

#[cfg(all(test, loom))]
mod interleavings;
mod mailbox;
mod messages;
mod supervisor;
#[cfg(not(loom))]
mod threads;
mod worker;

#[cfg(not(loom))]
pub use threads::{Runtime, RuntimeError, RuntimeOptions};

use crate::{
    device::{Disk, DiskId},
    error::BlockError,
};

/// Something that whoever runs the daemon may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A disk appeared, or its capacity or limits changed. The queues know already.
    DiskChanged(Disk),
    /// A disk is gone. The queues know already.
    DiskRemoved(DiskId),
    /// The controller was reset, with this outcome.
    Reset(Result<(), BlockError>),
    /// The controller was given up; every request is answered with this error from now on.
    GivenUp(BlockError),
    /// The front end of a queue failed; the queue serves nobody any more.
    FrontendFailed {
        /// The queue's number.
        queue: u16,
        /// What happened.
        error: String,
    },
}
