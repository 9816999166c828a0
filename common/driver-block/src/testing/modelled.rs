//! A driver on a model of its device, as tests that fit every driver see it.

use redox_driver_sys::{dma::DmaBuffer, model::Host};

use crate::{
    device::{Controller, DiskId},
    local::LocalEngine,
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
