//! Random frames against random faults of a device, judged by an oracle: what arrives is what was sent, whole, in order and once;
//! nothing takes for ever, nothing panics; and once nothing goes wrong any more, frames go both ways again.
//!
//! There are 400 runs, unless the environment says otherwise: see [`over_seeds`].

use std::time::Duration;

use fastrand::Rng;
use model_support::{generator, over_seeds};
use redox_driver_sys::{dma::DmaAllocator, event::EventQueue, time::Clock};

use super::{
    MailPort, Wire,
    numbered::{self, Kind},
};
use crate::{
    address::MacAddress,
    device::NetDevice,
    engine::{Engine, Event},
    settings::{Features, Filter, Shape, WakeOn},
};

const STEPS: u32 = 60;
/// Most turns before time passes.
const TURNS: u32 = 64;
/// Most virtual time that one turn takes: a reset with all its deadlines.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// How long after the last fault the device serves again: transmit timeouts, resets, negotiation.
const RECOVERY: Duration = Duration::from_secs(60);
const PEER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// A model of a device at one end of a wire, as the runs see it.
pub trait Faulty: Sized {
    /// Its driver.
    type Device: NetDevice;

    /// A device and a driver of chance's choice. From here on it has faults that a driver can notice.
    fn start(rng: &mut Rng) -> Started<Self>;

    /// The other end of its wire.
    fn wire(&self) -> &impl Wire;

    /// No more faults, and the cable is in.
    fn mend(&self);

    /// What the driver did that no driver may.
    fn violations(&self) -> Vec<String>;

    /// Whether the device was to fail for good, or to do DMA elsewhere.
    fn excuses(&self) -> Excuses;
}

/// What must not be held against a driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuses {
    /// The device may be lost.
    pub lost: bool,
    /// DMA strays.
    pub strays: bool,
}

/// A device with its driver.
#[derive(Debug)]
pub struct Started<F: Faulty> {
    /// The model.
    pub model: F,
    /// Its driver.
    pub device: F::Device,
    /// The memory that it can reach.
    pub dma: DmaAllocator,
    /// Its clock.
    pub clock: Clock,
}

/// What the runs came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// How many there were.
    pub runs: u64,
    /// Resets of all of them.
    pub resets: u64,
    /// How many devices were still served at the end.
    pub serving: u64,
    /// Frames that arrived, either way.
    pub frames: u64,
}

/// Runs as the environment says: see [`over_seeds`].
pub fn random_faults<F: Faulty>() -> Totals {
    let outcomes = over_seeds(400, |seed| Run::<F>::new(seed).go());
    outcomes.into_iter().fold(Totals::default(), |sum, one| Totals {
        runs: sum.runs + one.runs,
        resets: sum.resets + one.resets,
        serving: sum.serving + one.serving,
        frames: sum.frames + one.frames,
    })
}

struct Run<F: Faulty> {
    model: F,
    engine: Option<Engine<F::Device, MailPort>>,
    events: EventQueue,
    ready: Vec<u64>,
    rng: Rng,
    own: MacAddress,
    lanes: usize,
    /// The next number, either way. Those of lane n are n modulo the number of lanes.
    next: u64,
    /// The last number that each lane sent, and that came in by each lane.
    sent: Vec<Option<u64>>,
    came: Vec<Option<u64>>,
    totals: Totals,
}

impl<F: Faulty> Run<F> {
    fn new(seed: u64) -> Self {
        let mut rng = generator(seed);
        let Started { model, device, dma, clock } = F::start(&mut rng);
        let own = device.settings().address;
        let lanes = rng.usize(1..=device.capabilities().queues.into());
        let ports = (0..lanes).map(|_| MailPort::default()).collect();
        let events = EventQueue::new(&clock).expect("a queue of events");
        let engine = Engine::start(device, dma, clock, ports).ok();
        let (sent, came) = (vec![None; lanes], vec![None; lanes]);
        let totals = Totals { runs: 1, ..Totals::default() };
        let mut run =
            Run { model, engine, events, ready: Vec::new(), rng, own, lanes, next: 0, sent, came, totals };
        run.watch();
        run
    }

