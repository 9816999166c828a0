//! Memory that a device can reach.
//!
//! Four kinds of memory, with types of their own:
//!
//! * [`DmaBuffer`] and [`DmaSlice`] are shared with the device for as long as they live (rings, tables, data that is
//!   mapped once). They are read and written by value; no reference into them exists.
//! * [`HostBuffer`] belongs to the CPU alone and is an ordinary byte slice.
//! * [`Mapping`] is a `HostBuffer` lent to the device for one transfer, in the direction that its type names; the
//!   bytes come back when it is unmapped.
//!
//! * [`DmaPages`] are memory of several processes ([`SharedMemory`]), shared with the device as well.
//!
//! Memory is given back to the system only when the device can no longer reach it: behind an IOMMU that is as soon
//! as the mapping is invalidated, without one only after bus mastering is off.

mod bounce;
mod host;
#[cfg(any(target_os = "linux", feature = "model"))]
mod iova;
mod pages;
mod shared;
mod slice;
mod streaming;
#[cfg(target_os = "linux")]
mod transfer;

use std::{fmt, ptr::NonNull, sync::Arc};

use bounce::BouncePool;
pub use bounce::BounceStatistics;
pub use host::HostBuffer;
#[cfg(any(target_os = "linux", feature = "model"))]
pub(crate) use iova::IovaSpace;
pub use pages::DmaPages;
pub use shared::DmaBuffer;
pub use slice::DmaSlice;
pub use streaming::{Bidirectional, Direction, DmaDirection, FromDevice, Mapping, ToDevice};
#[cfg(target_os = "linux")]
pub use transfer::{MAX_PARTS, write_to};

use crate::{
    error::{Error, Result},
    shared::SharedMemory,
};

/// The page size that DMA mappings are made of, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// An address as the device sees it: physical without an IOMMU, virtual behind one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmaAddr(u64);

impl DmaAddr {
    /// The address with this value.
    pub const fn new(address: u64) -> Self {
        DmaAddr(address)
    }

    /// The value to be put into a descriptor or register.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, wrapping like the bus does.
    #[must_use]
    pub const fn offset(self, bytes: u64) -> Self {
        DmaAddr(self.0.wrapping_add(bytes))
    }
}

impl fmt::LowerHex for DmaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// A range that is contiguous for the device: one entry of a scatter-gather list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where the range starts.
    pub addr: DmaAddr,
    /// Its length in bytes.
    pub len: u32,
}

/// Memory that a backend gave out.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) memory: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) addr: u64,
}

// SAFETY: a block is plain memory; whoever holds it orders its accesses.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// Where DMA memory comes from.
///
/// # Safety
/// `allocate` gives memory that is zeroed, page-aligned, exclusively the caller's and valid until `release`.
/// After `release` returns, or `unmap` without an error, the device cannot reach the memory, or it is never reused while
/// it can.
pub(crate) unsafe trait Backend: Send + Sync {
    /// Allocates `len` bytes (a multiple of the page size), contiguous for the device, aligned to `align` for the
    /// device, not reaching beyond address `mask`.
    fn allocate(&self, len: usize, align: usize, mask: u64) -> Result<Block>;
    /// Takes memory back.
    fn release(&self, block: &Block);
    /// Makes whole pages of the caller's memory visible to the device. `None`: not possible below `mask`, bounce.
    ///
    /// # Safety
    /// The memory stays valid until `unmap`, and until then is touched by nobody but the device, or by value only.
    unsafe fn map(
        &self,
        memory: NonNull<u8>,
        len: usize,
        direction: DmaDirection,
        mask: u64,
    ) -> Result<Option<u64>>;
    /// Ends what `map` began. After an error the device may still reach the memory, which must then be kept.
    fn unmap(&self, addr: u64, len: usize) -> Result<()>;
    /// Takes memory that `map` had lent and `unmap` ended while a transfer may not have been over: frees it when the
    /// device can no longer reach it.
    fn abandon(&self, memory: Lent) {
        drop(memory);
    }
    /// What to call it in a log.
    fn name(&self) -> &'static str;
    /// Whether an IOMMU stands between the device and the memory, so that addresses mean nothing without it.
    fn is_translated(&self) -> bool {
        true
    }
}

/// Memory of the caller that `map` had lent to the device.
#[derive(Debug)]
#[allow(dead_code, reason = "what it is kept for is what happens when it is dropped")]
pub(crate) enum Lent {
    /// The process's own.
    Buffer(HostBuffer),
    /// Shared with other processes, which may keep it.
    Shared(SharedMemory),
}

/// Gives out memory for one device. Clones share everything.
#[derive(Clone)]
pub struct DmaAllocator {
    backend: Arc<dyn Backend>,
    bounce: Arc<BouncePool>,
    mask: u64,
}

