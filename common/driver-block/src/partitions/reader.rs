//! From where tables are read.

use gpt::disk::LogicalBlockSize;

use super::error::PartitionError;
use crate::error::BlockError;

/// Reads blocks of a disk, one after the other: for the few blocks of a table.
pub trait BlockReader {
    /// Size of a logical block in bytes.
    fn block_size(&self) -> u32;

    /// Capacity in logical blocks.
    fn blocks(&self) -> u64;

    /// Fills `buffer`, a multiple of the block size of at most [`MAX_READ`] bytes, from block `lba` on. Blocks beyond the capacity
    /// are never asked for.
    ///
    /// # Errors
    /// What the disk answered.
    fn read_blocks(&mut self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError>;
}

/// A disk in memory.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    block_size: u32,
}

impl<'a> Image<'a> {
    /// The disk with these contents. A block that is not whole at its end does not count.
    pub const fn new(bytes: &'a [u8], block_size: u32) -> Self {
        Image { bytes, block_size }
    }
}

impl BlockReader for Image<'_> {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn blocks(&self) -> u64 {
        let bytes = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        bytes.checked_div(self.block_size.into()).unwrap_or(0)
    }

    fn read_blocks(&mut self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let start = lba
            .checked_mul(self.block_size.into())
            .and_then(|start| usize::try_from(start).ok())
            .ok_or(BlockError::OutOfRange)?;
        let from = self.bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(BlockError::OutOfRange)?);
        Ok(())
    }
}

/// Most bytes that a [`BlockReader`] is asked for at once.
pub const MAX_READ: usize = 16 << 10;

/// A reader of a disk whose properties are known to be usable and do not change.
pub(super) struct Disk<'a> {
    reader: &'a mut dyn BlockReader,
    block_size: LogicalBlockSize,
    blocks: u64,
}

impl<'a> Disk<'a> {
    pub(super) fn new(reader: &'a mut dyn BlockReader) -> Result<Self, PartitionError> {
        let size = reader.block_size();
        let block_size =
            LogicalBlockSize::try_from(u64::from(size)).map_err(|_| PartitionError::BlockSize(size))?;
        let blocks = reader.blocks();
        Ok(Disk { reader, block_size, blocks })
    }

    pub(super) fn block_size(&self) -> LogicalBlockSize {
        self.block_size
    }

    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(super) fn read_block(&mut self, lba: u64) -> Result<Vec<u8>, BlockError> {
        self.read(lba, 1)
    }

    /// Reads `blocks` blocks; the caller bounds how many.
    pub(super) fn read(&mut self, lba: u64, blocks: usize) -> Result<Vec<u8>, BlockError> {
        let size = self.block_size.as_usize();
        let end = u64::try_from(blocks).ok().and_then(|blocks| lba.checked_add(blocks));
        if end.is_none_or(|end| end > self.blocks) {
            return Err(BlockError::OutOfRange);
        }
        let mut bytes = vec![0; blocks.checked_mul(size).ok_or(BlockError::OutOfRange)?];
        // Each chunk is whole blocks: the block size divides the length of a chunk.
        for (chunk, lba) in bytes.chunks_mut(MAX_READ).zip((lba..).step_by(MAX_READ / size)) {
            self.reader.read_blocks(lba, chunk)?;
        }
        Ok(bytes)
    }
}
