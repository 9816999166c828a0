//! An AHCI controller with a disk, by way of its driver.

use std::time::Duration;

use ahcid::{AhciController, Options};
use anyhow::{Context, Result, ensure};
use driver_block::{BlockError, Controller, Disk, LocalEngine, QueueOptions, RecoveryPolicy, Segments};
use redox_driver_sys::{
    dma::{DmaAddr, DmaBuffer, Segment},
    pci::PciFunction,
};

/// Longest wait for a read, with the resets that a blocked one leads to.
const ANSWER: Duration = Duration::from_secs(100);
/// What the mapped buffer holds before it is written.
const BLANK: u8 = 0x5a;
const PAGE: u32 = 4096;

/// The first disk of a controller.
pub(crate) struct Ahci {
    engine: LocalEngine<AhciController>,
    disk: Disk,
    mapped: DmaBuffer,
}

impl Ahci {
    pub(crate) fn start(function: PciFunction) -> Result<Self> {
        let options = Options { command_timeout: Duration::from_secs(2), ..Options::default() };
        let controller = AhciController::attach(function, options)?;
        let clock = controller.clock().clone();
        let mapped = controller.dma().allocate(PAGE as usize)?;
        let queue = QueueOptions::new(4, controller.command_timeout());
        let engine = LocalEngine::new(controller, &clock, &queue, RecoveryPolicy::default())?;
        let disk = engine.disks().first().context("the controller has no disk")?.clone();
        let mut ahci = Ahci { engine, disk, mapped };
        ahci.mapped.fill(0, PAGE as usize, BLANK)?;
        let own = ahci.mapped.addr().get();
        ahci.read_to(own).context("a read into a mapped buffer")?;
        let mut read = vec![0; PAGE as usize];
        ahci.mapped.copy_to(0, &mut read)?;
        ensure!(read.iter().any(|&byte| byte != BLANK), "a read into a mapped buffer left it as it was");
        Ok(ahci)
    }

    /// An address that is mapped.
    pub(crate) fn address(&self) -> u64 {
        self.mapped.addr().get()
    }

    /// Has the disk's first page written to `address`.
    pub(crate) fn read_to(&mut self, address: u64) -> Result<(), BlockError> {
        let segment = Segment { addr: DmaAddr::new(address), len: PAGE };
        let blocks = u64::from(PAGE / self.disk.limits.block_size);
        self.engine.read(self.disk.id, 0, blocks, Segments::from_slice(&[segment]), ANSWER)
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.engine.shutdown(ANSWER).context("shut the controller down")
    }
}