impl fmt::Debug for DmaAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaAllocator")
            .field("backend", &self.backend.name())
            .field("mask", &format_args!("{:#x}", self.mask))
            .finish_non_exhaustive()
    }
}

impl DmaAllocator {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        DmaAllocator { backend, bounce: Arc::new(BouncePool::default()), mask: u64::MAX }
    }

    /// An allocator for a device that drives only the low `bits` address bits (Linux: `dma_set_mask`).
    /// It has a bounce pool of its own, which is filled on first use.
    #[must_use]
    pub fn with_address_bits(&self, bits: u32) -> Self {
        let mask = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        DmaAllocator { backend: self.backend.clone(), bounce: Arc::new(BouncePool::default()), mask }
    }

    /// The highest address that the device can reach.
    pub fn mask(&self) -> u64 {
        self.mask
    }

    /// What kind of allocator this is: `vfio`, `phys`, `iommu`, `model`.
    pub fn name(&self) -> &'static str {
        self.backend.name()
    }

    /// Whether addresses are translated on their way from the device. A device that goes around the translation, as some
    /// virtual ones do, must not be given them.
    pub fn is_translated(&self) -> bool {
        self.backend.is_translated()
    }

    /// Allocates `len` zeroed bytes that the device may reach from now on, contiguous and page-aligned.
    ///
    /// # Errors
    /// [`Error::DmaMemory`] or what the OS answers.
    pub fn allocate(&self, len: usize) -> Result<DmaBuffer> {
        self.allocate_aligned(len, PAGE_SIZE)
    }

    /// As [`Self::allocate`], with the device's address a multiple of `align`, a power of two.
    ///
    /// # Errors
    /// [`Error::DmaMemory`], [`Error::Invalid`] or what the OS answers.
    pub fn allocate_aligned(&self, len: usize, align: usize) -> Result<DmaBuffer> {
        if !align.is_power_of_two() {
            return Err(Error::Invalid {
                what: "DMA alignment is not a power of two",
                value: align.to_string(),
            });
        }
        let whole = whole_pages(len)?;
        let block = self.backend.allocate(whole, align.max(PAGE_SIZE), self.mask)?;
        Ok(DmaBuffer::new(self.backend.clone(), block, len))
    }

    /// Allocates `count` zeroed elements that the device may reach from now on.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    pub fn allocate_slice<T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable>(
        &self,
        count: usize,
    ) -> Result<DmaSlice<T>> {
        let len = count.checked_mul(size_of::<T>()).ok_or(Error::DmaMemory {
            len: usize::MAX,
            align: PAGE_SIZE,
            mask: self.mask,
            reason: "element count overflows",
        })?;
        DmaSlice::new(self.allocate(len)?, count)
    }

    /// Lends `buffer` to the device for one transfer in direction `D`. Copies through the bounce pool only where the
    /// device could not reach the buffer otherwise.
    ///
    /// # Errors
    /// [`Error::DmaMemory`] when neither a mapping nor a bounce slot is to be had; the buffer comes back with it.
    pub fn map_single<D: Direction>(
        &self,
        buffer: HostBuffer,
        _direction: D,
    ) -> Result<Mapping<D>, (Error, HostBuffer)> {
        streaming::map(&self.backend, &self.bounce, self.mask, buffer)
    }

    /// Lends a list of buffers to the device; all or none are mapped.
    ///
    /// # Errors
    /// As [`Self::map_single`]; all buffers come back with the error.
    pub fn map_sg<D: Direction>(
        &self,
        buffers: Vec<HostBuffer>,
        _direction: D,
    ) -> Result<Vec<Mapping<D>>, (Error, Vec<HostBuffer>)> {
        streaming::map_list(&self.backend, &self.bounce, self.mask, buffers)
    }

    /// Lets the device reach memory that other processes have too, for as long as what is returned lives.
    ///
    /// # Errors
    /// [`Error::DmaMemory`] when a part of it is beyond the device's reach, or what the OS answers.
    pub fn adopt(&self, memory: &SharedMemory) -> Result<DmaPages> {
        DmaPages::new(&self.backend, self.mask, memory)
    }

    /// How often and how much was copied because the device could not reach the memory itself.
    pub fn bounce_statistics(&self) -> BounceStatistics {
        self.bounce.statistics()
    }
}

/// `len` rounded up to whole pages, at least one.
fn whole_pages(len: usize) -> Result<usize> {
    len.max(1).checked_next_multiple_of(PAGE_SIZE).ok_or(Error::DmaMemory {
        len,
        align: PAGE_SIZE,
        mask: u64::MAX,
        reason: "length overflows",
    })
}
