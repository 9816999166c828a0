//! What a queue knows about a disk, prepared for the hot path.

use redox_driver_sys::dma::{DmaBuffer, Segment};

use super::{
    gather::{Shape, expressible},
    slots::List,
};
use crate::{
    device::{Disk, DiskId, Limits, Operation, WriteCache},
    error::BlockError,
    request::Request,
};

/// A disk's limits contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("disk {disk}: {what} {value} is not usable")]
pub struct BadLimits {
    /// The disk.
    pub disk: DiskId,
    /// The limit.
    pub what: &'static str,
    /// What it was.
    pub value: u64,
}

/// Memory that reads as zeroes, for disks without a command that writes them.
#[derive(Clone, Debug)]
pub(super) struct Zeroes {
    /// Keeps the memory visible to the device.
    _buffer: DmaBuffer,
    segment: Segment,
}

impl Zeroes {
    pub(super) fn new(buffer: DmaBuffer) -> Self {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let segment = Segment { addr: buffer.addr(), len };
        Zeroes { _buffer: buffer, segment }
    }
}

/// How zeroes are written to a disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum ZeroMethod {
    /// It has a command for it.
    Command,
    /// By writing from the shared buffer, this much of it per segment, this many bytes per command.
    Copy { segment: Segment, bytes: u32 },
    /// Not at all.
    None,
}

/// A disk of the queue.
#[derive(Debug)]
pub(super) struct DiskState {
    pub(super) id: DiskId,
    pub(super) blocks: u64,
    pub(super) shift: u8,
    pub(super) shape: Shape,
    /// Address and length bits that are clear in every segment.
    alignment_mask: u64,
    pub(super) max_discard_blocks: u32,
    pub(super) max_discard_ranges: u32,
    pub(super) max_write_zeroes_blocks: u32,
    pub(super) zeroes: ZeroMethod,
    read_only: bool,
    pub(super) cache: WriteCache,
    /// Requests that wait for a flush which has not begun.
    pub(super) flush_waiting: List,
    /// Whether a flush command exists.
    pub(super) flush_running: bool,
    /// Most tags of the queue for this disk.
    pub(super) max_commands: u16,
    /// How many it has.
    pub(super) commands: u16,
    /// Requests that wait until it has fewer.
    pub(super) held: List,
}

impl DiskState {
    pub(super) fn new(disk: &Disk, zeroes: Option<&Zeroes>) -> Result<Self, BadLimits> {
        let Limits { block_size, max_transfer, max_segments, segment_boundary, dma_alignment, .. } =
            disk.limits;
        let bad = |what, value: u64| BadLimits { disk: disk.id, what, value };
        if !block_size.is_power_of_two() || !(512..=4096).contains(&block_size) {
            return Err(bad("logical block size", block_size.into()));
        }
        if !segment_boundary.is_power_of_two() {
            return Err(bad("segment boundary", segment_boundary.into()));
        }
        if !dma_alignment.is_power_of_two() {
            return Err(bad("DMA alignment", dma_alignment.into()));
        }
        if max_segments == 0 {
            return Err(bad("number of segments", 0));
        }
        let granule = block_size.max(dma_alignment);
        let max_bytes = max_transfer & !(granule - 1);
        if max_bytes == 0 {
            return Err(bad("largest transfer", max_transfer.into()));
        }
        // The size in bytes must be a number, and the end of the last block as well.
        #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a u32")]
        let shift = block_size.trailing_zeros() as u8;
        if disk.blocks > u64::MAX >> shift {
            return Err(bad("capacity in blocks", disk.blocks));
        }
        let shape = Shape {
            max_bytes,
            max_segments: max_segments.into(),
            boundary_mask: u64::from(segment_boundary) - 1,
            granule,
        };
        let Limits { max_discard_blocks, max_discard_ranges, max_write_zeroes_blocks, .. } = disk.limits;
        Ok(DiskState {
            id: disk.id,
            blocks: disk.blocks,
            shift,
            shape,
            alignment_mask: u64::from(dma_alignment) - 1,
            max_discard_blocks,
            max_discard_ranges: u32::from(max_discard_ranges.max(1)),
            max_write_zeroes_blocks,
            zeroes: zero_method(&shape, max_write_zeroes_blocks, u64::from(dma_alignment) - 1, zeroes),
            read_only: disk.limits.read_only,
            cache: disk.limits.write_cache,
            flush_waiting: List::EMPTY,
            flush_running: false,
            max_commands: disk.limits.max_commands.max(1),
            commands: 0,
            held: List::EMPTY,
        })
    }

