//! The tables of a controller's disks, before anybody is served.

use std::time::Duration;

use redox_driver_sys::dma::DmaBuffer;

use super::{BlockReader, PartitionError, PartitionTable, read};
use crate::{
    device::{Controller, Disk},
    error::BlockError,
    local::LocalEngine,
    request::Segments,
};

/// How long one read of a table may take, resets of the controller included.
const READ: Duration = Duration::from_secs(60);

/// Finds the partitions of one of the engine's disks, through `buffer`: of [`MAX_READ`](super::MAX_READ) bytes. Nothing
/// is written.
///
/// # Errors
/// As [`read`].
pub fn read_from<C: Controller>(
    engine: &mut LocalEngine<C>,
    disk: &Disk,
    buffer: &DmaBuffer,
) -> Result<PartitionTable, PartitionError> {
    read(&mut Device { engine, disk, buffer })
}

struct Device<'a, C: Controller> {
    engine: &'a mut LocalEngine<C>,
    disk: &'a Disk,
    buffer: &'a DmaBuffer,
}

impl<C: Controller> BlockReader for Device<'_, C> {
    fn block_size(&self) -> u32 {
        self.disk.limits.block_size
    }

    fn blocks(&self) -> u64 {
        self.disk.blocks
    }

    fn read_blocks(&mut self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let len = u32::try_from(buffer.len()).map_err(|_| BlockError::Invalid)?;
        let segment = self.buffer.segment(0, len).map_err(|_| BlockError::Invalid)?;
        let blocks = u64::from(len / self.disk.limits.block_size);
        self.engine.read(self.disk.id, lba, blocks, Segments::from_slice(&[segment]), READ)?;
        self.buffer.copy_to(0, buffer).map_err(|_| BlockError::Invalid)
    }
}
