//! A part of a disk that requests cannot leave.

use crate::{device::Operation, error::BlockError, request::Request};

/// Consecutive blocks of a disk, numbered from 0 for whoever uses them: a partition, or the whole disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    start: u64,
    blocks: u64,
}

impl Window {
    /// All of a disk.
    pub const fn whole(blocks: u64) -> Self {
        Window { start: 0, blocks }
    }

    /// The `blocks` blocks from `start` on of a disk of `disk_blocks` blocks; `None` if it does not have them all.
    pub const fn new(start: u64, blocks: u64, disk_blocks: u64) -> Option<Self> {
        match start.checked_add(blocks) {
            Some(end) if end <= disk_blocks => Some(Window { start, blocks }),
            _ => None,
        }
    }

    /// Its first block on the disk.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// How many blocks it has.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Where on the disk the `blocks` blocks from its block `lba` on are.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] if that is no block, [`BlockError::OutOfRange`] if it does not have them all.
    #[inline]
    pub const fn translate(&self, lba: u64, blocks: u64) -> Result<u64, BlockError> {
        if blocks == 0 {
            return Err(BlockError::Invalid);
        }
        match lba.checked_add(blocks) {
            // Within the window, whose end is a number.
            Some(end) if end <= self.blocks => Ok(self.start + lba),
            _ => Err(BlockError::OutOfRange),
        }
    }

    /// Makes of a request to the window one to the disk. A flush is for the whole disk in any case.
    ///
    /// # Errors
    /// As [`translate`](Self::translate); the request is unchanged.
    #[inline]
    pub fn apply(&self, request: &mut Request) -> Result<(), BlockError> {
        if request.operation != Operation::Flush {
            request.lba = self.translate(request.lba, request.blocks)?;
        }
        Ok(())
    }
}
