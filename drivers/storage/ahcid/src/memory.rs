//! The memory of a port: command list, received FISes, command tables (AHCI, section 4.2).

use ahci_spec::{
    CommandHeader, DeviceToHost, HeaderFlags, HostToDevice, LbaRangeEntry, PRDT_MAX_BYTES, PrdtEntry,
    ReceivedFis, TABLE_PRDT, TRIM_BLOCK, TRIM_RANGES, atapi::PACKET_BYTES, received, table,
};
use driver_block::{BlockError, LbaRange};
use redox_driver_sys::dma::{DmaAllocator, DmaBuffer, Segment};
use zerocopy::{FromBytes, IntoBytes};

/// Slots of a command list.
pub(crate) const SLOTS: usize = 32;
/// The table of the driver's own commands, which borrow the first slot of the list.
pub(crate) const OWN_TABLE: usize = SLOTS;
/// Bytes of a command table.
const TABLE_BYTES: usize = 4096;
/// PRDs that fit into one.
const PRDS: usize = (TABLE_BYTES - TABLE_PRDT) / size_of::<PrdtEntry>();
/// Most bytes of one transfer.
pub(crate) const MAX_TRANSFER: u32 = 32 << 20;
/// Most segments of one transfer: each may have to be split where it is longer than a PRD describes.
pub(crate) const MAX_SEGMENTS: u16 = {
    let splits = (MAX_TRANSFER / PRDT_MAX_BYTES) as usize;
    assert!(PRDS - splits <= u16::MAX as usize);
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    let most = (PRDS - splits) as u16;
    most
};
/// Where the ranges of a trim are in its command table, behind the one PRD that describes them.
const TRIM_AT: usize = 512;
/// Most 512-byte blocks of ranges of one trim.
pub(crate) const MAX_TRIM_BLOCKS: u16 = 4;
const _: () = assert!(TRIM_AT + MAX_TRIM_BLOCKS as usize * TRIM_BLOCK <= TABLE_BYTES);
/// Bytes that one of the driver's own commands can read.
pub(crate) const PAGE: usize = 4096;

/// Offsets in the allocation of a port.
const FIS_AT: usize = 0;
const LIST_AT: usize = FIS_AT + 16 * size_of::<ReceivedFis>();
const PAGE_AT: usize = 2 * PAGE;
const TABLES_AT: usize = PAGE_AT + PAGE;
const BYTES: usize = TABLES_AT + (SLOTS + 1) * TABLE_BYTES;
const _: () = assert!(LIST_AT + SLOTS * size_of::<CommandHeader>() <= PAGE_AT);

/// What a header says beside where its table is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) flags: HeaderFlags,
    pub(crate) prdtl: u16,
}

pub(crate) struct PortMemory {
    buffer: DmaBuffer,
}

impl PortMemory {
    pub(crate) fn new(dma: &DmaAllocator) -> redox_driver_sys::Result<Self> {
        let memory = PortMemory { buffer: dma.allocate(BYTES)? };
        memory.reset()?;
        Ok(memory)
    }

    /// Puts the list into its first state; only while the port does not use it.
    pub(crate) fn reset(&self) -> redox_driver_sys::Result<()> {
        self.buffer.fill(FIS_AT, LIST_AT - FIS_AT, 0)?;
        for slot in 0..SLOTS {
            let header = CommandHeader { ctba: self.table_addr(slot), ..CommandHeader::default() };
            self.buffer.write(LIST_AT + slot * size_of::<CommandHeader>(), header)?;
        }
        Ok(())
    }

