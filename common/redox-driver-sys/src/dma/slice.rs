//! Rings and tables: typed memory shared with the device.

use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{Ordering, fence},
};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{DmaAddr, DmaBuffer};
use crate::{
    error::{Error, Result},
    mmio::Word,
};

/// An array of `T` shared with the device. Elements go in and out by value.
///
/// Indexes are the driver's own and are checked as those of a slice are; an index that a device supplies must be
/// validated before it gets here.
pub struct DmaSlice<T> {
    buffer: DmaBuffer,
    len: usize,
    kind: PhantomData<T>,
}

impl<T> fmt::Debug for DmaSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaSlice({:#x} * {})", self.addr(), self.len)
    }
}

impl<T> DmaSlice<T> {
    /// Where the device finds the array.
    pub fn addr(&self) -> DmaAddr {
        self.buffer.addr()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the device finds element `index`.
    pub fn addr_of(&self, index: usize) -> DmaAddr {
        self.addr().offset(self.byte_offset(index) as u64)
    }

    #[inline]
    fn byte_offset(&self, index: usize) -> usize {
        assert!(index < self.len, "index {index} of a DMA slice of {} elements", self.len);
        index * size_of::<T>()
    }
}

impl<T: FromBytes + IntoBytes + Immutable> DmaSlice<T> {
    /// Views `buffer` as `count` elements.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when it is too short or not aligned for `T`.
    pub fn new(buffer: DmaBuffer, count: usize) -> Result<Self> {
        let fits = count.checked_mul(size_of::<T>()).is_some_and(|len| len <= buffer.len());
        if !fits || !buffer.host_address().is_multiple_of(align_of::<T>()) {
            let len = (count as u64).saturating_mul(size_of::<T>() as u64);
            return Err(Error::OutOfBounds { offset: 0, len, region: buffer.len() as u64 });
        }
        Ok(DmaSlice { buffer, len: count, kind: PhantomData })
    }

    /// Copies element `index` out, as it is in memory now.
    #[inline]
    pub fn read(&self, index: usize) -> T {
        let offset = self.byte_offset(index);
        // SAFETY: inside the buffer and aligned (see `new`); any bytes make a `T`.
        unsafe { self.buffer.at(offset).cast::<T>().read_volatile() }
    }

    /// Copies element `index` in. The device sees it at the latest when it is told by a register or by a
    /// [published](DmaBuffer::store_release) integer.
    #[inline(always)]
    pub fn write(&self, index: usize, value: T) {
        let offset = self.byte_offset(index);
        // SAFETY: inside the buffer and aligned (see `new`); no reference to the memory exists. A plain write, which the
        // compiler may do field by field in place: what tells the device comes after a release fence.
        unsafe { self.buffer.at(offset).cast::<T>().write(value) };
    }

    /// Reads the integer at byte `field` of element `index`, by which the device publishes the element: the rest of
    /// the element, read afterwards, is at least as new.
    #[inline]
    pub fn load_acquire<W: Word>(&self, index: usize, field: usize) -> W {
        let offset = self.byte_offset(index) + field;
        assert!(field + size_of::<W>() <= size_of::<T>() && offset.is_multiple_of(size_of::<W>()));
        // SAFETY: inside the element, which is inside the buffer, and aligned.
        let word = unsafe { self.buffer.at(offset).cast::<W>().read_volatile() };
        fence(Ordering::Acquire);
        word
    }

    /// Writes the integer at byte `field` of element `index`, by which the driver publishes the element: what was written
    /// before is visible to the device first.
    #[inline]
    pub fn store_release<W: Word>(&self, index: usize, field: usize, word: W) {
        let offset = self.byte_offset(index) + field;
        assert!(field + size_of::<W>() <= size_of::<T>() && offset.is_multiple_of(size_of::<W>()));
        fence(Ordering::Release);
        // SAFETY: inside the element, which is inside the buffer, and aligned; no reference to the memory exists.
        unsafe { self.buffer.at(offset).cast::<W>().write_volatile(word) };
    }

    /// Sets every byte to zero.
    pub fn clear(&self) {
        // SAFETY: the whole buffer; no reference to the memory exists; `T` accepts any bytes.
        unsafe { self.buffer.at(0).as_ptr().write_bytes(0, self.len * size_of::<T>()) };
    }
}
