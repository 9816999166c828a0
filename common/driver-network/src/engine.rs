//! A device with its lanes, on one thread.

use std::time::Duration;

use redox_driver_sys::{
    dma::DmaAllocator,
    event::EventQueue,
    time::{Clock, Time},
};

use crate::{
    device::{NetDevice, NetEvent, Statistics},
    error::NetError,
    lane::{Lane, LaneStatistics, Port},
    queue::QueuePair,
    settings::{Link, Settings, Shape, WakeOn},
};

/// The token of the device's own interrupt; those of lanes are their numbers.
const DEVICE: u64 = 1 << 32;
/// Resets in a row, without a packet that was received or sent in between, before the device is given up.
const MOST_RESETS: u32 = 5;
/// While there is always something to do, the device itself is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// A bound for every wait.
const IDLE: Duration = Duration::from_secs(1);

/// Why an engine ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device does not do what it must.
    #[error("{step}")]
    Device {
        /// What was being done.
        step: &'static str,
        /// How it failed.
        #[source]
        source: NetError,
    },
    /// The machine has no memory or events.
    #[error(transparent)]
    Machine(#[from] redox_driver_sys::Error),
    /// It was reset again and again.
    #[error("the device is given up after {MOST_RESETS} resets in a row")]
    GivenUp,
}

impl EngineError {
    fn device(step: &'static str) -> impl FnOnce(NetError) -> EngineError {
        move |source| EngineError::Device { step, source }
    }
}

/// What happened that clients should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link came, went, or changed.
    Link(Link),
    /// The device was reset; packets in flight are lost.
    Reset,
}

/// A device with its lanes, each of which has a client's [`Port`].
pub struct Engine<D: NetDevice, P> {
    device: D,
    lanes: Vec<Lane<D::Queue>>,
    ports: Vec<P>,
    dma: DmaAllocator,
    clock: Clock,
    /// When the device is to be looked at though nobody calls.
    due: Option<Time>,
    looked: Time,
    /// Since when there is a link.
    up_since: Option<Time>,
    called: bool,
    armed: bool,
    resets: u32,
    found: Vec<NetEvent>,
}

impl<D: NetDevice, P: Port> Engine<D, P> {
    /// Gives each of `ports` one of the device's pairs of queues, as far as there are, and lets packets go. The device uses no others.
    ///
    /// # Errors
    /// The device does not start, or there is no memory.
    pub fn start(mut device: D, dma: DmaAllocator, clock: Clock, ports: Vec<P>) -> Result<Self, EngineError> {
        let queues = device.take_queues(ports.len());
        let lanes = queues.into_iter().map(|queue| Lane::new(queue, device.capabilities())).collect();
        let looked = clock.now();
        let mut engine = Engine {
            device,
            lanes,
            ports,
            dma,
            clock,
            due: None,
            looked,
            up_since: None,
            called: true,
            armed: false,
            resets: 0,
            found: Vec::new(),
        };
        engine.go()?;
        Ok(engine)
    }

    /// Equips the lanes and lets packets go.
    fn go(&mut self) -> Result<(), EngineError> {
        let features = self.device.settings().features;
        let (shape, most) = (self.device.shape(), self.device.capabilities().max_tso_len);
        for lane in &mut self.lanes {
            lane.equip(&self.dma, shape, features, most)?;
        }
        self.device.start().map_err(EngineError::device("start"))?;
        self.called = true;
        Ok(())
    }

    /// The device, for what it can do and how it is set.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The ports.
    pub fn ports_mut(&mut self) -> &mut [P] {
        &mut self.ports
    }

    /// Whether packets can be taken from the clients of every lane.
    pub fn has_room(&self) -> bool {
        self.lanes.iter().zip(&self.ports).all(|(lane, _)| lane.has_room())
    }

    /// Has `events` report the device's interrupts. To be done again after [`Event::Reset`].
    ///
    /// # Errors
    /// What the system answers.
    pub fn watch(&self, events: &mut EventQueue) -> redox_driver_sys::Result<()> {
        for (number, lane) in (0..).zip(&self.lanes) {
            let interrupts = lane.hardware().map(QueuePair::interrupts).into_iter().flatten().flatten();
            for interrupt in interrupts {
                events.add_interrupt(interrupt, number)?;
            }
        }
        match self.device.interrupt() {
            Some(interrupt) => events.add_interrupt(interrupt, DEVICE),
            None => Ok(()),
        }
    }