    /// Where the command list and the received FISes are.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        let at = |offset: usize| self.buffer.addr().offset(offset as u64).get();
        (at(LIST_AT), at(FIS_AT))
    }

    fn table_addr(&self, index: usize) -> u64 {
        self.buffer.addr().offset((TABLES_AT + index * TABLE_BYTES) as u64).get()
    }

    /// Writes the command FIS of a table.
    #[inline]
    pub(crate) fn write_fis(&self, index: usize, fis: &HostToDevice) -> Result<(), BlockError> {
        self.buffer
            .write(TABLES_AT + index * TABLE_BYTES + table::CFIS, *fis)
            .map_err(|_| BlockError::Invalid)
    }

    /// Writes the packet of a table.
    pub(crate) fn write_packet(&self, index: usize, packet: [u8; PACKET_BYTES]) -> Result<(), BlockError> {
        self.buffer
            .write(TABLES_AT + index * TABLE_BYTES + table::ACMD, packet)
            .map_err(|_| BlockError::Invalid)
    }

    /// Writes the PRDs of a table. Returns how many there are.
    #[inline]
    pub(crate) fn write_segments(&self, index: usize, segments: &[Segment]) -> Result<u16, BlockError> {
        let table = TABLES_AT + index * TABLE_BYTES + TABLE_PRDT;
        let mut count = 0;
        for segment in segments {
            let (mut addr, mut left) = (segment.addr.get(), segment.len);
            if left == 0 || (left | u32::from(addr.as_bytes()[0])) & 1 != 0 {
                return Err(BlockError::Invalid);
            }
            while left != 0 {
                let bytes = left.min(PRDT_MAX_BYTES);
                if count == PRDS {
                    return Err(BlockError::Invalid);
                }
                let entry = PrdtEntry::new(addr, bytes);
                self.buffer
                    .write(table + count * size_of::<PrdtEntry>(), entry)
                    .map_err(|_| BlockError::Invalid)?;
                count += 1;
                addr = addr.wrapping_add(bytes.into());
                left -= bytes;
            }
        }
        u16::try_from(count).map_err(|_| BlockError::Invalid)
    }

    /// Writes the ranges of a trim, and the PRD that describes them. Returns how many blocks of 512 bytes they fill.
    pub(crate) fn write_ranges(&self, index: usize, ranges: &[LbaRange]) -> Result<u16, BlockError> {
        let blocks = ranges.len().div_ceil(TRIM_RANGES);
        if ranges.is_empty() || blocks > usize::from(MAX_TRIM_BLOCKS) {
            return Err(BlockError::Invalid);
        }
        let table = TABLES_AT + index * TABLE_BYTES;
        let bytes = blocks * TRIM_BLOCK;
        let write = || -> redox_driver_sys::Result<()> {
            self.buffer.fill(table + TRIM_AT, bytes, 0)?;
            for (at, range) in ranges.iter().enumerate() {
                let blocks = u16::try_from(range.blocks).unwrap_or(u16::MAX);
                let entry = LbaRangeEntry::new(range.lba, blocks);
                self.buffer.write(table + TRIM_AT + at * size_of::<LbaRangeEntry>(), entry)?;
            }
            let addr = self.buffer.addr().offset((table + TRIM_AT) as u64).get();
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.buffer.write(table + TABLE_PRDT, PrdtEntry::new(addr, bytes))
        };
        write().map_err(|_| BlockError::Invalid)?;
        u16::try_from(blocks).map_err(|_| BlockError::Invalid)
    }

    /// Fills in the header of a slot: its first two dwords, since its table stays where it is.
    #[inline]
    pub(crate) fn write_header(&self, slot: usize, shape: Shape) -> Result<(), BlockError> {
        let flags = u64::from(u16::from(shape.flags)) | u64::from(shape.prdtl) << 16;
        self.buffer.write(LIST_AT + slot * size_of::<CommandHeader>(), flags).map_err(|_| BlockError::Invalid)
    }

    /// Has the first slot of the list use a table.
    pub(crate) fn point_first(&self, table: usize) -> Result<(), BlockError> {
        self.buffer.write(LIST_AT + 8, self.table_addr(table)).map_err(|_| BlockError::Invalid)
    }

    /// The page for data of the driver's own commands, its first `len` bytes.
    pub(crate) fn page(&self, len: u32) -> Segment {
        Segment { addr: self.buffer.addr().offset(PAGE_AT as u64), len }
    }

    /// Clears the page.
    pub(crate) fn clear_page(&self) -> Result<(), BlockError> {
        self.buffer.fill(PAGE_AT, PAGE, 0).map_err(|_| BlockError::Invalid)
    }

    /// What is in the page.
    pub(crate) fn read_page<T: FromBytes>(&self) -> Result<T, BlockError> {
        const { assert!(size_of::<T>() <= PAGE) };
        self.buffer.read(PAGE_AT).map_err(|_| BlockError::Protocol)
    }

    /// The register FIS that came last from a device; `area` is its port of the multiplier with FIS-based switching.
    pub(crate) fn received(&self, area: u8) -> Result<DeviceToHost, BlockError> {
        let at = FIS_AT + usize::from(area & 0xf) * size_of::<ReceivedFis>() + received::DEVICE_TO_HOST;
        self.buffer.read(at).map_err(|_| BlockError::Protocol)
    }
}
