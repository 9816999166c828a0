//! Physical memory of a machine, which several devices may share.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::BTreeMap,
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::bus::DmaFault;
use crate::{
    dma::{Backend, Block, DmaAllocator, DmaDirection, IovaSpace, PAGE_SIZE},
    error::{Error, Result},
};

/// Where memory that was allocated for DMA lies. Low enough that a 32-bit device reaches the first part.
const LOW: std::ops::RangeInclusive<u64> = 0x10_0000..=0xff_ffff_ffff;
/// Where the rest of the process's memory lies in a machine that devices share.
const HIGH: u64 = 0x100_0000_0000;

/// Memory of the machine that models of devices reach by DMA: what was allocated for that, or lent. Clones are the same.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    /// Start → window; no two overlap.
    windows: Mutex<BTreeMap<u64, Window>>,
    low: Arc<IovaSpace>,
    high: Arc<IovaSpace>,
}

/// Memory of the process at an address of the machine.
pub(super) struct Window {
    memory: NonNull<u8>,
    pub(super) len: usize,
    device_reads: bool,
    device_writes: bool,
}

// SAFETY: the window's memory is plain bytes that its owner keeps until the window is removed.
unsafe impl Send for Window {}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({:#x} bytes)", self.len())
    }
}

impl Memory {
    /// A machine in which no memory is in use.
    pub fn new() -> Self {
        let low = Arc::new(IovaSpace::new([LOW]));
        let high = Arc::new(IovaSpace::new([HIGH..=(1 << 51)]));
        Memory(Arc::new(Inner { windows: Mutex::default(), low, high }))
    }

    /// Gives out memory by its physical address.
    pub fn allocator(&self) -> DmaAllocator {
        let (space, other) = (self.0.low.clone(), Some(self.0.high.clone()));
        DmaAllocator::new(Arc::new(ModelDma { memory: self.clone(), space, other }))
    }

    /// Gives out memory at addresses of a device's own, or at physical ones with other memory from `memory_at` on.
    pub(super) fn allocator_of_device(&self, memory_at: Option<u64>) -> DmaAllocator {
        let other = memory_at.map(|start| Arc::new(IovaSpace::new([start..=u64::MAX >> 1])));
        let space = Arc::new(IovaSpace::new([LOW]));
        DmaAllocator::new(Arc::new(ModelDma { memory: self.clone(), space, other }))
    }

    /// Number of bytes in use.
    pub(super) fn len(&self) -> usize {
        self.windows().values().map(|window| window.len).sum()
    }

    /// Reads as the processor would, whatever devices may.
    ///
    /// # Errors
    /// The fault, when there is no memory.
    pub fn read(&self, addr: u64, target: &mut [u8]) -> Result<(), DmaFault> {
        self.copy_out(&[(addr, target.len())], target)
    }

    /// Writes as the processor would.
    ///
    /// # Errors
    /// The fault, when there is no memory, or it may only be read.
    pub fn write(&self, addr: u64, source: &[u8]) -> Result<(), DmaFault> {
        self.copy_in(&[(addr, source.len())], source)
    }

    /// Reads `pieces` (address and length), one behind the other; they fill the target. All or nothing.
    pub(super) fn copy_out(&self, pieces: &[(u64, usize)], target: &mut [u8]) -> Result<(), DmaFault> {
        self.access(pieces, false, |memory, done, count| {
            // SAFETY: `count` bytes from `memory` are inside a window; the target is another object.
            unsafe { memory.as_ptr().copy_to_nonoverlapping(target[done..done + count].as_mut_ptr(), count) };
        })
    }

    /// Writes `pieces`, one behind the other; they take all of the source. All or nothing.
    pub(super) fn copy_in(&self, pieces: &[(u64, usize)], source: &[u8]) -> Result<(), DmaFault> {
        self.access(pieces, true, |memory, done, count| {
            // SAFETY: `count` bytes from `memory` are inside a window that the device may write; no reference to it
            // exists (shared memory is accessed by value, lent memory not at all).
            unsafe { memory.as_ptr().copy_from_nonoverlapping(source[done..done + count].as_ptr(), count) };
        })
    }

    /// Splits ranges over adjacent windows and gives each part to `part`: where it is, how many bytes were before it, and
    /// how many it has.
    fn access(
        &self,
        pieces: &[(u64, usize)],
        write: bool,
        mut part: impl FnMut(NonNull<u8>, usize, usize),
    ) -> Result<(), DmaFault> {
        let windows = self.windows();
        let mut parts = Vec::new();
        let mut total = 0;
        for &(addr, len) in pieces {
            let mut done = 0;
            while done < len {
                let at = addr.checked_add(done as u64);
                let window = at.and_then(|at| Some((at, windows.range(..=at).next_back()?)));
                let found = window.and_then(|(at, (start, window))| {
                    let skip = usize::try_from(at - start).ok()?;
                    let allowed = if write { window.device_writes } else { window.device_reads };
                    (skip < window.len && allowed).then_some((window, skip))
                });
                let (window, skip) = found.ok_or(DmaFault { addr, len, write })?;
                let count = (window.len - skip).min(len - done);
                // SAFETY: `skip` is inside the window.
                parts.push((unsafe { window.memory.add(skip) }, total + done, count));
                done += count;
            }
            total += len;
        }
        for (memory, before, count) in parts {
            part(memory, before, count);
        }
        Ok(())
    }

    fn windows(&self) -> MutexGuard<'_, BTreeMap<u64, Window>> {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives out memory of the machine.
struct ModelDma {
    memory: Memory,
    space: Arc<IovaSpace>,
    /// Without an IOMMU: where memory that was not allocated for DMA is.
    other: Option<Arc<IovaSpace>>,
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
// under the lock of the windows before its memory is freed.
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
        self.memory.windows().insert(addr, window);
        Ok(Block { memory, len, addr })
    }

    fn release(&self, block: &Block) {
        self.memory.windows().remove(&block.addr);
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
        self.memory.windows().insert(addr, window);
        Ok(Some(addr))
    }

    fn unmap(&self, addr: u64, len: usize) -> Result<()> {
        self.memory.windows().remove(&addr);
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
