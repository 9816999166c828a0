//! DMA memory as loom sees it: what one side writes, the other one may see late, unless fences forbid it.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use loom::sync::atomic::{AtomicU32, Ordering, fence};
use redox_driver_sys::{
    dma::{DmaAddr, DmaBuffer},
    mmio::Word,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An element. Its last four bytes, or all it has, are those that one side publishes to the other.
#[derive(Debug)]
struct Element {
    published: AtomicU32,
    rest: Mutex<Vec<u8>>,
}

/// Stands for [`redox_driver_sys::dma::DmaSlice`]; clones are the same memory.
#[derive(Clone, Debug)]
pub(in crate::queue) struct Shared<T> {
    elements: Arc<[Element]>,
    buffer: DmaBuffer,
    kind: PhantomData<fn() -> T>,
}

impl<T: FromBytes + IntoBytes + Immutable> Shared<T> {
    const PUBLISHED: usize = if size_of::<T>() < 4 { size_of::<T>() } else { 4 };
    const REST: usize = size_of::<T>() - Self::PUBLISHED;

    pub(in crate::queue) fn new(buffer: DmaBuffer, count: usize) -> redox_driver_sys::Result<Self> {
        let element = |_| Element { published: AtomicU32::new(0), rest: Mutex::new(vec![0; Self::REST]) };
        Ok(Shared { elements: (0..count).map(element).collect(), buffer, kind: PhantomData })
    }

    pub(in crate::queue) fn addr(&self) -> DmaAddr {
        self.buffer.addr()
    }

    pub(in crate::queue) fn addr_of(&self, index: usize) -> DmaAddr {
        self.addr().offset((index * size_of::<T>()) as u64)
    }

    pub(in crate::queue) fn read(&self, index: usize) -> T {
        let element = &self.elements[index];
        let published = element.published.load(Ordering::Relaxed).to_le_bytes();
        let mut bytes = element.rest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bytes.extend(&published[..Self::PUBLISHED]);
        T::read_from_bytes(&bytes).ok().unwrap()
    }

    pub(in crate::queue) fn write(&self, index: usize, value: T) {
        let element = &self.elements[index];
        let (rest, published) = value.as_bytes().split_at(Self::REST);
        element.rest.lock().unwrap_or_else(PoisonError::into_inner).copy_from_slice(rest);
        let mut word = [0; 4];
        word[..Self::PUBLISHED].copy_from_slice(published);
        element.published.store(u32::from_le_bytes(word), Ordering::Relaxed);
    }

    pub(in crate::queue) fn load_acquire<W: Word>(&self, index: usize, field: usize) -> W {
        let word = self.elements[index].published.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        W::from_u64(u64::from(word >> (8 * (field - Self::REST))))
    }

    pub(in crate::queue) fn store_release<W: Word>(&self, index: usize, field: usize, word: W) {
        assert_eq!((field, size_of::<W>()), (Self::REST, Self::PUBLISHED));
        fence(Ordering::Release);
        #[allow(clippy::cast_possible_truncation, reason = "as wide as what is published")]
        self.elements[index].published.store(word.to_u64() as u32, Ordering::Relaxed);
    }

    /// Nobody else has the memory yet.
    pub(in crate::queue) fn clear(&self) {
        for element in &*self.elements {
            element.published.store(0, Ordering::Relaxed);
        }
    }
}
