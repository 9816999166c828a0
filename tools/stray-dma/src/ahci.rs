//! An AHCI controller with a disk, by way of its driver.

use std::time::Duration;

use ahcid::{AhciController, Options};
use anyhow::{Context, Result};
use driver_block::{Controller, Disk, LocalEngine, QueueOptions, RecoveryPolicy, Segments};
use redox_driver_sys::dma::{DmaAddr, DmaAllocator, Segment};
use redox_driver_sys::pci::PciFunction;

use crate::Device;

/// Longest wait for a read, with the resets that a blocked one leads to.
const ANSWER: Duration = Duration::from_secs(100);
const PAGE: u32 = 4096;

/// The first disk of a controller.
pub(crate) struct Ahci {
    engine: LocalEngine<AhciController>,
    dma: DmaAllocator,
    disk: Disk,
}

impl Ahci {
    pub(crate) fn start(function: PciFunction) -> Result<Self> {
        let options = Options { command_timeout: Duration::from_secs(2), ..Options::default() };
        let controller = AhciController::attach(function, options)?;
        let (dma, clock) = (controller.dma().clone(), controller.clock().clone());
        let queue = QueueOptions::new(4, controller.command_timeout());
        let engine = LocalEngine::new(controller, &clock, &queue, RecoveryPolicy::default())?;
        let disk = engine.disks().first().context("the controller has no disk")?.clone();
        Ok(Ahci { engine, dma, disk })
    }
}

impl Device for Ahci {
    fn dma(&self) -> Result<DmaAllocator> {
        Ok(self.dma.clone())
    }

    fn addresses(&self) -> Vec<u64> {
        // Its own structures are the driver's secret; all of them are mapped.
        Vec::new()
    }

    /// The disk's first page.
    fn write_to(&mut self, address: u64) -> Result<String> {
        let segment = Segment { addr: DmaAddr::new(address), len: PAGE };
        let blocks = u64::from(PAGE / self.disk.limits.block_size);
        self.engine.read(self.disk.id, 0, blocks, Segments::from_slice(&[segment]), ANSWER)?;
        Ok("done".to_string())
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.engine.shutdown(ANSWER).context("shut the controller down")
    }
}
