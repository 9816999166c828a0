//! The life of a storage daemon, from an attached controller to its end.

#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "redox")]
mod redox;

#[cfg(target_os = "linux")]
pub use linux::inspect_running;
#[cfg(all(target_os = "redox", feature = "testing"))]
pub use redox::run_without_device;

use std::{fmt, io, time::Duration};

use redox_driver_sys::{dma::DmaAllocator, pci::PciClaim, time::Clock};

use crate::{
    device::Controller,
    error::BlockError,
    queue::BadLimits,
    runtime::{Runtime, RuntimeError, RuntimeEvent},
};

/// How long requests that were taken may still take when the daemon is told to end.
#[cfg(target_os = "linux")]
const DRAIN: Duration = Duration::from_secs(30);

/// What a daemon serves the disks of.
#[derive(Debug)]
pub struct Service {
    /// The controller's function.
    pub claim: PciClaim,
    /// How it is called: `pci-0000-00-04.0-nvme`.
    pub name: String,
    /// Most I/O queues that the driver asks for.
    pub queues: u16,
    /// Leave the disks to the next daemon when this one is told to end. Where a supervisor of their own keeps the disks,
    /// they stay anyway for as long as it does.
    pub keep_disks: bool,
}

/// A controller that is ready to serve.
#[derive(Debug)]
pub struct Attached<C> {
    /// The controller.
    pub controller: C,
    /// The memory that it can reach.
    pub dma: DmaAllocator,
    /// The clock that its deadlines go by.
    pub clock: Clock,
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

/// Logs what happened to the controller.
///
/// # Errors
/// What ends the daemon.
pub(crate) fn note(controller: impl fmt::Display, event: RuntimeEvent) -> Result<(), DaemonError> {
    match event {
        RuntimeEvent::DiskChanged(disk) => {
            log::info!("{controller}: disk {} has {} blocks", disk.id, disk.blocks);
        }
        RuntimeEvent::DiskRemoved(disk) => log::info!("{controller}: disk {disk} is gone"),
        RuntimeEvent::Reset(outcome) => {
            let how = outcome.map_or_else(|error| error.to_string(), |()| "done".to_string());
            log::warn!("{controller}: controller reset: {how}");
        }
        RuntimeEvent::GivenUp(error) => return Err(DaemonError::GivenUp(error)),
        RuntimeEvent::FrontendFailed { queue, error } => {
            return Err(DaemonError::FrontendFailed { queue, reason: error });
        }
    }
    Ok(())
}

/// What the controller tells of itself, and what its queues have counted; each may take as long as `patience`.
pub(crate) fn report<C>(runtime: &Runtime<C>, patience: Duration) -> String
where
    C: Controller + 'static,
    C::Queue: 'static,
{
    let controller =
        runtime.inspect(patience).unwrap_or_else(|| "the controller does not answer\n".to_string());
    match runtime.statistics(patience) {
        Some(statistics) => format!("{controller}requests\n{statistics}"),
        None => controller,
    }
}
