//! How a command says where its data is: PRP entries (section 4.3) or scatter gather lists (section 4.4).

use driver_block::BlockError;
use nvme_spec::{Cdw0, SglDescriptor, SglType};
use redox_driver_sys::dma::{DmaBuffer, Segment};

/// Bytes of list memory per command: 256 PRP entries or 128 SGL descriptors. A power of two that divides the page, so
/// that no list crosses one.
pub(crate) const LIST_BYTES: usize = 2048;
const PRP_ENTRIES: usize = LIST_BYTES / size_of::<u64>();
const SGL_DESCRIPTORS: usize = LIST_BYTES / size_of::<SglDescriptor>();

/// Which of the two ways a controller's commands use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataPointer {
    page_mask: u64,
    sgl: bool,
}

impl DataPointer {
    /// For memory pages of `2 ^ page_shift` bytes; `sgl` if the controller has SGLs without alignment rules.
    pub(crate) fn new(page_shift: u32, sgl: bool) -> Self {
        DataPointer { page_mask: (1 << page_shift) - 1, sgl }
    }

    /// Most bytes of one transfer whose segments fit in a list whatever their alignment.
    pub(crate) fn max_transfer(self) -> u64 {
        PRP_ENTRIES as u64 * (self.page_mask + 1)
    }

    /// Most segments of one transfer.
    pub(crate) fn max_segments(self) -> u16 {
        #[allow(clippy::cast_possible_truncation, reason = "a small constant")]
        let most = if self.sgl { SGL_DESCRIPTORS } else { PRP_ENTRIES } as u16;
        most
    }

    /// Where segments may meet: anywhere with SGLs, on page boundaries with PRPs.
    pub(crate) fn segment_boundary(self) -> u32 {
        if self.sgl { 1 } else { u32::try_from(self.page_mask + 1).unwrap_or(u32::MAX) }
    }

    /// PSDT and DPTR for `segments`; a list, where one is needed, goes to byte `at` of `lists`.
    // The common case is a few comparisons: inlined, the entry is built in place.
    #[inline(always)]
    pub(crate) fn describe(
        self,
        segments: &[Segment],
        lists: &DmaBuffer,
        at: usize,
    ) -> Result<(u8, [u64; 2]), BlockError> {
        let Some(&first) = segments.first() else { return Err(BlockError::Invalid) };
        let start = first.addr.get();
        // Bytes up to the end of the second page: two PRP entries say it all.
        let in_two_pages = 2 * (self.page_mask + 1) - (start & self.page_mask);
        if segments.len() == 1 && u64::from(first.len) <= in_two_pages && start & 3 == 0 {
            let in_one_page = in_two_pages - (self.page_mask + 1);
            let second = if u64::from(first.len) <= in_one_page {
                0
            } else {
                (start & !self.page_mask) + self.page_mask + 1
            };
            return Ok((Cdw0::PSDT_PRP, [start, second]));
        }
        if self.sgl { sgl(segments, lists, at) } else { self.prp(segments, lists, at) }
    }

    #[inline(never)]
    fn prp(self, segments: &[Segment], lists: &DmaBuffer, at: usize) -> Result<(u8, [u64; 2]), BlockError> {
        let page = self.page_mask + 1;
        let mut first = None;
        let mut entries = 0;
        for (index, segment) in segments.iter().enumerate() {
            let start = segment.addr.get();
            let end = start.checked_add(u64::from(segment.len)).ok_or(BlockError::Invalid)?;
            let last = index + 1 == segments.len();
            if (index > 0 && start & self.page_mask != 0)
                || (!last && end & self.page_mask != 0)
                || start & 3 != 0
                || segment.len == 0
            {
                return Err(BlockError::Invalid);
            }
            let mut page_start = start;
            while page_start < end {
                if first.is_none() {
                    first = Some(page_start);
                } else {
                    if entries == PRP_ENTRIES {
                        return Err(BlockError::Invalid);
                    }
                    lists
                        .write(at + entries * size_of::<u64>(), page_start)
                        .map_err(|_| BlockError::Invalid)?;
                    entries += 1;
                }
                page_start = (page_start & !self.page_mask) + page;
            }
        }
        let first = first.ok_or(BlockError::Invalid)?;
        // With exactly two pages the second entry is the page itself, not a list.
        let second = match entries {
            0 => 0,
            1 => lists.read(at).map_err(|_| BlockError::Invalid)?,
            _ => lists.addr().offset(at as u64).get(),
        };
        Ok((Cdw0::PSDT_PRP, [first, second]))
    }
}

#[inline(never)]
fn sgl(segments: &[Segment], lists: &DmaBuffer, at: usize) -> Result<(u8, [u64; 2]), BlockError> {
    let block = |segment: &Segment| SglDescriptor::new(SglType::DATA_BLOCK, segment.addr.get(), segment.len);
    if let [only] = segments {
        return Ok((Cdw0::PSDT_SGL, block(only).into()));
    }
    if segments.len() > SGL_DESCRIPTORS {
        return Err(BlockError::Invalid);
    }
    for (index, segment) in segments.iter().enumerate() {
        let offset = at + index * size_of::<SglDescriptor>();
        lists.write(offset, block(segment)).map_err(|_| BlockError::Invalid)?;
    }
    let bytes = u32::try_from(segments.len() * size_of::<SglDescriptor>());
    let list = lists.addr().offset(at as u64).get();
    let list = SglDescriptor::new(SglType::LAST_SEGMENT, list, bytes.map_err(|_| BlockError::Invalid)?);
    Ok((Cdw0::PSDT_SGL, list.into()))
}
