//! Memory that a ring shares with its device. Under `--cfg loom` every interleaving of the accesses is tried.

#[cfg(loom)]
mod modelled;

#[cfg(not(loom))]
pub(super) use std::sync::atomic::fence;

#[cfg(loom)]
pub(super) use loom::sync::atomic::fence;
#[cfg(loom)]
pub(super) use modelled::Shared;
use redox_driver_sys::dma::DmaAllocator;
#[cfg(not(loom))]
pub(super) use redox_driver_sys::dma::DmaSlice as Shared;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Allocates `count` elements. Every area starts on a page, which is more than any alignment of section 2.7 or 2.8.
pub(super) fn allocate<T: FromBytes + IntoBytes + Immutable>(
    dma: &DmaAllocator,
    count: usize,
) -> redox_driver_sys::Result<Shared<T>> {
    Shared::new(dma.allocate(count * size_of::<T>())?, count)
}
