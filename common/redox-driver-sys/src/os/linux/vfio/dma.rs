//! Memory behind the IOMMU, mapped through VFIO.

use std::{
    ffi::c_void,
    ptr::{NonNull, null_mut},
    sync::Arc,
};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::container::Container;
use crate::{
    dma::{Backend, Block, DmaDirection, IovaSpace, PAGE_SIZE},
    error::{Error, Result},
};

/// Gives out anonymous memory under addresses of the device's own I/O address space. The kernel pins what is mapped.
pub(super) struct VfioDmaAllocator {
    container: Arc<Container>,
    space: IovaSpace,
}

impl VfioDmaAllocator {
    pub(super) fn new(container: Arc<Container>) -> Result<Self> {
        let space = IovaSpace::new(container.usable_addresses()?);
        Ok(VfioDmaAllocator { container, space })
    }

    fn take(&self, len: usize, align: usize, mask: u64) -> Result<u64> {
        self.space.take(len as u64, align as u64, mask).ok_or(Error::DmaMemory {
            len,
            align,
            mask,
            reason: "the IOMMU's address space is full",
        })
    }

    /// # Safety
    /// As [`Container::map`].
    unsafe fn map_at(
        &self,
        memory: NonNull<u8>,
        addr: u64,
        len: usize,
        direction: DmaDirection,
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.container.map(memory.as_ptr(), addr, len, direction) }
            .inspect_err(|_| self.space.give_back(addr, len as u64))
    }
}

fn anonymous(len: usize) -> Result<NonNull<u8>> {
    let step = || format!("allocate {len} bytes for DMA");
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory =
        unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }
            .map_err(|error| Error::os(step(), error))?;
    // A child process must not make the pages copy-on-write, or the device would go on with the old ones.
    // SAFETY: the mapping was just made.
    if let Err(error) = unsafe { madvise(memory, len, Advice::LinuxDontFork) } {
        unmap_anonymous(memory, len);
        return Err(Error::os(step(), error));
    }
    NonNull::new(memory.cast()).ok_or_else(|| Error::os(step(), std::io::ErrorKind::OutOfMemory))
}

fn unmap_anonymous(memory: *mut c_void, len: usize) {
    // SAFETY: called once for what `anonymous` mapped, when nobody uses it any more.
    if let Err(error) = unsafe { munmap(memory, len) } {
        log::error!("{len} bytes of memory stay mapped: {error}");
    }
}

// SAFETY: memory comes zeroed from the kernel and is exclusively the caller's; it is unmapped from the process, or
// declared unreachable, only after VFIO has removed it from the IOMMU's tables, and is kept for ever where that failed.
unsafe impl Backend for VfioDmaAllocator {
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block> {
        let addr = self.take(len, align, mask)?;
        let memory = anonymous(len).inspect_err(|_| self.space.give_back(addr, len as u64))?;
        // SAFETY: the memory was just mapped and is kept until `release` has unmapped it.
        match unsafe { self.map_at(memory, addr, len, DmaDirection::Bidirectional) } {
            Ok(()) => Ok(Block { memory, len, addr }),
            Err(error) => {
                unmap_anonymous(memory.as_ptr().cast(), len);
                Err(error)
            }
        }
    }

    fn release(&self, block: &Block) {
        match self.container.unmap(block.addr, block.len) {
            Ok(()) => {
                unmap_anonymous(block.memory.as_ptr().cast(), block.len);
                self.space.give_back(block.addr, block.len as u64);
            }
            Err(error) => log::error!("memory is kept, since the device still reaches it: {error}"),
        }
    }

    unsafe fn map(
        &self,
        memory: NonNull<u8>,
        len: usize,
        direction: DmaDirection,
        mask: u64,
    ) -> Result<Option<u64>> {
        let addr = self.take(len, PAGE_SIZE, mask)?;
        // SAFETY: the caller keeps the memory until `unmap`.
        unsafe { self.map_at(memory, addr, len, direction) }?;
        Ok(Some(addr))
    }

    fn unmap(&self, addr: u64, len: usize) -> Result<()> {
        self.container.unmap(addr, len)?;
        self.space.give_back(addr, len as u64);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "vfio"
    }
}
