//! A driver's life behind a server.

use std::{os::fd::AsFd, time::Duration};

use redox_driver_sys::{dma::DmaAllocator, event::EventQueue, shared::SharedMemory, time::Clock};

use super::{
    DriverEnds, LANE_DEPTH,
    control::{FromDriver, told},
};
use crate::{
    daemon::DaemonError,
    device::Controller,
    queue::QueueOptions,
    recovery::RecoveryPolicy,
    runtime::{Runtime, RuntimeEvent, RuntimeOptions},
};

/// How often the runtime is asked for events that are nobody's descriptor.
const LOOK: Duration = Duration::from_millis(500);
/// How long requests that were taken may still take when the driver is told to end.
const DRAIN: Duration = Duration::from_secs(30);
/// Zeroes for disks without a command to write them.
const ZEROES: usize = 64 << 10;
/// How long the controller may take to report on itself.
const REPORT: Duration = Duration::from_secs(15);
const SERVER: u64 = 0;

/// What a driver gets from its server.
#[derive(Debug)]
pub struct Driving {
    ends: DriverEnds,
    data: SharedMemory,
}

impl Driving {
    pub(in super::super) fn new(ends: DriverEnds, data: SharedMemory) -> Self {
        Driving { ends, data }
    }
}

/// Serves the server's requests with an attached controller, until the server says stop or is gone; then drains, flushes
/// and shuts the controller down. `restrict` is called when all
/// that has to be opened is, and the threads run.
///
/// # Errors
/// What kept it from serving, or ended it.
pub fn drive<C>(
    driving: Driving,
    mut controller: C,
    (dma, clock): (&DmaAllocator, &Clock),
    restrict: impl FnOnce(),
) -> Result<(), DaemonError>
where
    C: Controller + 'static,
    C::Queue: 'static,
{
    let Driving { mut ends, data } = driving;
    let os = |step| move |source| DaemonError::Os { step, source };
    let queues = controller.take_queues();
    let disks = controller.disks();
    let name = controller.name().to_string();
    let data = dma.adopt(&data)?;
    let seeds = ends.seeds(queues.len(), &data, clock).map_err(os("take over the lanes"))?;
    let options = RuntimeOptions {
        queue: QueueOptions {
            zeroes: Some(dma.allocate(ZEROES)?),
            ..QueueOptions::new(LANE_DEPTH, controller.command_timeout())
        },
        recovery: RecoveryPolicy::default(),
        drain: DRAIN,
    };
    let mut events = EventQueue::new(clock)?;
    events.add_fd(ends.from_server.as_fd(), SERVER)?;
    let count = u16::try_from(queues.len()).unwrap_or(u16::MAX);
    let frontends = seeds.into_iter().map(|seed| move || seed.grow()).collect();
    let runtime = Runtime::start(controller, queues, clock, &options, frontends)?;
    restrict();
    let tell = |message: FromDriver| message.send(&ends.to_server).map_err(os("tell the server"));
    tell(FromDriver::Attached { queues: count, disks })?;
    let mut ready = Vec::new();
    loop {
        ready.clear();
        events.wait(LOOK, &mut ready)?;
        if ready.contains(&SERVER) {
            let told = told(&ends.from_server);
            if told.stop {
                break;
            }
            if told.inspect {
                tell(FromDriver::Report(crate::daemon::report(&runtime, REPORT)))?;
            }
        }
        for event in runtime.events().try_iter() {
            match event {
                RuntimeEvent::DiskChanged(disk) => tell(FromDriver::DiskChanged(disk))?,
                RuntimeEvent::DiskRemoved(disk) => tell(FromDriver::DiskRemoved(disk))?,
                event => crate::daemon::note(&name, event)?,
            }
        }
    }
    Ok(runtime.stop()?)
}
