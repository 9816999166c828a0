//! The life of a storage daemon, from an attached controller to its end.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::inspect_running;

use std::io;
#[cfg(target_os = "linux")]
use std::time::Duration;

use redox_driver_sys::{dma::DmaAllocator, pci::PciAddress, time::Clock};

use crate::{error::BlockError, queue::BadLimits, runtime::RuntimeError};

/// How long requests that were taken may still take when the daemon is told to end.
#[cfg(target_os = "linux")]
const DRAIN: Duration = Duration::from_secs(30);

/// What a daemon serves its disks with.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where the controller is.
    pub address: PciAddress,
    /// The memory that the controller can reach.
    pub dma: DmaAllocator,
    /// The clock that its deadlines go by.
    pub clock: Clock,
    /// Leave the disks to the next daemon when this one is told to end.
    pub keep_disks: bool,
}

/// Why a daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The threads did not start or end.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A disk cannot be served.
    #[error(transparent)]
    Limits(#[from] BadLimits),
    /// The front end did not start.
    #[error("{step}")]
    Frontend {
        /// What was being done.
        step: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no front end for this operating system.
    #[error("disks cannot be served on this operating system yet")]
    NoFrontend,
    /// None of the disks could be shown.
    #[error("no disk can be served: {0}")]
    NoDisk(String),
    /// The operating system refuses something.
    #[error("{step}")]
    Os {
        /// What was being done.
        step: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
    /// The machine, or the daemon's supervisor.
    #[error(transparent)]
    Lifecycle(#[from] common::daemon::Error),
    /// Waiting failed.
    #[error("wait for events")]
    Wait(#[from] redox_driver_sys::Error),
    /// The controller was given up.
    #[error("the controller was given up: {0}")]
    GivenUp(BlockError),
    /// The front end of a queue failed while serving.
    #[error("the front end of queue {queue} failed: {reason}")]
    FrontendFailed {
        /// The queue's number.
        queue: u16,
        /// What happened.
        reason: String,
    },
}
