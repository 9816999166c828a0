//! Memory that belongs to the CPU.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use super::{PAGE_SIZE, whole_pages};
use crate::error::{Error, Result};

/// Zeroed, page-aligned bytes that fill whole pages, so that lending them to a device lends nothing else.
pub struct HostBuffer {
    memory: NonNull<u8>,
    len: usize,
    layout: Layout,
}

// SAFETY: plain owned memory.
unsafe impl Send for HostBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for HostBuffer {}

impl HostBuffer {
    /// Allocates `len` zeroed bytes.
    ///
    /// # Errors
    /// [`Error::DmaMemory`] when there is no memory.
    pub fn new(len: usize) -> Result<Self> {
        let none = |reason| Error::DmaMemory { len, align: PAGE_SIZE, mask: u64::MAX, reason };
        let layout =
            Layout::from_size_align(whole_pages(len)?, PAGE_SIZE).map_err(|_| none("length overflows"))?;
        // SAFETY: the layout's size is at least one page.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).ok_or_else(|| none("the system has no memory"))?;
        Ok(HostBuffer { memory, len, layout })
    }

    pub(super) fn pages(&self) -> (NonNull<u8>, usize) {
        (self.memory, self.layout.size())
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

impl Deref for HostBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that this value owns; a buffer lent to a device is inside a `Mapping`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for HostBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostBuffer({} bytes)", self.len)
    }
}
