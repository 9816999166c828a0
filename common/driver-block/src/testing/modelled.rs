//! A driver on a model of its device, as tests that fit every driver see it.

use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer},
    model::Host,
    time::Clock,
};

use crate::{
    device::{Controller, DiskId},
    local::LocalEngine,
    queue::QueueOptions,
    recovery::RecoveryPolicy,
};

/// A model of a device.
pub trait Modelled: Sized {
    /// Its driver.
    type Controller: Controller;

    /// The machine that it is in.
    fn host(&self) -> &Host;

    /// Whether it reaches no memory any more.
    fn is_quiet(&self) -> bool {
        !self.host().bus_master()
    }

    /// A block as it would be read now.
    fn block(&self, disk: DiskId, lba: u64) -> Vec<u8>;

    /// A block as it would be after a power cut.
    fn durable_block(&self, disk: DiskId, lba: u64) -> Vec<u8>;

    /// Pulls it out of the machine.
    fn pull_out(&self) {
        self.host().set_connected(false);
    }

    /// What was not flushed is lost.
    fn cut_power(&self);

    /// What the driver did that no driver may, and forgets it.
    fn violations(&self) -> Vec<String>;
}

/// A device with its driver under the block layer.
#[derive(Debug)]
pub struct Started<M: Modelled> {
    /// The device.
    pub device: M,
    /// Its driver.
    pub engine: LocalEngine<M::Controller>,
    /// Memory that it reaches.
    pub buffer: DmaBuffer,
    /// The disk.
    pub disk: DiskId,
}

impl<M: Modelled> Started<M> {
    /// Puts the driver of `device` under the block layer, for the first of its disks, with `bytes` of memory.
    ///
    /// # Panics
    /// There is no disk, or no memory.
    #[allow(clippy::unwrap_used, reason = "a test, used by those of drivers")]
    pub fn new(
        device: M,
        controller: M::Controller,
        dma: &DmaAllocator,
        clock: &Clock,
        bytes: usize,
        options: &QueueOptions,
    ) -> Self {
        let buffer = dma.allocate(bytes).unwrap();
        let disk = controller.disks().first().unwrap().id;
        let engine = LocalEngine::new(controller, clock, options, RecoveryPolicy::default()).unwrap();
        Started { device, engine, buffer, disk }
    }
}
