//! Memory of several processes, shared with the device.

use std::{fmt, sync::Arc};

use super::{Backend, DmaAddr, DmaDirection, Lent, PAGE_SIZE, Segment};
use crate::{
    error::{Error, Result},
    shared::SharedMemory,
};

/// [`SharedMemory`] that the device may reach for as long as this lives. Clones share it.
///
/// Behind an IOMMU it is contiguous for the device; without one its pages are where the system had room.
#[derive(Clone)]
pub struct DmaPages(Arc<Adopted>);

struct Adopted {
    /// `None` once it was given up.
    memory: Option<SharedMemory>,
    backend: Arc<dyn Backend>,
    /// Of each page.
    places: Vec<Place>,
    /// What the backend mapped: address and length.
    mapped: Vec<(u64, usize)>,
}

/// Where a page is for the device.
#[derive(Clone, Copy, Debug)]
struct Place {
    addr: u64,
    /// Contiguous bytes from the start of the page on.
    run: usize,
}

impl DmaPages {
    pub(super) fn new(backend: &Arc<dyn Backend>, mask: u64, memory: &SharedMemory) -> Result<Self> {
        let len = memory.len();
        let mut adopted = Adopted {
            memory: Some(memory.clone()),
            backend: backend.clone(),
            places: Vec::with_capacity(len / PAGE_SIZE),
            mapped: Vec::new(),
        };
        if !adopted.map(memory, 0, len, mask)? {
            for offset in (0..len).step_by(PAGE_SIZE) {
                if !adopted.map(memory, offset, PAGE_SIZE, mask)? {
                    let reason = "shared memory lies beyond the device's reach";
                    return Err(Error::DmaMemory { len, align: PAGE_SIZE, mask, reason });
                }
            }
        }
        let mut next = None;
        for place in adopted.places.iter_mut().rev() {
            if let Some(Place { addr, run }) = next
                && place.addr.checked_add(PAGE_SIZE as u64) == Some(addr)
            {
                place.run += run;
            }
            next = Some(*place);
        }
        Ok(DmaPages(Arc::new(adopted)))
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.places.len() * PAGE_SIZE
    }

    /// Whether there are no bytes: never.
    pub fn is_empty(&self) -> bool {
        self.0.places.is_empty()
    }

    /// The `len` bytes from `offset` on as a scatter-gather list, as short as it can be.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when they do not lie within.
    #[inline]
    pub fn segments(&self, offset: usize, len: u32) -> Result<impl Iterator<Item = Segment> + '_> {
        if offset.checked_add(len as usize).is_none_or(|end| end > self.len()) {
            return Err(self.out_of_bounds(offset, len));
        }
        Ok(Segments { places: &self.0.places, at: offset, left: len })
    }

    #[cold]
    fn out_of_bounds(&self, offset: usize, len: u32) -> Error {
        Error::OutOfBounds { offset: offset as u64, len: len.into(), region: self.len() as u64 }
    }
}

impl fmt::Debug for DmaPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaPages({:#x} bytes)", self.len())
    }
}

struct Segments<'a> {
    places: &'a [Place],
    at: usize,
    left: u32,
}

impl Iterator for Segments<'_> {
    type Item = Segment;
    #[inline]
    fn next(&mut self) -> Option<Segment> {
        if self.left == 0 {
            return None;
        }
        let place = self.places.get(self.at / PAGE_SIZE)?;
        let skip = self.at % PAGE_SIZE;
        let len = u32::try_from(place.run - skip).unwrap_or(u32::MAX).min(self.left);
        self.at += len as usize;
        self.left -= len;
        Some(Segment { addr: DmaAddr::new(place.addr).offset(skip as u64), len })
    }
}