    fn watch(&mut self) {
        self.events.clear();
        if let Some(engine) = &self.engine {
            engine.watch(&mut self.events).expect("interrupts can be watched");
        }
    }

    fn go(mut self) -> Totals {
        for _ in 0..STEPS {
            if self.engine.is_none() {
                break;
            }
            self.traffic();
            if self.rng.u8(..) < 6 {
                self.reshape();
            }
            if self.rng.u8(..) < 10 {
                self.configure();
            }
            let longest = Duration::from_micros(1 << self.rng.u32(4..22));
            self.step(longest);
        }
        self.model.mend();
        if self.engine.is_some() {
            self.recover();
        }
        self.finish()
    }

    /// Frames both ways.
    fn traffic(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let (mtu, features) = (engine.device().shape().mtu, engine.device().settings().features);
        let (pseudo, most) =
            (engine.device().capabilities().pseudo_header, engine.device().capabilities().max_tso_len);
        for _ in 0..self.rng.u32(0..12) {
            let lane = self.rng.usize(..self.lanes);
            let number = self.number(lane);
            let kind = match self.rng.u8(..8) {
                0 if features.contains(Features::TSO4) => {
                    let mss = self.rng.u16(200..=mtu - 40);
                    // The last one has room for its number as well.
                    let pieces = self.rng.u32(1..30).min((most - 200) / u32::from(mss));
                    Kind::Cut { mss, payload: pieces * u32::from(mss) - self.rng.u32(..180) }
                }
                1..=3 if features.contains(Features::TX_CHECKSUM) => {
                    Kind::Udp { payload: self.rng.u16(16..=mtu - 28) }
                }
                _ => Kind::Raw { len: self.rng.u16(60..=mtu + 14) },
            };
            let packet = numbered::packet(PEER, self.own, number, kind, pseudo);
            if let Some(port) = self.engine.as_mut().and_then(|engine| engine.ports_mut().get_mut(lane)) {
                port.outbox.push_back(packet);
            }
        }
        for _ in 0..self.rng.u32(0..12) {
            let number = self.number(0);
            let len = self.rng.u16(60..=mtu + 14);
            self.model.wire().send(&numbered::raw(self.own, PEER, number, len));
        }
    }

    /// The next number of a lane.
    fn number(&mut self, lane: usize) -> u64 {
        let lanes = self.lanes as u64;
        self.next += lanes;
        self.next - self.next % lanes + lane as u64
    }

    fn reshape(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let capabilities = engine.device().capabilities();
        let most = *capabilities.mtu.end();
        let shape = Shape {
            mtu: [1500, 576, most][self.rng.usize(..3)],
            tx_ring: self.rng.u16(capabilities.tx_ring.clone()).min(256),
            rx_ring: self.rng.u16(capabilities.rx_ring.clone()).min(256),
        };
        let mut happened = Vec::new();
        let possible = engine.reshape(shape, &mut happened);
        match possible {
            Ok(possible) => assert_eq!(possible, Ok(()), "{shape:?}"),
            Err(_) => self.lose(),
        }
        self.watch();
    }

    fn configure(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let mut settings = engine.device().settings().clone();
        let promiscuous = self.rng.bool();
        let multicast = (0..self.rng.u8(..20)).map(|n| MacAddress([0x33, 0x33, 0, 0, 0, n])).collect();
        settings.filter = Filter { promiscuous, multicast, ..Filter::default() };
        // Refused by a device that is not there.
        let _ = engine.configure(&settings);
    }

