//! Memory shared with the device.

use std::{
    fmt,
    ops::Range,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Backend, Block, DmaAddr, Segment};
use crate::{
    error::{Error, Result},
    mmio::Word,
};

/// Bytes that the CPU and the device may both access at any time. Clones and slices share the memory, which is given
/// back when the last of them is dropped.
#[derive(Clone)]
pub struct DmaBuffer {
    memory: Arc<Owner>,
    offset: usize,
    len: usize,
}

struct Owner {
    backend: Arc<dyn Backend>,
    block: Block,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.backend.release(&self.block);
    }
}

impl fmt::Debug for DmaBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaBuffer({:#x}+{:#x})", self.addr(), self.len)
    }
}

impl DmaBuffer {
    pub(super) fn new(backend: Arc<dyn Backend>, block: Block, len: usize) -> Self {
        debug_assert!(len <= block.len);
        DmaBuffer { memory: Arc::new(Owner { backend, block }), offset: 0, len }
    }

    /// Where the device finds the buffer.
    pub fn addr(&self) -> DmaAddr {
        DmaAddr::new(self.memory.block.addr).offset(self.offset as u64)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the buffer in this process, for handing the buffer to the operating system as the source or
    /// target of a transfer. It stays valid while the buffer lives.
    pub fn host_address(&self) -> usize {
        self.at(0).as_ptr().addr()
    }

    /// The part of the buffer in `range`, sharing the memory.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when the range does not lie within.
    pub fn slice(&self, range: Range<usize>) -> Result<DmaBuffer> {
        let len = range.end.saturating_sub(range.start);
        if range.start > range.end || range.end > self.len {
            return Err(self.out_of_bounds(range.start, len));
        }
        Ok(DmaBuffer { memory: self.memory.clone(), offset: self.offset + range.start, len })
    }

    /// `len` bytes from `offset` as an entry of a scatter-gather list.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    pub fn segment(&self, offset: usize, len: u32) -> Result<Segment> {
        self.check(offset, len as usize)?;
        Ok(Segment { addr: self.addr().offset(offset as u64), len })
    }

    /// Copies a value out, as it is in memory now.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not lie within.
    pub fn read<T: FromBytes>(&self, offset: usize) -> Result<T> {
        self.check(offset, size_of::<T>())?;
        // SAFETY: inside the allocation, which lives as long as `self`; any bytes make a `T` (FromBytes). The device
        // may write meanwhile: the value is a copy that is then judged, no reference to the memory is made.
        Ok(unsafe { self.at(offset).cast::<T>().read_unaligned() })
    }

    /// Copies a value in.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not lie within.
    pub fn write<T: IntoBytes + Immutable>(&self, offset: usize, value: T) -> Result<()> {
        self.check(offset, size_of::<T>())?;
        // SAFETY: inside the allocation, which lives as long as `self`; no reference to the memory exists.
        unsafe { self.at(offset).cast::<T>().write_unaligned(value) };
        Ok(())
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.check(offset, target.len())?;
        // SAFETY: the source is inside the allocation, the target is another object; bytes have no invalid values.
        unsafe { self.at(offset).as_ptr().copy_to_nonoverlapping(target.as_mut_ptr(), target.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        self.check(offset, source.len())?;
        // SAFETY: the target is inside the allocation, the source is another object; no reference to the target exists.
        unsafe { self.at(offset).as_ptr().copy_from_nonoverlapping(source.as_ptr(), source.len()) };
        Ok(())
    }

    /// Sets `len` bytes from `offset` to `value`.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    pub fn fill(&self, offset: usize, len: usize, value: u8) -> Result<()> {
        self.check(offset, len)?;
        // SAFETY: inside the allocation; no reference to the memory exists.
        unsafe { self.at(offset).as_ptr().write_bytes(value, len) };
        Ok(())
    }

    /// Reads an aligned integer that the device publishes: what the device wrote before it is visible afterwards.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not lie within or is not aligned.
    #[inline]
    pub fn load_acquire<W: Word>(&self, offset: usize) -> Result<W> {
        self.check_aligned(offset, size_of::<W>())?;
        // SAFETY: aligned and inside the allocation; an aligned integer does not tear.
        let word = unsafe { self.at(offset).cast::<W>().read_volatile() };
        fence(Ordering::Acquire);
        Ok(word)
    }

    /// Writes an aligned integer that the device looks at: what was written before it is visible first.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it does not lie within or is not aligned.
    #[inline]
    pub fn store_release<W: Word>(&self, offset: usize, word: W) -> Result<()> {
        self.check_aligned(offset, size_of::<W>())?;
        fence(Ordering::Release);
        // SAFETY: aligned and inside the allocation; no reference to the memory exists.
        unsafe { self.at(offset).cast::<W>().write_volatile(word) };
        Ok(())
    }

    /// The address of byte `offset`, which the caller has checked.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: `self.offset + self.len` lies within the block, and `offset` within `self.len`.
        unsafe { self.memory.block.memory.add(self.offset + offset) }
    }

    fn check(&self, offset: usize, len: usize) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(self.out_of_bounds(offset, len)),
        }
    }

    fn check_aligned(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len)?;
        if (self.offset + offset).is_multiple_of(len) { Ok(()) } else { Err(self.out_of_bounds(offset, len)) }
    }

    #[cold]
    fn out_of_bounds(&self, offset: usize, len: usize) -> Error {
        Error::OutOfBounds { offset: offset as u64, len: len as u64, region: self.len as u64 }
    }
}
