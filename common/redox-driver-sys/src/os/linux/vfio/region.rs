//! The regions of a device: BARs and configuration space.

use std::{
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    ptr::{NonNull, null_mut},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vfio_bindings::bindings::vfio;

use super::{abi, capability};
use crate::{
    dma::PAGE_SIZE,
    error::{Error, Result},
    mmio::{Mapping, Mmio},
};

/// Where a region is in the device's descriptor, and which parts of it can be mapped.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) size: u64,
    mappable: Vec<Range<u64>>,
}

impl Region {
    pub(super) fn of(device: BorrowedFd<'_>, index: u32) -> std::io::Result<Self> {
        let info = abi::region_info(device, index)?;
        let mut mappable = Vec::new();
        if info.fixed.flags & vfio::VFIO_REGION_INFO_FLAG_MMAP != 0 {
            let sparse = (info.fixed.flags & vfio::VFIO_REGION_INFO_FLAG_CAPS != 0)
                .then(|| {
                    let id = vfio::VFIO_REGION_INFO_CAP_SPARSE_MMAP;
                    capability::find(&info.bytes, info.fixed.cap_offset, id)
                })
                .flatten();
            match sparse {
                Some(areas) => mappable.extend(areas_within(&capability::pairs(areas), info.fixed.size)),
                None => mappable.push(0..info.fixed.size),
            }
        }
        Ok(Region { offset: info.fixed.offset, size: info.fixed.size, mappable })
    }

    /// Maps the region as BAR `bar`. The parts that cannot be mapped (an MSI-X table on old kernels) are no registers of
    /// the result.
    pub(super) fn map(&self, device: BorrowedFd<'_>, bar: u8) -> Result<Mmio> {
        let failed = |reason: &str| Error::Bar { bar, reason: reason.to_string() };
        let len = usize::try_from(self.size).map_err(|_| failed("too long to be mapped"))?;
        if self.mappable.is_empty() {
            return Err(failed("VFIO does not let it be mapped"));
        }
        let os = |what: &str, error: rustix::io::Errno| Error::os(format!("{what} BAR {bar}"), error);
        let whole = len.checked_next_multiple_of(PAGE_SIZE).ok_or_else(|| failed("too long to be mapped"))?;
        // The whole range is reserved first, so that the parts keep their distance.
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(null_mut(), whole, ProtFlags::empty(), MapFlags::PRIVATE) }
            .map_err(|error| os("reserve room for", error))?;
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| failed("mapped at address zero"))?;
        // From here on the reservation is given back on every path, by dropping this.
        let mapping = Mapping { base, len, gaps: gaps(&self.mappable, self.size), unmap: unmap_region };
        for area in &self.mappable {
            let start = usize::try_from(area.start).map_err(|_| failed("too long to be mapped"))?;
            let length =
                usize::try_from(area.end - area.start).map_err(|_| failed("too long to be mapped"))?;
            // SAFETY: `areas_within` keeps the area inside the reservation, which nobody else uses.
            let mapped = unsafe {
                mmap(
                    base.as_ptr().add(start).cast(),
                    length,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED | MapFlags::FIXED,
                    device.as_fd(),
                    self.offset + area.start,
                )
            };
            mapped.map_err(|error| os("map", error))?;
        }
        Ok(Mmio::mapped(mapping))
    }
}

fn unmap_region(base: NonNull<u8>, len: usize) {
    // SAFETY: called once by the owner of the mapping, of which no register is left.
    if let Err(error) = unsafe { munmap(base.as_ptr().cast(), len.next_multiple_of(PAGE_SIZE)) } {
        log::error!("a BAR of {len} bytes stays mapped: {error}");
    }
}

/// The areas (offset, size) that lie in a region of `size` bytes, in order, each of whole pages.
fn areas_within(areas: &[(u64, u64)], size: u64) -> Vec<Range<u64>> {
    let page = PAGE_SIZE as u64;
    let fits = |&(start, len): &(u64, u64)| {
        let end = start.checked_add(len).filter(|&end| len > 0 && end <= size)?;
        start.is_multiple_of(page).then_some(start..end)
    };
    let mut areas: Vec<_> = areas.iter().filter_map(fits).collect();
    areas.sort_by_key(|area| area.start);
    areas
}

/// What lies between the mapped areas.
fn gaps(mapped: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut end = 0;
    for area in mapped {
        if area.start > end {
            gaps.push(end..area.start);
        }
        end = end.max(area.end);
    }
    if end < size {
        gaps.push(end..size);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_gaps() {
        let areas = areas_within(&[(0x3000, 0x1000), (0, 0x2000), (0x4000, 0x10000), (0x800, 0x800)], 0x5000);
        assert_eq!(areas, [0..0x2000, 0x3000..0x4000]);
        assert_eq!(gaps(&areas, 0x5000), [0x2000..0x3000, 0x4000..0x5000]);
        assert_eq!(gaps(std::slice::from_ref(&(0..0x5000)), 0x5000), []);
        assert_eq!(areas_within(&[(u64::MAX, 0x1000), (0, 0)], u64::MAX), []);
    }
}
