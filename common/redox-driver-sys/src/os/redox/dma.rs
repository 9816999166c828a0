//! Physically contiguous memory for devices that no IOMMU holds back.

use std::{
    collections::BTreeMap,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::memory::{PhysicalMemory, unmap};
use crate::{
    dma::{Backend, Block, DmaDirection, Lent, PAGE_SIZE},
    error::{Error, Result},
};

/// How often memory is asked for again because what came lies beyond the device's reach.
const MOST_ATTEMPTS: usize = 16;
/// Released memory that may wait for bus mastering to be switched off. Beyond this nothing more is given out.
const MOST_RETIRED: usize = 64 << 20;

/// Gives out contiguous physical memory. The device reaches all memory for as long as it may master the bus, so that what
/// is released is kept until it may not.
pub(super) struct PhysDmaAllocator {
    pub(super) memory: PhysicalMemory,
    state: Mutex<State>,
}

struct State {
    bus_master: bool,
    /// What was mapped for a block, by the block's address: alignment can take more than the block itself.
    mapped: BTreeMap<u64, Mapped>,
    /// Released while the device could still reach it.
    retired: Vec<Retired>,
    retired_bytes: usize,
}

struct Mapped {
    memory: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory that is only unmapped, once, by whoever takes it out of the state.
unsafe impl Send for Mapped {}

impl Mapped {
    fn free(self) {
        unmap(self.memory, self.len);
    }
}

enum Retired {
    Mapped(Mapped),
    Lent(Lent),
}

impl PhysDmaAllocator {
    pub(super) fn new(memory: PhysicalMemory) -> Self {
        let state =
            State { bus_master: true, mapped: BTreeMap::new(), retired: Vec::new(), retired_bytes: 0 };
        PhysDmaAllocator { memory, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device may master the bus from now on, to be called before it can; or no longer, to be called when it cannot:
    /// then everything that was released goes back to the system.
    pub(super) fn set_bus_master(&self, on: bool) {
        let mut state = self.lock();
        state.bus_master = on;
        if on {
            return;
        }
        state.retired_bytes = 0;
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        for memory in retired {
            match memory {
                Retired::Mapped(mapped) => mapped.free(),
                Retired::Lent(lent) => drop(lent),
            }
        }
    }

    /// Maps at least `len` bytes so that the part of `wanted` bytes at the returned offset is aligned and below `mask`.
    fn map_below(&self, len: usize, wanted: usize, align: usize, mask: u64) -> Result<Option<(Mapped, u64)>> {
        // The kernel takes a power of two pages anyway, and when less of them is unmapped it loses the rest, or panics later.
        let Some(len) = len.checked_next_power_of_two() else { return Ok(None) };
        // What does not fit is held until the end, or the same memory would come again.
        let mut unfit = Vec::new();
        let mut found = None;
        for _ in 0..MOST_ATTEMPTS {
            let (memory, address) = match self.memory.allocate(len) {
                Ok(allocated) => allocated,
                Err(error) if unfit.is_empty() => return Err(error),
                Err(_) => break,
            };
            let mapped = Mapped { memory, len };
            let start = address.checked_next_multiple_of(align as u64);
            let end = start.and_then(|start| start.checked_add(wanted as u64 - 1));
            match (start, end) {
                (Some(start), Some(end)) if end <= mask && end < address + len as u64 => {
                    found = Some((mapped, start - address));
                    break;
                }
                _ => unfit.push(mapped),
            }
        }
        for mapped in unfit {
            mapped.free();
        }
        Ok(found)
    }
}

// SAFETY: memory comes zeroed from the kernel and is exclusively the caller's. It is unmapped only while the device may
// not master the bus, and is kept until then. What `map` lends is the lender's to keep until the transfer is over, since
// nothing but the device itself ends it here; memory of unknown state comes back through `abandon`.
unsafe impl Backend for PhysDmaAllocator {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        let none = |reason| Error::DmaMemory { len, align, mask, reason };
        if self.lock().retired_bytes > MOST_RETIRED {
            return Err(none("too much released memory waits for bus mastering to be switched off"));
        }
        // Most memory is aligned by itself; otherwise a part of a larger piece is.
        let mut found = self.map_below(len, len, align, mask)?;
        if found.is_none() && align > PAGE_SIZE {
            let more = len.checked_add(align).ok_or_else(|| none("length overflows"))?;
            found = self.map_below(more, len, align, mask)?;
        }
        let (mapped, offset) = found.ok_or_else(|| none("no physical memory there"))?;
        let skip = usize::try_from(offset).map_err(|_| none("length overflows"))?;
        // SAFETY: `map_below` found `len` bytes from `skip` on inside the mapping.
        let memory = unsafe { mapped.memory.add(skip) };
        let addr = match self.memory.physical_address(memory) {
            Ok(addr) => addr,
            Err(error) => {
                mapped.free();
                return Err(error);
            }
        };
        self.lock().mapped.insert(addr, mapped);
        Ok(Block { memory, len, addr })
    }

    fn release(&self, block: &Block) {
        let mut state = self.lock();
        let Some(mapped) = state.mapped.remove(&block.addr) else { return };
        if state.bus_master {
            state.retired_bytes = state.retired_bytes.saturating_add(mapped.len);
            state.retired.push(Retired::Mapped(mapped));
        } else {
            drop(state);
            mapped.free();
        }
    }

    unsafe fn map(
        &self,
        memory: NonNull<u8>,
        len: usize,
        _direction: DmaDirection,
        mask: u64,
    ) -> Result<Option<u64>> {
        let mut first = None;
        for offset in (0..len).step_by(PAGE_SIZE) {
            // SAFETY: inside the caller's memory, which nobody else touches meanwhile.
            let page = unsafe { memory.add(offset) };
            // A page that was never written to is not there yet, or is one that others share.
            // SAFETY: as above; the byte keeps its value.
            unsafe { page.write_volatile(page.read_volatile()) };
            let address = self.memory.physical_address(page)?;
            let start = *first.get_or_insert(address);
            if Some(address) != start.checked_add(offset as u64) {
                return Ok(None);
            }
        }
        Ok(first.filter(|start| start.checked_add(len as u64 - 1).is_some_and(|end| end <= mask)))
    }

    fn unmap(&self, _addr: u64, _len: usize) -> Result<()> {
        Ok(())
    }

    fn abandon(&self, memory: Lent) {
        let mut state = self.lock();
        if state.bus_master {
            let len = match &memory {
                Lent::Buffer(buffer) => buffer.len(),
                // Other processes have it as well: to keep it costs nothing.
                Lent::Shared(_) => 0,
            };
            state.retired_bytes = state.retired_bytes.saturating_add(len);
            state.retired.push(Retired::Lent(memory));
        }
    }

    fn name(&self) -> &'static str {
        "phys"
    }

    fn is_translated(&self) -> bool {
        false
    }
}

impl Drop for PhysDmaAllocator {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.bus_master && !state.retired.is_empty() {
            // The device was not stopped: better to lose the memory than to have it written to in other hands.
            log::error!("{} bytes of DMA memory are kept: the device may still write", state.retired_bytes);
            std::mem::forget(std::mem::take(&mut state.retired));
        }
    }
}
