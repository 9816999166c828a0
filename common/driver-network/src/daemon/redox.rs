//! Serving through the network scheme.

use std::{os::fd::AsFd, time::Duration};

use common::{
    daemon::{Readiness, Termination},
    privileges::Policy,
};
use redox_driver_sys::{event::EventQueue, scheme::SchemeSocket};

use super::{Attached, Service};
use crate::{
    device::NetDevice,
    engine::Engine,
    frontend::scheme::{NetworkScheme, ROOT, SchemePort},
    settings::{Features, Settings},
};

/// How long packets may still take when the daemon is told to end.
const DRAIN: Duration = Duration::from_secs(2);
/// While there is always something to do, others are looked at after so many turns.
const TURNS: u32 = 16;
/// Tokens beside those of the engine.
const TERMINATION: u64 = u64::MAX;
const CLIENTS: u64 = u64::MAX - 1;

impl Service<'_> {
    pub(super) fn run<D: NetDevice>(self, attached: Attached<D>, readiness: Readiness) -> anyhow::Result<()> {
        let Attached { mut device, dma, clock } = attached;
        let mut termination = Termination::install()?;
        // The scheme's frames are whole: there is nobody to leave a checksum or a tag to.
        let settings = Settings { features: Features::empty(), ..device.settings().clone() };
        device.configure(&settings)?;
        let name = format!("network.{}", device.name());
        let engine = Engine::start(device, dma, clock.clone(), vec![SchemePort::default()])?;
        let mut socket = SchemeSocket::new()?;
        let mut scheme = NetworkScheme::new(&name, engine);
        socket.register(&name, ROOT)?;
        // It is opened by a name, and there are none after this.
        let mut events = EventQueue::new(&clock)?;
        readiness.notify()?;
        Policy::new().restrict();
        let mut anew = true;
        let (mut ready, mut requests) = (vec![CLIENTS], Vec::new());
        let mut turns = 0;
        loop {
            if std::mem::take(&mut anew) {
                events.clear();
                scheme.watch(&mut events)?;
                events.add_fd(termination.as_fd(), TERMINATION)?;
                events.add_fd(socket.as_fd(), CLIENTS)?;
                // What came meanwhile is not reported again.
                ready.push(CLIENTS);
            }
            if ready.contains(&TERMINATION) && termination.requested() {
                break;
            }
            if ready.contains(&CLIENTS) {
                while socket.read(&mut requests)? {}
                for request in requests.drain(..) {
                    scheme.request(request);
                }
            }
            let turned = scheme.turn(&ready);
            // Also when it is the end: a client is told why what it wanted failed.
            if !scheme.answers().is_empty() {
                socket.write(scheme.answers())?;
            }
            let (patience, reset) = turned?;
            anew = reset;
            ready.clear();
            turns = if patience.is_zero() { turns + 1 } else { TURNS };
            if turns >= TURNS {
                turns = 0;
                events.wait(patience, &mut ready)?;
            }
        }
        log::info!("{}: ending", self.address);
        let (mut answers, ended) = scheme.shutdown(DRAIN, self.wake_on);
        socket.write(&mut answers)?;
        Ok(ended?)
    }
}
