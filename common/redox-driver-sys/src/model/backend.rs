//! A model as the back end of [`crate::pci::PciFunction`].

use super::host::Host;
use crate::{
    dma::DmaAllocator,
    error::{Error, Result},
    irq::{Interrupt, InterruptKind, Source},
    mmio::Mmio,
    pci::{FunctionBackend, Width},
    time::Clock,
};

pub(super) struct ModelFunction {
    host: Host,
    allocator: DmaAllocator,
}

impl ModelFunction {
    pub(super) fn new(host: Host, allocator: DmaAllocator) -> Self {
        ModelFunction { host, allocator }
    }
}

impl FunctionBackend for ModelFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let mut state = self.host.lock();
        if !state.machine.connected {
            return Ok(u32::MAX >> (32 - 8 * width.bytes()));
        }
        Ok(state.device.config().read(offset, width.bytes()))
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let mut state = self.host.lock();
        if state.machine.connected {
            let reset = state.device.config().write(offset, width.bytes(), value);
            state.config_written(reset);
        }
        Ok(())
    }

    fn map_bar(&self, bar: u8) -> Result<Mmio> {
        self.host.registers(bar)
    }

    fn enable_interrupts(&self, kind: InterruptKind, count: usize) -> Result<Vec<Interrupt>> {
        if self.host.interrupts_refused(kind) {
            return Err(Error::Unsupported(format!("{kind} is switched off in this machine")));
        }
        let mut state = self.host.lock();
        if kind != InterruptKind::Intx && !state.device.config().messages(kind == InterruptKind::MsiX) {
            return Err(Error::Unsupported(format!("the model has no {kind}")));
        }
        let lines = state.machine.lines.enable(kind, count);
        Ok(lines.into_iter().map(|line| Interrupt(Source::Model(line))).collect())
    }

    fn dma_allocator(&self) -> Result<DmaAllocator> {
        Ok(self.allocator.clone())
    }

    fn reset(&self) -> Result<()> {
        self.host.lock().reset_device();
        Ok(())
    }

    fn clock(&self) -> Clock {
        self.host.clock()
    }
}
