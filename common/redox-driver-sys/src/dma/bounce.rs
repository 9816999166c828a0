//! The bounce pool (Linux: SWIOTLB): memory that a device with few address bits can reach, through which the bytes of
//! other memory are copied.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{Backend, DmaAddr, DmaBuffer, PAGE_SIZE};
use crate::error::{Error, Result};

/// Pages per pool. A transfer longer than this cannot be bounced.
const POOL_PAGES: usize = 1024;

/// What the bounce pool of an allocator did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BounceStatistics {
    /// Number of copies towards the device.
    pub copies_in: u64,
    /// Number of copies from the device.
    pub copies_out: u64,
    /// Bytes copied in both directions.
    pub bytes: u64,
    /// Pages of the pool in use.
    pub pages_in_use: u64,
}

#[derive(Default)]
pub(super) struct BouncePool {
    pages: Mutex<Option<Pages>>,
    copies_in: AtomicU64,
    copies_out: AtomicU64,
    bytes: AtomicU64,
}

struct Pages {
    memory: DmaBuffer,
    used: Vec<bool>,
}

impl BouncePool {
    /// Takes a slot for `len` bytes out of the pool, which is allocated below `mask` on first use.
    pub(super) fn take(
        self: &Arc<Self>,
        backend: &Arc<dyn Backend>,
        mask: u64,
        len: usize,
    ) -> Result<BounceSlot> {
        let mut guard = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = match &mut *guard {
            Some(pages) => pages,
            empty => empty.insert(Pages {
                memory: DmaBuffer::new(
                    backend.clone(),
                    backend.allocate(POOL_PAGES * PAGE_SIZE, PAGE_SIZE, mask)?,
                    POOL_PAGES * PAGE_SIZE,
                ),
                used: vec![false; POOL_PAGES],
            }),
        };
        let count = len.div_ceil(PAGE_SIZE).max(1);
        let first = (0..pages.used.len())
            .find(|&at| pages.used.get(at..at + count).is_some_and(|run| !run.contains(&true)));
        let Some(first) = first else {
            return Err(Error::DmaMemory { len, align: PAGE_SIZE, mask, reason: "the bounce pool is full" });
        };
        pages.used[first..first + count].fill(true);
        let memory = pages.memory.slice(first * PAGE_SIZE..(first + count) * PAGE_SIZE)?;
        Ok(BounceSlot { pool: self.clone(), memory, first, count, abandoned: false })
    }

    pub(super) fn statistics(&self) -> BounceStatistics {
        let guard = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let used = guard.as_ref().map_or(0, |pages| pages.used.iter().filter(|&&used| used).count());
        BounceStatistics {
            copies_in: self.copies_in.load(Ordering::Relaxed),
            copies_out: self.copies_out.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            pages_in_use: used as u64,
        }
    }
}

/// Pages of the pool that stand in for a buffer; they go back when it is dropped.
pub(super) struct BounceSlot {
    pool: Arc<BouncePool>,
    memory: DmaBuffer,
    first: usize,
    count: usize,
    abandoned: bool,
}

impl BounceSlot {
    pub(super) fn addr(&self) -> DmaAddr {
        self.memory.addr()
    }

    pub(super) fn copy_in(&self, source: &[u8]) -> Result<()> {
        self.pool.copies_in.fetch_add(1, Ordering::Relaxed);
        self.pool.bytes.fetch_add(source.len() as u64, Ordering::Relaxed);
        self.memory.copy_from(0, source)
    }

    /// Gives the pages to nobody for as long as the pool lives: the device, which reaches all of it, may not be done with
    /// them.
    pub(super) fn abandon(mut self) {
        log::warn!("{} pages of the bounce pool are lost to an unfinished transfer", self.count);
        self.abandoned = true;
    }

    pub(super) fn copy_out(&self, target: &mut [u8]) -> Result<()> {
        self.pool.copies_out.fetch_add(1, Ordering::Relaxed);
        self.pool.bytes.fetch_add(target.len() as u64, Ordering::Relaxed);
        self.memory.copy_to(0, target)
    }
}

impl Drop for BounceSlot {
    fn drop(&mut self) {
        if self.abandoned {
            return;
        }
        // What another transfer left behind must not be readable by the device during the next one.
        let cleared = self.memory.fill(0, self.memory.len(), 0);
        debug_assert!(cleared.is_ok());
        let mut guard = self.pool.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = guard.as_mut().and_then(|p| p.used.get_mut(self.first..self.first + self.count)) {
            run.fill(false);
        }
    }
}
