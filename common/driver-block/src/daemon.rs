//! The life of a storage daemon, from an attached controller to its end.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "redox")]
mod redox;

#[cfg(all(target_os = "redox", feature = "testing"))]
pub use redox::run_without_device;

use std::{fmt, io, time::Duration};

use anyhow::Context;
use common::{args::DaemonArgs, daemon::Readiness, logger::Logging};
use redox_driver_sys::{
    dma::DmaAllocator,
    pci::{PciAddress, PciClaim, PciFunction},
    time::Clock,
};

use crate::{
    device::Controller,
    error::BlockError,
    queue::BadLimits,
    runtime::{Runtime, RuntimeError, RuntimeEvent},
};

/// How long requests that were taken may still take when the daemon is told to end.
#[cfg(target_os = "linux")]
const DRAIN: Duration = Duration::from_secs(30);

/// The daemon of one controller, as far as every driver's is the same.
#[derive(Debug)]
pub struct Daemon<'a, A> {
    /// Which controller, and how much to log.
    pub arguments: &'a DaemonArgs,
    /// How the controller at an address is called: `pci-0000-00-04.0-nvme`.
    pub name_at: fn(PciAddress) -> String,
    /// Most I/O queues that the driver asks for.
    pub queues: u16,
    /// Leave the disks to the next daemon when this one is told to end. Where a server of their own keeps the disks, they
    /// stay anyway for as long as it does.
    pub keep_disks: bool,
    /// Takes the controller over. Called again for each driver, where they come and go.
    pub attach: A,
}

impl<C, A> Daemon<'_, A>
where
    C: Controller + 'static,
    C::Queue: 'static,
    A: Fn(PciFunction) -> anyhow::Result<Attached<C>>,
{
    /// Serves the controller's disks until the process is told to end; then what was asked for is finished, and the
    /// controller flushed and shut down. `judge` looks at the controller before it is served, and may refuse it.
    ///
    /// # Errors
    /// What kept it from serving, or ended it, with the controller's address.
    pub fn serve(self, judge: impl Fn(PciAddress, &C) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let readiness = Readiness::from_env()?;
        let claim = self.claim()?;
        let address = claim.address();
        let Daemon { name_at, queues, keep_disks, attach, .. } = self;
        let service = Service { claim, name: name_at(address), queues, keep_disks };
        let judged = |function| {
            let attached = attach(function)?;
            judge(address, &attached.controller)?;
            Ok(attached)
        };
        service.run(readiness, judged).with_context(|| address.to_string())
    }

    /// Prints what the controller tells of itself: what its daemon knows, if there is one, or else the controller itself.
    ///
    /// # Errors
    /// The controller cannot be taken over, or its daemon does not answer.
    pub fn inspect(self) -> anyhow::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(address) = self.arguments.device {
            let running = linux::inspect_running(&(self.name_at)(address));
            let running = running.with_context(|| format!("{address}: ask the daemon that serves it"))?;
            if let Some(report) = running {
                print!("{report}");
                return Ok(());
            }
        }
        self.with_controller(|Attached { mut controller, .. }| {
            print!("{}", controller.inspect());
            let queues = controller.take_queues();
            Ok(controller.shutdown(queues)?)
        })
    }

    /// Has `work` done on the controller, which no daemon serves meanwhile.
    ///
    /// # Errors
    /// What is in the way, with the controller's address.
    pub fn with_controller<T>(
        self,
        work: impl FnOnce(Attached<C>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut claim = self.claim()?;
        let function = claim.function()?;
        (self.attach)(function).and_then(work).with_context(|| claim.address().to_string())
    }

    /// The controller's function. Starts the log, which is named after it.
    fn claim(&self) -> anyhow::Result<PciClaim> {
        let claim = PciClaim::find(self.arguments.device)?;
        let name = format!("disk.{}", (self.name_at)(claim.address()));
        Logging::new("disk", "pci", &name).level(self.arguments.log.log_level).init()?;
        Ok(claim)
    }
}

/// What the system's part of a daemon serves the disks of.
#[derive(Debug)]
#[allow(dead_code, reason = "each system has a use for its part")]
struct Service {
    claim: PciClaim,
    name: String,
    queues: u16,
    keep_disks: bool,
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
