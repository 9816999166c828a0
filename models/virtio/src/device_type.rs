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

    /// What a request is, for fault rules; a number of the type's own choice.
    fn kind(&self, bus: &mut dyn Bus, request: &Request) -> u32;

    /// How much longer than others a request of this kind takes.
    fn extra_latency(&self, kind: u32) -> Duration {
        let _ = kind;
        Duration::ZERO
    }

    /// Carries a request out and says how many bytes were written to it.
    fn execute(&mut self, execution: Execution<'_>) -> u32;
}
