//! Serving through ublk.

use std::{io, os::fd::AsFd, path::Path, time::Duration};

use common::{
    daemon::{Readiness, Termination},
    inspect::{self, InspectNode},
    privileges::{CapabilitySet, Policy},
};
use redox_driver_sys::{dma::DmaAllocator, event::EventQueue, pci::PciFunction, time::Clock};

use super::{Attached, DRAIN, DaemonError, Service, note, report};
use crate::{
    device::Controller,
    frontend::ublk::{OnExit, QueueSeed, Ublk, UblkOptions},
    queue::QueueOptions,
    recovery::RecoveryPolicy,
    runtime::{Runtime, RuntimeOptions},
};

/// How often the runtime is asked for events that are nobody's descriptor.
const LOOK: Duration = Duration::from_millis(500);
/// Zeroes for disks without a command to write them.
const ZEROES: usize = 64 << 10;
/// Requests that a queue takes at once; the front end keeps what is more.
const REQUESTS: u32 = 1024;
const TERMINATION: u64 = 0;
const INSPECT: u64 = 1;
/// How long the controller may take to report on itself.
const REPORT: Duration = Duration::from_secs(15);

/// What the daemon that serves the controller called `name` tells of itself; `None` if there is none.
///
/// # Errors
/// There is a daemon, but it does not answer.
pub(super) fn inspect_running(name: &str) -> io::Result<Option<String>> {
    inspect::ask(Path::new(UblkOptions::NAMES), name)
}

impl Service {
    /// Attaches to the controller and serves its disks until the process is told to end, then drains, flushes and shuts
    /// the controller down. `readiness` is told when the disks are there.
    ///
    /// A daemon that fails leaves its devices to the next one: whoever uses them waits, and nothing is lost.
    ///
    /// # Errors
    /// What kept it from serving, or ended it.
    pub(super) fn run<C>(
        mut self,
        readiness: Readiness,
        attach: impl Fn(PciFunction) -> anyhow::Result<Attached<C>>,
    ) -> anyhow::Result<()>
    where
        C: Controller + 'static,
        C::Queue: 'static,
    {
        let attached = attach(self.claim.function()?)?;
        Ok(self.serve(attached, readiness)?)
    }

    fn serve<C>(&self, attached: Attached<C>, readiness: Readiness) -> Result<(), DaemonError>
    where
        C: Controller + 'static,
        C::Queue: 'static,
    {
        let Attached { mut controller, dma, clock } = attached;
        // Signals are for this thread: the others are started with them blocked.
        let mut termination = Termination::install()?;
        let inspect = InspectNode::new(Path::new(UblkOptions::NAMES), &self.name)
            .inspect_err(|error| log::warn!("{}: no inspect node: {error}", self.claim.address()))
            .ok();
        let queues = controller.take_queues();
        let disks = controller.disks();
        // Looks at what other processes hold, which a confined one may not.
        let (mut ublk, seeds) = self.front_end(queues.len(), &dma)?;
        self.restrict();
        let zeroes = dma.allocate(ZEROES)?;
        let options = RuntimeOptions {
            queue: QueueOptions {
                zeroes: Some(zeroes),
                ..QueueOptions::new(REQUESTS, controller.command_timeout())
            },
            recovery: RecoveryPolicy::default(),
            drain: DRAIN,
        };
        let frontends = seeds.into_iter().map(|seed| move || seed.grow()).collect();
        let runtime = Runtime::start(controller, queues, &clock, &options, frontends)?;
        let count = disks.len();
        let failed =
            ublk.start(disks).map_err(|source| DaemonError::Os { step: "start a thread", source })?;
        if let (Some(first), true) = (failed.first(), failed.len() == count) {
            return Err(DaemonError::NoDisk(first.to_string()));
        }
        readiness.notify()?;
        match self.wait(&clock, &mut termination, inspect.as_ref(), &runtime) {
            Ok(()) => {
                log::info!("{}: ending", self.claim.address());
                ublk.stop();
                Ok(runtime.stop()?)
            }
            Err(error) => {
                // Removing the devices would take the disks from their users; the next daemon takes them over.
                std::mem::forget(ublk);
                Err(error)
            }
        }
    }

    fn front_end(&self, queues: usize, dma: &DmaAllocator) -> Result<(Ublk, Vec<QueueSeed>), DaemonError> {
        let on_exit = if self.keep_disks { OnExit::Keep } else { OnExit::Remove };
        let options =
            UblkOptions { on_exit, ..UblkOptions::new(&self.name, self.claim.address(), dma.clone()) };
        Ublk::new(options, queues).map_err(|source| DaemonError::Frontend {
            step: "start ublk".to_string(),
            source: Box::new(source),
        })
    }

    /// Gives up what serving does not need. The device is open; devices and their settings still come and go.
    fn restrict(&self) {
        let mut policy = Policy::new()
            .user(None)
            .keep(CapabilitySet::SYS_ADMIN | CapabilitySet::IPC_LOCK)
            .readable("/sys")
            .readable("/proc")
            .writable(UblkOptions::NAMES);
        for path in UblkOptions::WRITABLE {
            policy = policy.writable(path);
        }
        if !policy.restrict().is_complete() {
            log::warn!("{}: not all privileges could be given up", self.claim.address());
        }
    }

    /// Waits for the end, told or forced, and answers who inspects meanwhile.
    fn wait<C>(
        &self,
        clock: &Clock,
        termination: &mut Termination,
        inspect: Option<&InspectNode>,
        runtime: &Runtime<C>,
    ) -> Result<(), DaemonError>
    where
        C: Controller + 'static,
        C::Queue: 'static,
    {
        let mut events = EventQueue::new(clock)?;
        events.add_fd(termination.as_fd(), TERMINATION)?;
        if let Some(node) = inspect {
            events.add_fd(node.as_fd(), INSPECT)?;
        }
        let mut ready = Vec::new();
        loop {
            ready.clear();
            events.wait(LOOK, &mut ready)?;
            if ready.contains(&TERMINATION) && termination.requested() {
                return Ok(());
            }
            if let (true, Some(node)) = (ready.contains(&INSPECT), inspect) {
                node.answer(|| report(runtime, REPORT));
            }
            for event in runtime.events().try_iter() {
                note(self.claim.address(), event)?;
            }
        }
    }
}