    /// Does what can be done without waiting; `ready` are tokens that [`watch`](Self::watch)ed events reported, and others. How long to
    /// wait at most for the next ones: not at all while there is something to do.
    ///
    /// # Errors
    /// The device is given up. It does no DMA any more.
    pub fn turn(&mut self, ready: &[u64], events: &mut Vec<Event>) -> Result<Duration, EngineError> {
        let now = self.clock.coarse();
        self.take_interrupts(ready)?;
        let (mut worked, mut moved) = (false, false);
        let mut failed = None;
        for (lane, port) in self.lanes.iter_mut().zip(&mut self.ports) {
            match lane.turn(port, &self.clock) {
                Ok(turned) => {
                    worked |= turned.worked;
                    moved |= turned.moved;
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.reset(&format!("a queue: {error}"), self.device.shape(), events)?;
            return Ok(Duration::ZERO);
        }
        // Giving a device packets is no sign of life.
        if moved {
            self.resets = 0;
        }
        if worked {
            self.armed = false;
        } else if !self.armed {
            self.armed = true;
            for lane in &mut self.lanes {
                worked |= lane.arm(now);
            }
            self.armed = !worked;
        }
        self.look(now, events)?;
        if worked { Ok(Duration::ZERO) } else { Ok(self.patience(now)) }
    }

    fn take_interrupts(&mut self, ready: &[u64]) -> Result<(), EngineError> {
        for (number, lane) in (0..).zip(&mut self.lanes) {
            if ready.contains(&number) {
                lane.take_interrupts();
                self.armed = false;
            }
            self.called |= lane.hardware_mut().is_some_and(QueuePair::attention);
        }
        if ready.contains(&DEVICE)
            && let Some(interrupt) = self.device.interrupt()
        {
            interrupt.take()?;
            self.called = true;
        }
        Ok(())
    }

    /// Looks after the device itself, if it calls or it is time.
    fn look(&mut self, now: Time, events: &mut Vec<Event>) -> Result<(), EngineError> {
        let due = self.due.is_some_and(|due| due <= now);
        if !self.called && !due && now.since(self.looked) < LOOK {
            return Ok(());
        }
        self.looked = now;
        let shape = self.device.shape();
        if self.called || due {
            self.called = false;
            let mut found = std::mem::take(&mut self.found);
            let polled = self.device.poll(now, &mut found);
            // A level-triggered interrupt comes through again once its reason was taken.
            if let Some(interrupt) = self.device.interrupt() {
                interrupt.rearm()?;
            }
            let mut reason = None;
            for event in found.drain(..) {
                match event {
                    NetEvent::LinkChanged(link) => events.push(Event::Link(link)),
                    NetEvent::ResetNeeded(why) => reason = Some(why),
                }
            }
            self.found = found;
            match polled {
                Ok(due) => self.due = due,
                Err(error) => reason = Some(error.to_string()),
            }
            if let Some(reason) = reason {
                return self.reset(&reason, shape, events);
            }
        }
        if self.device.link().is_up() {
            self.up_since.get_or_insert(now);
        } else {
            self.up_since = None;
        }
        if self.watchdog().is_some_and(|at| at <= now) {
            return self.reset("no packet was sent in time", shape, events);
        }
        Ok(())
    }

    /// When a packet has been waiting for too long. Without a link none is to be sent.
    fn watchdog(&self) -> Option<Time> {
        let up_since = self.up_since?;
        let since = self.lanes.iter().filter_map(Lane::waits_since).min()?;
        Some(since.max(up_since).plus(self.device.transmit_timeout()))
    }

    fn patience(&self, now: Time) -> Duration {
        let lanes = self.lanes.iter().filter_map(|lane| lane.hardware().and_then(QueuePair::due));
        let watchdog = self.watchdog().map(|at| at.max(self.looked.plus(LOOK)));
        let due = self.due.into_iter().chain(lanes).chain(watchdog).min();
        due.map_or(IDLE, |due| due.since(now).min(IDLE))
    }

    /// Resets the device, with its settings and `shape`.
    fn reset(&mut self, reason: &str, shape: Shape, events: &mut Vec<Event>) -> Result<(), EngineError> {
        log::warn!("{}: reset: {reason}", self.device.name());
        self.resets += 1;
        if self.resets > MOST_RESETS {
            let queues = self.lanes.iter_mut().filter_map(Lane::take_hardware).collect();
            if let Err(error) = self.device.shutdown(queues, WakeOn::empty()) {
                log::warn!("{}: shut down: {error}", self.device.name());
            }
            return Err(EngineError::GivenUp);
        }
        self.restart(shape, events)
    }

    fn restart(&mut self, shape: Shape, events: &mut Vec<Event>) -> Result<(), EngineError> {
        let queues = self.lanes.iter_mut().filter_map(Lane::take_hardware).collect();
        let queues = self.device.reset(queues, shape).map_err(EngineError::device("reset"))?;
        if queues.len() != self.lanes.len() {
            return Err(EngineError::Device { step: "reset", source: NetError::Protocol });
        }
        for (lane, queue) in self.lanes.iter_mut().zip(queues) {
            lane.put_hardware(queue);
        }
        self.armed = false;
        self.due = None;
        self.up_since = None;
        self.go()?;
        events.push(Event::Reset);
        events.push(Event::Link(self.device.link()));
        Ok(())
    }

    /// Changes address, filter and features.
    ///
    /// # Errors
    /// What the device cannot do.
    pub fn configure(&mut self, settings: &Settings) -> Result<(), NetError> {
        if settings == self.device.settings() {
            return Ok(());
        }
        if !settings.address.is_station() || !self.device.capabilities().features.contains(settings.features)
        {
            return Err(NetError::Invalid);
        }
        self.device.configure(settings)
    }

    /// Changes MTU and rings; the device is reset for it, unless it has them already.
    ///
    /// # Errors
    /// `Ok(Err(NetError::Invalid))` for what the device cannot have, with nothing changed; [`EngineError`] when it did not come back.
    pub fn reshape(
        &mut self,
        shape: Shape,
        events: &mut Vec<Event>,
    ) -> Result<Result<(), NetError>, EngineError> {
        let capabilities = self.device.capabilities();
        let possible = capabilities.mtu.contains(&shape.mtu)
            && capabilities.tx_ring.contains(&shape.tx_ring)
            && capabilities.rx_ring.contains(&shape.rx_ring);
        if !possible {
            return Ok(Err(NetError::Invalid));
        }
        if shape != self.device.shape() {
            log::info!("{}: MTU {}", self.device.name(), shape.mtu);
            self.restart(shape, events)?;
        }
        Ok(Ok(()))
    }

    /// The device's counters and those of the lanes, as text: a name and a number in each line.
    pub fn statistics(&mut self) -> String {
        let mut counters: Statistics = self.device.statistics().unwrap_or_default();
        let sum = |get: fn(LaneStatistics) -> u64| self.lanes.iter().map(|lane| get(lane.statistics())).sum();
        counters.extend([
            ("lane_tx_packets", sum(|lane| lane.tx_packets)),
            ("lane_tx_bytes", sum(|lane| lane.tx_bytes)),
            ("lane_tx_dropped", sum(|lane| lane.tx_dropped)),
            ("lane_tx_busy", sum(|lane| lane.tx_busy)),
            ("lane_rx_packets", sum(|lane| lane.rx_packets)),
            ("lane_rx_bytes", sum(|lane| lane.rx_bytes)),
            ("lane_rx_dropped", sum(|lane| lane.rx_dropped)),
            ("interrupts", sum(|lane| lane.interrupts)),
        ]);
        counters.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    /// A report for people.
    pub fn inspect(&mut self) -> String {
        let device = self.device.inspect();
        let Shape { mtu, tx_ring, rx_ring } = self.device.shape();
        let settings = self.device.settings();
        let (address, features) = (settings.address, settings.features);
        let head = format!(
            "link: {}\naddress: {address}\nMTU: {mtu}\nrings: {tx_ring} transmit, {rx_ring} receive\nfeatures: {features:?}\n",
            self.device.link()
        );
        format!("{device}{head}{}", self.statistics())
    }

    /// Ends orderly: packets in flight may still go for as long as `drain`, then the device is shut down.
    ///
    /// # Errors
    /// What the device did not confirm. It does no DMA any more.
    pub fn shutdown(mut self, drain: Duration, wake_on: WakeOn) -> Result<(), NetError> {
        let deadline = self.clock.deadline(drain);
        let mut nobody: Vec<Nobody> = self.lanes.iter().map(|_| Nobody).collect();
        while self.device.link().is_up() && !deadline.passed(&self.clock) {
            let (mut waiting, mut broken) = (false, false);
            for (lane, port) in self.lanes.iter_mut().zip(&mut nobody) {
                match lane.turn(port, &self.clock) {
                    Ok(_) => waiting |= lane.waits_since().is_some(),
                    Err(error) => {
                        log::warn!("{}: packets in flight are lost: {error}", self.device.name());
                        broken = true;
                    }
                }
            }
            if broken || !waiting {
                break;
            }
            self.clock.sleep(Duration::from_millis(1));
        }
        let queues = self.lanes.iter_mut().filter_map(Lane::take_hardware).collect();
        self.device.shutdown(queues, wake_on)
    }
}

/// A client that wants nothing any more.
struct Nobody;

impl Port for Nobody {
    fn deliver(&mut self, _: &crate::Frame<'_>) -> bool {
        false
    }
    fn collect(&mut self, _: &mut crate::Transmit<'_>) {}
}
