//! A model as the back end of [`crate::pci::PciFunction`] and [`crate::dma::DmaAllocator`].

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    sync::Arc,
};

use super::{
    bus::Window,
    host::{Bar, DmaMode, Host},
};
use crate::{
    dma::{Backend, Block, DmaAllocator, DmaDirection, IovaSpace, PAGE_SIZE},
    error::{Error, Result},
    irq::{Interrupt, InterruptKind, Source},
    mmio::Mmio,
    pci::{FunctionBackend, Width},
    time::Clock,
};

/// Where the model's machine gives out DMA addresses. Low enough that a 32-bit device reaches the first part.
const DMA_SPACE: std::ops::RangeInclusive<u64> = 0x10_0000..=0xff_ffff_ffff;

pub(super) struct ModelFunction {
    host: Host,
    allocator: DmaAllocator,
}

impl ModelFunction {
    pub(super) fn new(host: Host, mode: DmaMode) -> Self {
        let other = match mode {
            DmaMode::Iommu => None,
            DmaMode::Physical { memory_at } => Some(IovaSpace::new([memory_at..=u64::MAX >> 1])),
        };
        let backend = ModelDma { host: host.clone(), space: IovaSpace::new([DMA_SPACE]), other };
        ModelFunction { host, allocator: DmaAllocator::new(Arc::new(backend)) }
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
        match self.host.lock().device.config().bar_len(bar) {
            0 => Err(Error::Bar { bar, reason: "there is none".to_string() }),
            len => Ok(Mmio::model(Bar { host: self.host.clone(), bar }, len)),
        }
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

struct ModelDma {
    host: Host,
    space: IovaSpace,
    /// Without an IOMMU: where memory that was not allocated for DMA is.
    other: Option<IovaSpace>,
}

impl ModelDma {
    fn layout(len: usize) -> Result<Layout> {
        Layout::from_size_align(len, PAGE_SIZE).map_err(|_| no_memory(len, u64::MAX))
    }
}

fn no_memory(len: usize, mask: u64) -> Error {
    Error::DmaMemory { len, align: PAGE_SIZE, mask, reason: "the model's machine has none left" }
}

// SAFETY: memory comes zeroed from the heap and is exclusively the caller's; a window is removed from the device's view
// under the machine's lock before its memory is freed.
unsafe impl Backend for ModelDma {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        let layout = Self::layout(len)?;
        let addr = self.space.take(len as u64, align as u64, mask).ok_or_else(|| no_memory(len, mask))?;
        // SAFETY: the caller asks for at least one page.
        let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            self.space.give_back(addr, len as u64);
            return Err(no_memory(len, mask));
        };
        let window = Window { memory, len, device_reads: true, device_writes: true };
        self.host.lock().machine.windows.insert(addr, window);
        Ok(Block { memory, len, addr })
    }

    fn release(&self, block: &Block) {
        self.host.lock().machine.windows.remove(&block.addr);
        self.space.give_back(block.addr, block.len as u64);
        if let Ok(layout) = Self::layout(block.len) {
            // SAFETY: allocated with this layout in `allocate`; the device no longer sees it.
            unsafe { dealloc(block.memory.as_ptr(), layout) };
        }
    }

    unsafe fn map(
        &self,
        memory: NonNull<u8>,
        len: usize,
        direction: DmaDirection,
        mask: u64,
    ) -> Result<Option<u64>> {
        let space = self.other.as_ref().unwrap_or(&self.space);
        let Some(addr) = space.take(len as u64, PAGE_SIZE as u64, mask) else {
            // Without an IOMMU the memory is where it is: bounce. With one, address space ran out.
            return if self.other.is_some() { Ok(None) } else { Err(no_memory(len, mask)) };
        };
        let window = Window {
            memory,
            len,
            device_reads: direction.device_reads(),
            device_writes: direction.device_writes(),
        };
        self.host.lock().machine.windows.insert(addr, window);
        Ok(Some(addr))
    }

    fn unmap(&self, addr: u64, len: usize) -> Result<()> {
        self.host.lock().machine.windows.remove(&addr);
        self.other.as_ref().unwrap_or(&self.space).give_back(addr, len as u64);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "model"
    }

    fn is_translated(&self) -> bool {
        self.other.is_none()
    }
}
