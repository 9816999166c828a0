//! The state of a device.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use model_support::generator;
use redox_driver_sys::time::Time;
use virtio_spec::{DeviceStatus, Features, pci::NO_VECTOR};

use crate::{
    config::TransportConfig,
    device_type::DeviceType,
    fault::{Action, FaultPlan, Faults},
    interrupt::Interrupts,
    ring::{Layout, Request, Ring},
    statistics::Statistics,
    violation::Violation,
};

/// Violations beyond this many are not noted.
const MOST_VIOLATIONS: usize = 1024;

pub(crate) struct Core<T> {
    pub(crate) config: TransportConfig,
    pub(crate) device: T,
    pub(crate) rng: Rng,
    pub(crate) status: DeviceStatus,
    /// When a reset that was asked for is over.
    pub(crate) reset_at: Option<Time>,
    pub(crate) device_feature_select: u32,
    pub(crate) driver_feature_select: u32,
    pub(crate) accepted: Features,
    pub(crate) generation: u8,
    /// Whether the configuration changed since some of it was read.
    pub(crate) configuration_changed: bool,
    pub(crate) configuration_vector: u16,
    pub(crate) queue_select: u16,
    pub(crate) queues: Vec<Queue>,
    pub(crate) requests: Requests,
    pub(crate) interrupts: Interrupts,
    pub(crate) faults: Faults,
    pub(crate) statistics: Statistics,
    pub(crate) violations: Vec<Violation>,
    pub(crate) removed: bool,
}

/// A queue as the registers show it, and what is in it.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) size: u16,
    pub(crate) vector: u16,
    pub(crate) enabled: bool,
    pub(crate) areas: [u64; 3],
    /// When a reset of the queue is over.
    pub(crate) reset_at: Option<Time>,
    pub(crate) ring: Option<Ring>,
    /// When to look for available chains.
    pub(crate) look_at: Option<Time>,
    /// Chains that were fetched and not used, in the order in which they were fetched; with IN_ORDER.
    pub(crate) order: VecDeque<Fetched>,
    /// Chains that wait until something arrives for them.
    pub(crate) waiting: Vec<Request>,
    /// An entry that is held back until another one has overtaken it, or until then.
    pub(crate) held: Option<(Time, Posting)>,
}

/// A chain of an in-order queue: whether it was carried out, and with how many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched {
    pub(crate) id: u16,
    pub(crate) entries: u16,
    pub(crate) done: Option<u32>,
}

/// An entry to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting {
    pub(crate) id: u32,
    pub(crate) len: u32,
    pub(crate) chains: u16,
    pub(crate) entries: u16,
    pub(crate) interrupt: bool,
}

impl Queue {
    pub(crate) fn new(size: u16) -> Self {
        Queue {
            size,
            vector: NO_VECTOR,
            enabled: false,
            areas: [0; 3],
            reset_at: None,
            ring: None,
            look_at: None,
            order: VecDeque::new(),
            waiting: Vec::new(),
            held: None,
        }
    }

    pub(crate) fn enable(&mut self, features: Features) {
        self.enabled = true;
        self.ring = Some(Ring::new(Layout { size: self.size, areas: self.areas, features }));
    }
}

impl<T: DeviceType> Core<T> {
    pub(crate) fn new(config: TransportConfig, device: T) -> Self {
        let queues = (0..device.queues()).map(|_| Queue::new(config.queue_size)).collect();
        Core {
            rng: generator(config.seed),
            status: DeviceStatus::RESET,
            reset_at: None,
            device_feature_select: 0,
            driver_feature_select: 0,
            accepted: Features::empty(),
            generation: 0,
            configuration_changed: false,
            configuration_vector: NO_VECTOR,
            queue_select: 0,
            queues,
            requests: Requests::default(),
            interrupts: Interrupts::default(),
            faults: Faults::new(FaultPlan::default()),
            statistics: Statistics::default(),
            violations: Vec::new(),
            removed: false,
            config,
            device,
        }
    }

    /// All features that are offered.
    pub(crate) fn offered(&self) -> Features {
        self.config.features | Features::from_bits_retain(self.device.features())
    }

    pub(crate) fn note(&mut self, violation: Violation) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(violation);
        }
    }

    /// Whether requests are processed.
    pub(crate) fn is_running(&self) -> bool {
        self.status.driver_ok() && !self.status.needs_reset() && !self.removed
    }

    /// Forgets everything that a driver has set up. Nothing of what it had given is touched any more.
    pub(crate) fn forget(&mut self) {
        self.status = DeviceStatus::RESET;
        self.accepted = Features::empty();
        self.configuration_vector = NO_VECTOR;
        (self.device_feature_select, self.driver_feature_select, self.queue_select) = (0, 0, 0);
        self.queues = (0..self.device.queues()).map(|_| Queue::new(self.config.queue_size)).collect();
        self.requests.clear();
        self.device.reset();
    }

    /// The configuration of the device's type changed.
    pub(crate) fn configuration_changed(&mut self) {
        self.configuration_changed = true;
        self.generation = self.generation.wrapping_add(1);
        if self.status.driver_ok() {
            self.interrupts.configuration_due = true;
        }
    }

    /// The device cannot go on, and says so (section 2.1.2).
    pub(crate) fn need_reset(&mut self) {
        self.status.set_needs_reset(true);
        if self.status.driver_ok() {
            self.interrupts.configuration_due = true;
        }
    }
}

/// A chain that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) queue: u16,
    pub(crate) request: Request,
    /// What goes wrong with it.
    pub(crate) actions: Vec<Action>,
}

/// Requests in the order in which they will be carried out.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: BTreeMap<(Time, u64), Pending>,
    sequence: u64,
}

/// When hung requests are carried out.
const NEVER: Time = Time::from_nanos(u64::MAX);

impl Requests {
    /// Adds a request that is due at a time, or never.
    pub(crate) fn add(&mut self, due: Option<Time>, pending: Pending) {
        self.sequence += 1;
        self.waiting.insert((due.unwrap_or(NEVER), self.sequence), pending);
    }

    pub(crate) fn take_due(&mut self, now: Time) -> Option<Pending> {
        let first = self.waiting.first_entry();
        Some(first.filter(|first| first.key().0 <= now && first.key().0 != NEVER)?.remove())
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((due, _), _)| *due).filter(|&due| due != NEVER)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Forgets the requests of one queue.
    pub(crate) fn clear_queue(&mut self, queue: u16) {
        self.waiting.retain(|_, pending| pending.queue != queue);
    }
}