    /// Whether it has as many tags as it may.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.commands >= self.max_commands
    }

    /// Whether the disk takes force unit access by itself.
    pub(super) fn takes_fua(&self) -> bool {
        self.cache == WriteCache::Volatile { fua: true }
    }

    /// Whether `request` must be followed by a flush before its answer. Only writes carry force unit access in their
    /// command: whether write-zeroes honours it is not the same everywhere.
    pub(super) fn needs_flush_after(&self, request: &Request) -> bool {
        request.fua
            && match self.cache {
                WriteCache::None => false,
                WriteCache::Volatile { fua } => match request.operation {
                    Operation::Write => !fua,
                    Operation::WriteZeroes => true,
                    Operation::Read | Operation::Flush | Operation::Discard => false,
                },
            }
    }

    /// Checks everything about a request that does not depend on other requests, and says whether it is a simple one: a
    /// transfer that one command with the memory as it is can carry.
    // Inlined, it shares what it reads of the request with its caller.
    #[inline(always)]
    pub(super) fn check(&self, request: &Request) -> Result<bool, BlockError> {
        match request.operation {
            Operation::Read => self.check_transfer(request),
            Operation::Write => {
                self.check_writable()?;
                self.check_transfer(request)
            }
            Operation::Flush => self.check_no_memory(request),
            Operation::Discard => {
                self.check_writable()?;
                if self.max_discard_blocks == 0 {
                    return Err(BlockError::Unsupported);
                }
                self.check_range(request)?;
                self.check_no_memory(request)
            }
            Operation::WriteZeroes => {
                self.check_writable()?;
                if matches!(self.zeroes, ZeroMethod::None) {
                    return Err(BlockError::Unsupported);
                }
                self.check_range(request)?;
                self.check_no_memory(request)
            }
        }
    }

    fn check_writable(&self) -> Result<(), BlockError> {
        if self.read_only { Err(BlockError::ReadOnly) } else { Ok(()) }
    }

    fn check_range(&self, request: &Request) -> Result<(), BlockError> {
        if request.blocks == 0 {
            return Err(BlockError::Invalid);
        }
        match request.lba.checked_add(request.blocks) {
            Some(end) if end <= self.blocks => Ok(()),
            _ => Err(BlockError::OutOfRange),
        }
    }

    fn check_no_memory(&self, request: &Request) -> Result<bool, BlockError> {
        if request.segments.is_empty() { Ok(false) } else { Err(BlockError::Invalid) }
    }

    #[inline]
    fn check_transfer(&self, request: &Request) -> Result<bool, BlockError> {
        self.check_range(request)?;
        // In range, the blocks' bytes fit a `u64`.
        let bytes = request.blocks << self.shift;
        let [Segment { addr, len }] = request.segments.as_slice() else {
            return self.check_list(&request.segments, bytes);
        };
        // Blocks are never empty, so neither is memory of the same size.
        let (addr, len) = (addr.get(), u64::from(*len));
        let fits = len == bytes && (addr | len) & self.alignment_mask == 0 && addr.checked_add(len).is_some();
        if fits { Ok(len <= u64::from(self.shape.max_bytes)) } else { Err(BlockError::Invalid) }
    }

    #[inline(never)]
    fn check_list(&self, segments: &[Segment], bytes: u64) -> Result<bool, BlockError> {
        let mut sum = 0;
        for segment in segments {
            let (addr, len) = (segment.addr.get(), u64::from(segment.len));
            if len == 0 || (addr | len) & self.alignment_mask != 0 || addr.checked_add(len).is_none() {
                return Err(BlockError::Invalid);
            }
            sum += len;
        }
        if sum == bytes && expressible(&self.shape, segments) { Ok(false) } else { Err(BlockError::Invalid) }
    }
}

/// Finds how to write zeroes within `shape`.
fn zero_method(shape: &Shape, max_blocks: u32, alignment_mask: u64, zeroes: Option<&Zeroes>) -> ZeroMethod {
    if max_blocks != 0 {
        return ZeroMethod::Command;
    }
    let Some(Zeroes { segment, .. }) = zeroes else {
        return ZeroMethod::None;
    };
    let addr = segment.addr.get();
    if addr & alignment_mask != 0 {
        return ZeroMethod::None;
    }
    // The same memory again and again, if its ends are where segments may meet; else one segment per command.
    let unit = u64::from(shape.granule).max(shape.boundary_mask + 1);
    let whole = u64::from(segment.len) / unit * unit;
    let (len, count) = if addr & shape.boundary_mask == 0 && whole > 0 {
        (whole, u64::from(shape.max_segments))
    } else {
        (u64::from(segment.len) / u64::from(shape.granule) * u64::from(shape.granule), 1)
    };
    let bytes = len.saturating_mul(count).min(shape.max_bytes.into());
    match (u32::try_from(len), u32::try_from(bytes)) {
        (Ok(len @ 1..), Ok(bytes)) => {
            ZeroMethod::Copy { segment: Segment { addr: segment.addr, len }, bytes }
        }
        _ => ZeroMethod::None,
    }
}
