//! Memory that a ring shares with its device.

pub(super) use std::sync::atomic::fence;

pub(super) use redox_driver_sys::dma::DmaSlice as Shared;
use redox_driver_sys::dma::{DmaAllocator, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Allocates `count` elements. Every area starts on a page, which is more than any alignment of section 2.7 or 2.8.
pub(super) fn allocate<T: FromBytes + IntoBytes + Immutable>(
    dma: &DmaAllocator,
    count: usize,
) -> redox_driver_sys::Result<Shared<T>> {
    Shared::new(dma.allocate_aligned(count * size_of::<T>(), PAGE_SIZE)?, count)
}
