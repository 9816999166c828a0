//! An allocator of address ranges as the device sees them.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Mutex, PoisonError},
};

use super::PAGE_SIZE;

/// Which ranges of an I/O address space are free. A guard page stays unmapped behind each range, so that a device that
/// runs past the end of a buffer faults instead of hitting the next one.
#[derive(Debug)]
pub(crate) struct IovaSpace {
    /// Free ranges: start → length in bytes. Neighbours are always joined.
    free: Mutex<BTreeMap<u64, u64>>,
}

impl IovaSpace {
    /// A space in which exactly `usable` may be given out, except address 0.
    pub(crate) fn new(usable: impl IntoIterator<Item = RangeInclusive<u64>>) -> Self {
        let page = PAGE_SIZE as u64;
        let mut free = BTreeMap::new();
        for range in usable {
            let start = (*range.start()).max(page).next_multiple_of(page);
            // Up to the last whole page; the very last page of the address space is not used.
            let end = range.end() / page * page;
            if start < end {
                free.insert(start, end - start);
            }
        }
        IovaSpace { free: Mutex::new(free) }
    }

    /// Takes `len` bytes (whole pages) aligned to `align`, the last of them at most at `mask`. Lowest address first.
    pub(crate) fn take(&self, len: u64, align: u64, mask: u64) -> Option<u64> {
        let guarded = len.checked_add(PAGE_SIZE as u64)?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, size, at) = free.iter().find_map(|(&start, &size)| {
            let at = start.checked_next_multiple_of(align)?;
            let fits =
                at.checked_add(guarded)? <= start.checked_add(size)? && at.checked_add(len - 1)? <= mask;
            fits.then_some((start, size, at))
        })?;
        free.remove(&start);
        if at > start {
            free.insert(start, at - start);
        }
        let rest = start + size - (at + guarded);
        if rest > 0 {
            free.insert(at + guarded, rest);
        }
        Some(at)
    }

    /// Gives back what `take` gave for the same length.
    pub(crate) fn give_back(&self, at: u64, len: u64) {
        let mut start = at;
        let mut size = len + PAGE_SIZE as u64;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = free.remove(&(start + size)) {
            size += next;
        }
        if let Some((&before, &length)) = free.range(..start).next_back()
            && before + length == start
        {
            free.remove(&before);
            start = before;
            size += length;
        }
        free.insert(start, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_was_split() {
        let space = IovaSpace::new([0..=0xff_ffff]);
        let ranges: Vec<_> =
            (1..9u64).map(|n| (space.take(n * 4096, 4096, u64::MAX).unwrap(), n * 4096)).collect();
        for &(at, len) in ranges.iter().step_by(2).chain(ranges.iter().skip(1).step_by(2)) {
            space.give_back(at, len);
        }
        assert_eq!(space.free.lock().unwrap().iter().collect::<Vec<_>>(), [(&0x1000, &(0xff_f000 - 0x1000))]);
    }

    #[test]
    fn honours_mask_alignment_and_guard() {
        let space = IovaSpace::new([0xffff_0000..=0x1_0010_0000]);
        assert_eq!(space.take(0x10000, 4096, 0xffff_ffff), Some(0xffff_0000));
        assert_eq!(space.take(4096, 4096, 0xffff_ffff), None);
        assert_eq!(space.take(4096, 4096, u64::MAX), Some(0x1_0000_1000), "a guard page in between");
        assert_eq!(space.take(4096, 0x8000, u64::MAX), Some(0x1_0000_8000));
        assert_eq!(space.take(u64::MAX - 8191, 4096, u64::MAX), None);
    }
}