impl Adopted {
    /// Lets the device reach the `len` bytes from `offset` on in one piece, if that can be.
    fn map(&mut self, memory: &SharedMemory, offset: usize, len: usize, mask: u64) -> Result<bool> {
        let at = memory.range(offset, len)?;
        // SAFETY: whole pages that `self` keeps until they were unmapped; everybody accesses them by value.
        let Some(addr) = (unsafe { self.backend.map(at, len, DmaDirection::Bidirectional, mask) })? else {
            return Ok(false);
        };
        self.mapped.push((addr, len));
        let pages = (0..len).step_by(PAGE_SIZE);
        self.places.extend(pages.map(|skip| Place { addr: addr + skip as u64, run: PAGE_SIZE }));
        Ok(true)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        for &(addr, len) in &self.mapped {
            if let Err(error) = self.backend.unmap(addr, len) {
                log::error!("shared memory is kept, since the device still reaches it: {error}");
                std::mem::forget(memory);
                return;
            }
        }
        self.backend.abandon(Lent::Shared(memory));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ptr::NonNull,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;
    use crate::dma::{Block, DmaAllocator};

    /// Physical memory in which pages come in runs of three.
    #[derive(Default)]
    struct Scattered {
        mapped: AtomicUsize,
    }

    // SAFETY: gives out nothing.
    unsafe impl Backend for Scattered {
        fn allocate(&self, _: usize, _: usize, _: u64) -> Result<Block> {
            Err(Error::Unsupported("allocation".into()))
        }
        fn release(&self, _: &Block) {}
        unsafe fn map(&self, _: NonNull<u8>, len: usize, _: DmaDirection, mask: u64) -> Result<Option<u64>> {
            if len > PAGE_SIZE {
                return Ok(None);
            }
            let page = self.mapped.load(Ordering::Relaxed) as u64;
            let addr = 0x1ff_0000 + page / 3 * 0x1_0000 + page % 3 * PAGE_SIZE as u64;
            if addr + PAGE_SIZE as u64 - 1 > mask {
                return Ok(None);
            }
            self.mapped.fetch_add(1, Ordering::Relaxed);
            Ok(Some(addr))
        }
        fn unmap(&self, _: u64, len: usize) -> Result<()> {
            assert_eq!(len, PAGE_SIZE);
            self.mapped.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
        fn name(&self) -> &'static str {
            "scattered"
        }
    }

    #[test]
    fn scattered_pages_make_the_shortest_list() {
        let backend = Arc::new(Scattered::default());
        let memory = SharedMemory::new(10 * PAGE_SIZE).unwrap();
        let pages = DmaAllocator::new(backend.clone()).adopt(&memory).unwrap();
        assert_eq!(pages.len(), 10 * PAGE_SIZE);
        let list = |offset, len| -> Vec<(u64, u32)> {
            pages.segments(offset, len).unwrap().map(|s| (s.addr.get(), s.len)).collect()
        };
        assert_eq!(list(0, 0), []);
        assert_eq!(list(100, 4096), [(0x1ff_0064, 4096)]);
        assert_eq!(list(4096, 16384), [(0x1ff_1000, 8192), (0x200_0000, 8192)]);
        assert_eq!(list(2 * 4096 + 1, 4096), [(0x1ff_2001, 4095), (0x200_0000, 1)]);
        let whole = list(0, 40960);
        assert_eq!(
            whole,
            [(0x1ff_0000, 12288), (0x200_0000, 12288), (0x201_0000, 12288), (0x202_0000, 4096)]
        );
        assert!(pages.segments(1, 40960).is_err());
        assert!(pages.segments(usize::MAX, 1).is_err());
        drop(pages);
        assert_eq!(backend.mapped.load(Ordering::Relaxed), 0, "each page was unmapped");
    }

    #[test]
    fn what_a_device_cannot_reach_is_refused_and_undone() {
        let backend = Arc::new(Scattered::default());
        let memory = SharedMemory::new(4 * PAGE_SIZE).unwrap();
        let narrow = DmaAllocator::new(backend.clone()).with_address_bits(25);
        assert!(matches!(narrow.adopt(&memory), Err(Error::DmaMemory { mask: 0x1ff_ffff, .. })));
        assert_eq!(backend.mapped.load(Ordering::Relaxed), 0);
    }
}
