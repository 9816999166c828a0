//! From the kernel's requests to those of the block layer, and from its answers to the kernel's.

use redox_driver_sys::dma::Segment;
use smallvec::smallvec;

use super::uapi::{self, IoDescriptor, op};
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
    request::{Completion, Request, Segments},
};

const EIO: i32 = 5;

/// The request of the block layer that `descriptor` asks for, or the answer if there is none.
///
/// `segment` gives the memory for so many bytes, if there is as much.
pub(super) fn request(
    descriptor: &IoDescriptor,
    disk: DiskId,
    block_shift: u32,
    cookie: u64,
    segment: impl FnOnce(u32) -> Option<Segment>,
) -> Result<Request, i32> {
    let operation = match descriptor.op_flags & op::MASK {
        op::READ => Operation::Read,
        op::WRITE => Operation::Write,
        op::FLUSH => return Ok(Request::flush(disk, cookie)),
        op::DISCARD => Operation::Discard,
        // Whether zeroed blocks may be deallocated (NOUNMAP) is no question: drivers of this block layer never do so.
        op::WRITE_ZEROES => Operation::WriteZeroes,
        _ => return Err(-BlockError::Unsupported.errno()),
    };
    let sectors_shift = block_shift.saturating_sub(uapi::SECTOR_SHIFT);
    let within_block = (1u64 << sectors_shift) - 1;
    let sectors = u64::from(descriptor.sectors);
    if sectors == 0 || (descriptor.start_sector | sectors) & within_block != 0 {
        return Err(-BlockError::Invalid.errno());
    }
    let (lba, blocks) = (descriptor.start_sector >> sectors_shift, sectors >> sectors_shift);
    let fua = descriptor.op_flags & op::FUA != 0;
    let segments: Segments = match operation {
        Operation::Read | Operation::Write => {
            let bytes = descriptor.sectors.checked_mul(uapi::SECTOR);
            let segment = bytes.and_then(segment).ok_or(-BlockError::Invalid.errno())?;
            smallvec![segment]
        }
        _ => Segments::new(),
    };
    Ok(Request { operation, disk, lba, blocks, fua, segments, cookie })
}

/// What the kernel is answered: the bytes of a read or write, 0 for what has none, or a negative error number.
pub(super) fn answer(completion: &Completion, has_data: bool) -> i32 {
    match completion.result {
        Ok(()) if has_data => i32::try_from(completion.bytes).unwrap_or(i32::MAX),
        Ok(()) => 0,
        // The kernel asks for nothing beyond the size that it knows: the disk has become smaller.
        Err(BlockError::OutOfRange) => -EIO,
        Err(error) => -error.errno(),
    }
}

/// Whether the answer to `descriptor` is a number of bytes.
pub(super) fn has_data(descriptor: &IoDescriptor) -> bool {
    matches!(descriptor.op_flags & op::MASK, op::READ | op::WRITE)
}

#[cfg(test)]
mod tests {
    use redox_driver_sys::dma::DmaAddr;

    use super::*;

    fn descriptor(op_flags: u32, start_sector: u64, sectors: u32) -> IoDescriptor {
        IoDescriptor { op_flags, sectors, start_sector, address: 0 }
    }

    fn translate(descriptor: &IoDescriptor, block_shift: u32) -> Result<Request, i32> {
        request(descriptor, DiskId(3), block_shift, 77, |bytes| {
            (bytes <= 8192).then_some(Segment { addr: DmaAddr::new(0x1000), len: bytes })
        })
    }

    #[test]
    fn transfers_have_their_memory() {
        let read = translate(&descriptor(op::READ, 8, 16), 9).unwrap();
        assert_eq!((read.operation, read.disk, read.lba, read.blocks), (Operation::Read, DiskId(3), 8, 16));
        assert_eq!((read.segments[0].len, read.fua, read.cookie), (8192, false, 77));
        let write = translate(&descriptor(op::WRITE | op::FUA, 8, 8), 12).unwrap();
        assert_eq!((write.operation, write.lba, write.blocks), (Operation::Write, 1, 1));
        assert_eq!((write.segments[0].len, write.fua), (4096, true));
    }

    #[test]
    fn the_rest_has_none() {
        assert_eq!(translate(&descriptor(op::FLUSH, 0, 0), 9).unwrap(), Request::flush(DiskId(3), 77));
        // Longer than any buffer.
        let discard = translate(&descriptor(op::DISCARD, 0, 1 << 20), 9).unwrap();
        assert_eq!((discard.operation, discard.blocks), (Operation::Discard, 1 << 20));
        assert!(discard.segments.is_empty());
        let zeroes = translate(&descriptor(op::WRITE_ZEROES | op::FUA | 1 << 15, 16, 8), 12).unwrap();
        assert_eq!((zeroes.operation, zeroes.lba, zeroes.blocks), (Operation::WriteZeroes, 2, 1));
        assert!(zeroes.fua);
    }

    #[test]
    fn what_makes_no_sense_is_answered_at_once() {
        assert_eq!(translate(&descriptor(17, 0, 8), 9), Err(-95));
        assert_eq!(translate(&descriptor(op::READ, 0, 0), 9), Err(-22));
        assert_eq!(translate(&descriptor(op::READ, 1, 8), 12), Err(-22));
        assert_eq!(translate(&descriptor(op::READ, 8, 9), 12), Err(-22));
        // Does not fit the buffer, and not even 32 bits.
        assert_eq!(translate(&descriptor(op::READ, 0, 17), 9), Err(-22));
        assert_eq!(translate(&descriptor(op::WRITE, 0, u32::MAX), 9), Err(-22));
    }

    #[test]
    fn answers_are_bytes_zero_or_error_numbers() {
        let ended = |result, bytes| Completion { cookie: 0, result, bytes };
        assert_eq!(answer(&ended(Ok(()), 4096), true), 4096);
        assert_eq!(answer(&ended(Ok(()), 4096), false), 0);
        assert_eq!(answer(&ended(Err(BlockError::Medium), 512), true), -5);
        assert_eq!(answer(&ended(Err(BlockError::Unsupported), 0), false), -95);
        assert_eq!(answer(&ended(Err(BlockError::OutOfRange), 0), true), -5);
    }
}
