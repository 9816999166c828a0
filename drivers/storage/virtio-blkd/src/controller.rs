//! A device from attaching to shutting down.

mod setup;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use driver_block::{BlockError, Controller, ControllerEvent, Disk};
use redox_driver_sys::{
    dma::DmaAllocator,
    error::chain,
    irq::{Interrupt, InterruptKind},
    mmio::{ReadClears, Register},
    pci::PciAddress,
    time::{Clock, Time},
};
use virtio_core::{Features, Transport};
use virtio_spec::{
    blk::{BlkConfig, Lifetime},
    pci::InterruptStatus,
};

use crate::{
    disk::{self, Shape},
    error::{Error, Result},
    io::{Counters, IoQueue},
    options::Options,
};

/// A virtio block device that this process owns.
///
/// Fields are dropped in this order: the device is reset and bus mastering is off before its memory is freed.
pub struct BlkController {
    transport: Transport,
    name: String,
    options: Options,
    features: Features,
    offered: Features,
    config: BlkConfig,
    /// The generation of the configuration that was read; `None` if it has to be read again.
    generation: Option<u8>,
    shape: Shape,
    serial: String,
    lifetime: Option<Lifetime>,
    disk: Option<Disk>,
    interrupt_kind: InterruptKind,
    configuration_interrupt: Option<Interrupt>,
    /// The vector of changes of the configuration, with MSI-X.
    configuration_vector: Option<u16>,
    /// With the interrupt pin, where no queue has it: where its reason is read.
    reason: Option<Register<InterruptStatus, ReadClears>>,
    shares_interrupt: bool,
    queues: Vec<IoQueue>,
    queue_count: u16,
    queue_size: u16,
    counters: Arc<Counters>,
    resets: u64,
}

impl BlkController {
    /// What the device at `address` is called: `pci-0000-00-05.0_virtio_blk`.
    pub fn name_at(address: PciAddress) -> String {
        format!("pci-{}_virtio_blk", address.scheme_name())
    }

    /// What was negotiated.
    pub fn features(&self) -> Features {
        self.features
    }

    /// What the device offers.
    pub fn offered(&self) -> Features {
        self.offered
    }

    /// What the device said of itself last.
    pub fn configuration(&self) -> &BlkConfig {
        &self.config
    }

    /// How worn the device said it is when it was attached, if it tells.
    pub fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// How the device interrupts.
    pub fn interrupt_kind(&self) -> InterruptKind {
        self.interrupt_kind
    }

    /// Number of request queues.
    pub fn queue_count(&self) -> u16 {
        self.queue_count
    }

    /// Entries of each queue's ring.
    pub fn queue_size(&self) -> u16 {
        self.queue_size
    }

    /// The allocator of memory that the device can reach, for the buffers of requests.
    pub fn dma(&self) -> &DmaAllocator {
        self.transport.dma()
    }

    /// The clock that the device's deadlines go by.
    pub fn clock(&self) -> &Clock {
        self.transport.clock()
    }

    /// Counts of the queues.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How often the device was reset since it was attached.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    fn log_failure(&self, what: &str, error: &Error) {
        log::error!("{}: {what}: {}", self.name, chain(error));
    }

    /// Looks whether the device can go on, and whether it is still as it was.
    fn look(&mut self, events: &mut Vec<ControllerEvent>) -> Result<()> {
        if self.transport.status()?.needs_reset() {
            events.push(ControllerEvent::ResetNeeded("DEVICE_NEEDS_RESET".to_string()));
            return Ok(());
        }
        if let Some(reason) = &self.reason {
            // Lets the pin fall; whether the configuration changed is seen below.
            reason.read_and_clear();
        }
        let announced = self.counters.configuration_changed.swap(false, Ordering::AcqRel);
        if !announced && self.generation == Some(self.transport.generation()) {
            return Ok(());
        }
        self.read_configuration()?;
        let before = self.disk.take();
        match self.make_disk() {
            Ok(disk) => {
                if before.as_ref() != Some(&disk) {
                    events.push(ControllerEvent::DiskChanged(disk.clone()));
                }
                self.disk = Some(disk);
            }
            Err(reason) => {
                log::error!("{}: the disk is no longer served: {reason}", self.name);
                events.extend(before.map(|disk| ControllerEvent::DiskRemoved(disk.id)));
            }
        }
        Ok(())
    }

    /// Whether requests are still of the shape that the queues give them.
    fn check_shape(&self) -> Result<(), String> {
        let shape = Shape::new(&self.config, self.features, self.shape.segments)?;
        if shape != self.shape || disk::segments(&self.config, self.features) < self.shape.segments {
            return Err("it has other blocks or segments than before".to_string());
        }
        Ok(())
    }

    /// The disk that the configuration describes.
    fn make_disk(&self) -> Result<Disk, String> {
        self.check_shape()?;
        disk::disk(&self.config, self.features, self.shape, &self.serial)
    }
}

impl Controller for BlkController {
    type Queue = IoQueue;

    fn name(&self) -> &str {
        &self.name
    }

    fn disks(&self) -> Vec<Disk> {
        self.disk.iter().cloned().collect()
    }

    fn take_queues(&mut self) -> Vec<IoQueue> {
        std::mem::take(&mut self.queues)
    }

    fn command_timeout(&self) -> Duration {
        self.options.command_timeout
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.configuration_interrupt.as_ref()
    }

    fn shares_interrupt(&self) -> bool {
        self.shares_interrupt
    }

    fn poll(&mut self, _now: Time, events: &mut Vec<ControllerEvent>) -> Result<(), BlockError> {
        self.look(events).map_err(|error| {
            self.log_failure("poll", &error);
            error.as_block_error()
        })
    }

    /// There is no such request: what takes too long ends with the device's reset.
    fn abort(&mut self, _queue: u16, _handle: u32) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }

    /// Resets the whole device, also where it could reset one queue (RING_RESET): the specification does not say what becomes of
    /// requests that were begun, and those must not touch memory any more.
    fn reset(&mut self, mut queues: Vec<IoQueue>) -> Result<Vec<IoQueue>, BlockError> {
        self.resets += 1;
        log::warn!("{}: device reset {}", self.name, self.resets);
        if let Err(error) = self.restart(&mut queues) {
            self.log_failure("reset", &error);
            // Before the queues' memory is freed: the device may have them already.
            self.transport.cut_off();
            return Err(match error.as_block_error() {
                BlockError::Gone => BlockError::Gone,
                _ => BlockError::TimedOut,
            });
        }
        Ok(queues)
    }

    fn shutdown(&mut self, queues: Vec<IoQueue>) -> Result<(), BlockError> {
        // Caches were flushed by the block layer: virtio has no other farewell.
        let ended = self.transport.reset().map_err(Error::from);
        self.transport.cut_off();
        drop(queues);
        ended.map_err(|error| {
            self.log_failure("shutdown", &error);
            error.as_block_error()
        })
    }

    fn inspect(&mut self) -> String {
        self.report()
    }
}
