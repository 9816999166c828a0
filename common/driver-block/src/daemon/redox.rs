//! Serving through the disk scheme: a server that clients talk to, and a driver that it starts again when it dies.

// The call that serves, which asks for a process with one thread.
#![allow(unsafe_code, reason = "see above")]

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use common::{
    daemon::{Readiness, Termination},
    privileges::Policy,
};
use redox_driver_sys::{
    pci::{PciClaim, PciFunction},
    scheme::{Answer, SchemeRequest, SchemeSocket},
    shared::SharedMemory,
    time::Clock,
};

use super::{Attached, Service};
use crate::{
    device::Controller,
    frontend::scheme::server::{Driving, Launcher, Patience, ROOT, RequestSource, Server, drive},
};

/// Memory for the data of requests that are on their way.
const DATA: usize = 8 << 20;

impl Service {
    /// Starts a driver that attaches to the controller, and serves its disks until the process is told to end; then the
    /// driver drains, flushes and shuts the controller down. `readiness` is told when the scheme is there.
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
        // One more for the controller's own queue.
        self.claim.reserve_interrupts(usize::from(self.queues) + 1);
        serve(&self.name, self.queues, Driver { claim: self.claim, attach }, readiness)
    }
}

/// Serves a controller that is no device, as `Service::run` does one that is: for measurements.
///
/// # Errors
/// What kept it from serving, or ended it.
#[cfg(feature = "testing")]
pub fn run_without_device<C>(
    name: &str,
    queues: u16,
    readiness: Readiness,
    make: impl Fn() -> C,
) -> anyhow::Result<()>
where
    C: Controller + 'static,
    C::Queue: 'static,
{
    serve(name, queues, Imagined(make), readiness)
}

fn serve(name: &str, queues: u16, launcher: impl Launcher, readiness: Readiness) -> anyhow::Result<()> {
    let termination = Termination::install()?;
    let data = SharedMemory::new(DATA)?;
    let name = format!("disk.{name}");
    let (socket, clock) = (SchemeSocket::new()?, Clock::monotonic());
    let patience = Patience::default();
    let mut server = Server::new(&name, (socket, launcher), (queues, data), &clock, patience, termination);
    let register = |socket: &SchemeSocket| {
        socket.register(&name, ROOT)?;
        Ok(readiness.notify()?)
    };
    // SAFETY: this process has started no thread: drivers do, in processes of their own.
    unsafe { server.run(register) }?;
    Ok(())
}

impl RequestSource for SchemeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        AsFd::as_fd(self)
    }
    fn read(&mut self, requests: &mut Vec<SchemeRequest>) -> redox_driver_sys::Result<bool> {
        SchemeSocket::read(self, requests)
    }
    fn write(&mut self, answers: &mut Vec<Answer>) -> redox_driver_sys::Result<()> {
        SchemeSocket::write(self, answers)
    }
}

/// Starts drivers of the claimed function.
struct Driver<A> {
    claim: PciClaim,
    attach: A,
}

impl<C, A> Launcher for Driver<A>
where
    C: Controller + 'static,
    C::Queue: 'static,
    A: Fn(PciFunction) -> anyhow::Result<Attached<C>>,
{
    fn drive(&mut self, driving: Driving) -> u8 {
        let address = self.claim.address();
        let driven = || -> anyhow::Result<()> {
            let Attached { controller, dma, clock } = (self.attach)(self.claim.function()?)?;
            let restrict = || drop(Policy::new().restrict());
            Ok(drive(driving, controller, (&dma, &clock), restrict)?)
        };
        common::exit_code(driven().with_context(|| address.to_string()))
    }

    fn stop_dma(&mut self) -> redox_driver_sys::Result<()> {
        self.claim.stop_dma()
    }
}

/// Starts drivers of something that is no device.
#[cfg(feature = "testing")]
struct Imagined<M>(M);

#[cfg(feature = "testing")]
impl<C, M> Launcher for Imagined<M>
where
    C: Controller + 'static,
    C::Queue: 'static,
    M: Fn() -> C,
{
    fn drive(&mut self, driving: Driving) -> u8 {
        let driven = || -> anyhow::Result<()> {
            let machine = crate::testing::Machine::new()?;
            Ok(drive(driving, (self.0)(), (&machine.dma()?, &Clock::monotonic()), || {})?)
        };
        common::exit_code(driven())
    }

    fn stop_dma(&mut self) -> redox_driver_sys::Result<()> {
        Ok(())
    }
}
