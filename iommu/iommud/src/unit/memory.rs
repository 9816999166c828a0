//! Memory of a unit's tables and rings.

use redox_driver_sys::{
    Result,
    dma::{DmaAllocator, DmaBuffer, DmaSlice},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Gives out memory under physical addresses, for as long as the unit exists and longer, if need be: a unit that is
/// enabled reads its tables whether or not their owner still is there.
pub(super) struct TableMemory {
    allocator: DmaAllocator,
    buffers: Vec<DmaBuffer>,
}

impl TableMemory {
    pub(super) fn new(allocator: DmaAllocator) -> Self {
        TableMemory { allocator, buffers: Vec::new() }
    }

    /// `count` zeroed elements.
    pub(super) fn slice<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        count: usize,
    ) -> Result<DmaSlice<T>> {
        let buffer = self.allocator.allocate(count * size_of::<T>())?;
        self.buffers.push(buffer.clone());
        DmaSlice::new(buffer, count)
    }

    /// Never gives the memory back.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.buffers));
    }
}