    /// Waits for something to happen, at most so long, and serves it.
    fn step(&mut self, longest: Duration) {
        for _ in 0..TURNS {
            let Some(engine) = &mut self.engine else { return };
            let mut happened = Vec::new();
            let start = self.model.wire().host().now();
            let turned = engine.turn(&self.ready, &mut happened);
            let took = self.model.wire().host().now().since(start);
            assert!(took < LONGEST_TURN, "a turn took {took:?}");
            self.ready.clear();
            let reset = happened.contains(&Event::Reset);
            self.totals.resets += u64::from(reset);
            match turned {
                Err(_) => return self.lose(),
                Ok(patience) if !patience.is_zero() => {
                    if reset {
                        self.watch();
                    }
                    let wait = patience.min(longest);
                    self.events.wait(wait, &mut self.ready).expect("waiting works");
                    break;
                }
                Ok(_) if reset => self.watch(),
                Ok(_) => {}
            }
        }
        self.check();
    }

    fn lose(&mut self) {
        self.check();
        self.engine = None;
        self.events.clear();
        assert!(!self.model.wire().host().bus_master(), "a device that was given up may do DMA");
    }

    /// What arrived is what was sent.
    fn check(&mut self) {
        for frame in self.model.wire().take_sent() {
            let number = numbered::read(&frame).unwrap_or_else(|| panic!("never sent: {}", start(&frame)));
            let lane = usize::try_from(number.packet % self.lanes as u64).unwrap_or(0);
            let last = &mut self.sent[lane];
            // The pieces of a packet that was cut have one number.
            assert!(*last < Some(number.packet) || (number.piece && *last == Some(number.packet)));
            *last = Some(number.packet);
            self.totals.frames += 1;
        }
        let Some(engine) = &mut self.engine else { return };
        for (port, last) in engine.ports_mut().iter_mut().zip(&mut self.came) {
            for (frame, _) in port.inbox.drain(..) {
                let number =
                    numbered::read(&frame).unwrap_or_else(|| panic!("never came: {}", start(&frame)));
                assert!(*last < Some(number.packet), "{last:?} before {number:?}");
                *last = Some(number.packet);
                self.totals.frames += 1;
            }
        }
    }

    /// Nothing goes wrong any more: frames go both ways.
    fn recover(&mut self) {
        let end = self.model.wire().host().now().plus(RECOVERY);
        let (sent, came) = (self.next, self.next);
        loop {
            let (out, back) = (self.number(0), self.number(0));
            let Some(engine) = &mut self.engine else { return };
            let pseudo = engine.device().capabilities().pseudo_header;
            if let Some(port) = engine.ports_mut().first_mut().filter(|port| port.outbox.len() < 100) {
                port.outbox.push_back(numbered::packet(PEER, self.own, out, Kind::Raw { len: 100 }, pseudo));
            }
            self.model.wire().send(&numbered::raw(self.own, PEER, back, 100));
            self.step(Duration::from_millis(100));
            // What still goes one way must not take all the turns until the other way is mended.
            self.model.wire().host().advance(Duration::from_millis(20));
            if self.sent[0] > Some(sent) && self.came.iter().any(|last| *last > Some(came)) {
                self.totals.serving = 1;
                return;
            }
            let (link, now) =
                (self.engine.as_ref().map(|engine| engine.device().link()), self.model.wire().host().now());
            assert!(now < end, "does not serve again, link {link:?}");
        }
    }

    fn finish(mut self) -> Totals {
        let excuses = self.model.excuses();
        if let Some(engine) = self.engine.take() {
            let ended = engine.shutdown(Duration::from_millis(100), WakeOn::empty());
            assert!(ended.is_ok(), "{ended:?}");
        } else {
            assert!(excuses.lost || self.totals.resets > 0, "a proper device was lost");
        }
        assert!(!self.model.wire().host().bus_master(), "bus mastering is on after the end");
        assert_eq!(self.model.violations(), Vec::<String>::new());
        let strays = self.model.wire().host().take_faults();
        assert!(excuses.strays || strays.is_empty(), "{strays:?}");
        assert_eq!(self.model.wire().host().mapped_bytes(), 0, "memory stays mapped");
        self.totals
    }
}

/// A frame's start and length, to be shown.
fn start(frame: &[u8]) -> String {
    format!("{} bytes: {:02x?}", frame.len(), frame.get(..64).unwrap_or(frame))
}
