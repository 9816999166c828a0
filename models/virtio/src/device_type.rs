//! What tells one virtio device from another (section 5).

use std::time::Duration;

use redox_driver_sys::model::Bus;
use virtio_spec::Features;

use crate::{fault::Action, ring::Request, violation::Violation};

/// A request of a driver, as a device's type carries it out.
pub struct Execution<'a> {
    /// The machine.
    pub bus: &'a mut dyn Bus,
    /// The queue.
    pub queue: u16,
    /// The chain.
    pub request: &'a Request,
    /// What goes wrong with it.
    pub actions: &'a [Action],
    /// What the driver did wrong.
    pub violations: &'a mut Vec<Violation>,
}

impl Execution<'_> {
    /// Notes that the request is not as it must be.
    pub fn violation(&mut self, what: &'static str) {
        self.violations.push(Violation::Request { queue: self.queue, what });
    }
}

/// A type of device: its configuration, its features, what its requests do.
pub trait DeviceType: Send + 'static {
    /// Its number.
    const TYPE: u16;
    /// Base class and subclass of the PCI function.
    const CLASS: (u8, u8);
    /// Device id of a transitional device.
    const TRANSITIONAL: u16;

    /// Features of this type that are offered.
    fn features(&self) -> u64;

    /// How many queues there are.
    fn queues(&self) -> u16;

    /// The configuration as bytes.
    fn configuration(&self) -> Vec<u8>;

    /// Takes a write to the configuration; false where nothing can be written.
    fn write_configuration(&mut self, offset: usize, bytes: &[u8]) -> bool;

    /// What was negotiated.
    fn negotiated(&mut self, features: Features);

    /// The device was reset.
    fn reset(&mut self);

    /// Whether these features go together.
    fn is_consistent(&self, features: Features) -> bool {
        let _ = features;
        true
    }

    /// What a request is, for fault rules; a number of the type's own choice.
    fn kind(&self, bus: &mut dyn Bus, queue: u16, request: &Request) -> u32;

    /// How much longer than others a request of this kind takes.
    fn extra_latency(&self, kind: u32) -> Duration {
        let _ = kind;
        Duration::ZERO
    }

    /// Carries a request out and says how many bytes were written to it.
    fn execute(&mut self, execution: Execution<'_>) -> u32;

    /// Whether the chains of a queue wait until something arrives for them, instead of being carried out.
    fn waits(&self, queue: u16) -> bool {
        let _ = queue;
        false
    }

    /// Whether [`arrive`](Self::arrive) would find something.
    fn has_arrived(&self, queue: u16, waiting: &[Request]) -> bool {
        let _ = (queue, waiting);
        false
    }

    /// Takes what has arrived first, in parts of which each goes to one of the chains that wait, in their order; `None` where there is
    /// nothing, or no room for it.
    fn arrive(
        &mut self,
        queue: u16,
        waiting: &[Request],
        violations: &mut Vec<Violation>,
    ) -> Option<Vec<Vec<u8>>> {
        let _ = (queue, waiting, violations);
        None
    }
}
