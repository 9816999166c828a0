//! The host memory buffer: memory that a controller without its own borrows (sections 5.21.1.13 and 8.9).

use nvme_spec::{
    FeatureId, HmbDescriptor, HostMemoryBuffer, IdentifyController, PAGE_SHIFT, SubmissionEntry,
};
use redox_driver_sys::dma::{DmaAllocator, DmaBuffer, DmaSlice};

use crate::{
    admin::Admin,
    error::{Error, Result},
};

/// HMPRE, HMMIN and HMMINDS are in units of 4 KiB, whatever the memory page size.
const UNIT: u64 = 4096;
/// Descriptors used where the controller names no limit.
const MOST_DESCRIPTORS: u64 = 32;

/// Memory lent to a controller. It must not be dropped before the controller was told, or reset.
pub(crate) struct HostMemory {
    chunks: Vec<DmaBuffer>,
    list: DmaSlice<HmbDescriptor>,
    pages: u32,
    /// The controller has had it before, so that its contents are worth something to it.
    known: bool,
}

impl HostMemory {
    /// Allocates what the controller prefers, at most `limit` bytes; `None` if it wants nothing, or more at the least
    /// than `limit` or than there is.
    pub(crate) fn allocate(
        controller: &IdentifyController,
        dma: &DmaAllocator,
        page_shift: u32,
        limit: u64,
    ) -> Result<Option<Self>> {
        let page = 1u64 << page_shift;
        let wanted = (u64::from(controller.hmpre) * UNIT).min(limit) / page * page;
        let least = (u64::from(controller.hmmin) * UNIT).max(page);
        if controller.hmpre == 0 || wanted < least {
            return Ok(None);
        }
        let descriptors = match u64::from(controller.hmmaxd) {
            0 => MOST_DESCRIPTORS,
            most => most.min(MOST_DESCRIPTORS),
        };
        let smallest_chunk = (u64::from(controller.hmminds) * UNIT).max(page);
        let mut chunks: Vec<DmaBuffer> = Vec::new();
        let mut have = 0;
        let mut chunk = wanted;
        // The largest pieces that memory has, down to what the controller still takes.
        while have < wanted && (chunks.len() as u64) < descriptors && chunk >= smallest_chunk {
            let len = chunk.min(wanted - have);
            let aligned = usize::try_from(page).ok().zip(usize::try_from(len).ok());
            match aligned.filter(|_| len >= smallest_chunk).map(|(page, len)| dma.allocate_aligned(len, page))
            {
                Some(Ok(buffer)) => {
                    have += len;
                    chunks.push(buffer);
                }
                Some(Err(error)) => {
                    log::debug!("host memory buffer: no {len} bytes in one piece: {error}");
                    chunk = chunk / 2 / page * page;
                }
                None => break,
            }
        }
        if have < least {
            return Ok(None);
        }
        let list =
            dma.allocate_slice(chunks.len()).map_err(Error::machine("allocate the host memory list"))?;
        let mut pages = 0u32;
        for (index, chunk) in chunks.iter().enumerate() {
            let count = u32::try_from(chunk.len() as u64 >> page_shift).unwrap_or(0);
            pages = pages.saturating_add(count);
            list.write(index, HmbDescriptor { address: chunk.addr().get(), pages: count, reserved: 0 });
        }
        Ok(Some(HostMemory { chunks, list, pages, known: false }))
    }

    /// Lends the memory, after a reset with the contents that the controller left there.
    pub(crate) fn enable(&mut self, admin: &mut Admin) -> Result<()> {
        let address = self.list.addr().get();
        #[allow(clippy::cast_possible_truncation, reason = "splits the number; at most 32 descriptors")]
        let entry = SubmissionEntry {
            cdw11: HostMemoryBuffer::new().with_enable(true).with_memory_return(self.known).into(),
            cdw12: self.pages,
            cdw13: address as u32,
            cdw14: (address >> 32) as u32,
            cdw15: self.list.len() as u32,
            ..SubmissionEntry::default()
        };
        admin.set_feature_entry(FeatureId::HOST_MEMORY_BUFFER, entry)?;
        self.known = true;
        Ok(())
    }

    /// Takes the memory back; afterwards the controller does not touch it.
    pub(crate) fn disable(admin: &mut Admin) -> Result<()> {
        admin.set_feature(FeatureId::HOST_MEMORY_BUFFER, HostMemoryBuffer::new().into()).map(drop)
    }

    /// Bytes lent.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

const _: () = assert!(UNIT == 1 << PAGE_SHIFT);
