//! The scheme's calls: what an open disk or partition can be asked beyond reading and writing.
//!
//! The first word of a call's metadata is the verb; the others are 0. Numbers in the buffer are 64-bit little-endian.

use std::collections::VecDeque;

use redox_driver_sys::scheme::{Errno, SchemeRequest};

use super::handles::Extent;
use crate::device::{Limits, WriteCache};

/// The contents of ranges are no longer needed. The buffer has, for each range, its offset and its length in bytes, both
/// multiples of the block size: 1 to 256 ranges. Answered with 0, with `EOPNOTSUPP` by a disk that cannot discard.
pub const DISCARD: u64 = 1;
/// Ranges read as zeroes afterwards. The buffer is as that of [`DISCARD`].
pub const WRITE_ZEROES: u64 = 2;
/// Fills the buffer with [`COUNTERS`] numbers, or as many as fit, about the disk since its driver was started: reads,
/// bytes read, writes, bytes written, flushes, discards, write-zeroes, requests that failed. Answered with the number of
/// bytes.
pub const STATISTICS: u64 = 3;
/// Fills the buffer with [`LIMITS_FIELDS`] numbers, or as many as fit: logical block size, physical block size, preferred
/// transfer (0: none), most bytes of one transfer (more is split), discard granularity (0: the disk cannot discard), 1 if
/// read-only, 1 if the disk has a volatile write cache, 1 if it turns. Sizes in bytes. Answered with the number of bytes.
pub const LIMITS: u64 = 4;

/// Numbers of [`STATISTICS`].
pub const COUNTERS: usize = 8;
/// Numbers of [`LIMITS`].
pub const LIMITS_FIELDS: usize = 8;
/// Most ranges of one call.
pub const MOST_RANGES: usize = 256;
/// Length of a range in the buffer.
const RANGE: usize = 16;

/// What a disk was asked for and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) reads: u64,
    pub(super) read_bytes: u64,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
    pub(super) flushes: u64,
    pub(super) discards: u64,
    pub(super) write_zeroes: u64,
    pub(super) failures: u64,
}

impl Counters {
    pub(super) const fn fields(&self) -> [u64; COUNTERS] {
        [
            self.reads,
            self.read_bytes,
            self.writes,
            self.written_bytes,
            self.flushes,
            self.discards,
            self.write_zeroes,
            self.failures,
        ]
    }
}

pub(super) fn limits_fields(limits: &Limits) -> [u64; LIMITS_FIELDS] {
    let discards = limits.max_discard_blocks > 0;
    [
        limits.block_size.into(),
        limits.physical_block_size.into(),
        limits.optimal_io_size.into(),
        limits.max_transfer.into(),
        if discards { limits.discard_granularity.max(limits.block_size).into() } else { 0 },
        limits.read_only.into(),
        (limits.write_cache != WriteCache::None).into(),
        limits.rotational.into(),
    ]
}

/// Fills the client's buffer with whole numbers.
pub(super) fn fill(request: &SchemeRequest, fields: &[u64]) -> Result<usize, Errno> {
    let count = fields.len().min(request.len() / size_of::<u64>());
    for (index, field) in fields.iter().take(count).enumerate() {
        request.store(index * size_of::<u64>(), &field.to_le_bytes())?;
    }
    Ok(count * size_of::<u64>())
}

/// Consecutive blocks of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) lba: u64,
    pub(super) blocks: u64,
}

/// The ranges in the client's buffer, on the disk.
///
/// # Errors
/// `EINVAL`: none, too many, unaligned, empty or beyond the end, as Linux answers its ioctls.
pub(super) fn ranges(
    request: &SchemeRequest,
    extent: &Extent,
    block_size: u32,
) -> Result<VecDeque<Range>, Errno> {
    let (len, block_size) = (request.len(), u64::from(block_size));
    if len == 0 || !len.is_multiple_of(RANGE) || len / RANGE > MOST_RANGES || block_size == 0 {
        return Err(Errno::INVAL);
    }
    let mut ranges = VecDeque::with_capacity(len / RANGE);
    for at in (0..len).step_by(RANGE) {
        let mut numbers = [[0; size_of::<u64>()]; 2];
        for (index, number) in numbers.iter_mut().enumerate() {
            request.load(at + index * size_of::<u64>(), number)?;
        }
        let [offset, length] = numbers.map(u64::from_le_bytes);
        if !offset.is_multiple_of(block_size) || !length.is_multiple_of(block_size) {
            return Err(Errno::INVAL);
        }
        let blocks = length / block_size;
        let lba = extent.window.translate(offset / block_size, blocks).map_err(|_| Errno::INVAL)?;
        ranges.push_back(Range { lba, blocks });
    }
    Ok(ranges)
}
