//! An I/O queue pair as the block layer sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use driver_block::{BlockError, Command, Completed, HardwareQueue, LbaRange, Operation, SubmitError};
use nvme_spec::{
    Cdw0, DsmCdw10, DsmCdw11, DsmRange, NvmOpcode, ReadWriteCdw12, SubmissionEntry, WriteZeroesCdw12,
};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaBuffer},
    irq::Interrupt,
};

use crate::{
    data::{DataPointer, LIST_BYTES},
    error::{Error, Result},
    queue::QueuePair,
    status::block_error,
};

/// The tag is in the low bits of a command identifier, a sequence number above it, so that a completion that comes
/// twice, or after its command was given up, is told from the tag's next one.
const TAG_BITS: u32 = 10;
const TAG_MASK: u16 = (1 << TAG_BITS) - 1;

/// Most commands in flight on one queue.
pub const MAX_DEPTH: u16 = 1 << TAG_BITS;

/// Most ranges of one Dataset Management command: as many as fit where a tag's PRP list would be.
pub(crate) const MAX_DISCARD_RANGES: u16 = {
    assert!(LIST_BYTES / size_of::<DsmRange>() <= DsmRange::MOST);
    #[allow(clippy::cast_possible_truncation, reason = "checked above")]
    let most = (LIST_BYTES / size_of::<DsmRange>()) as u16;
    most
};

/// What the queues of one controller count together.
#[derive(Debug, Default)]
pub struct Counters {
    /// Completions that fit no command in flight: stale, duplicate or made up.
    pub stale_completions: AtomicU64,
    /// Commands that completed with an error.
    pub failed_commands: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Tag {
    cid: u16,
    in_flight: bool,
}

/// One I/O submission queue with its completion queue.
pub struct IoQueue {
    pair: QueuePair,
    tags: Box<[Tag]>,
    /// One page list, or range list, per tag.
    lists: DmaBuffer,
    pointer: DataPointer,
    interrupt: Option<Interrupt>,
    counters: Arc<Counters>,
}

impl IoQueue {
    pub(crate) fn new(
        pair: QueuePair,
        dma: &DmaAllocator,
        depth: u16,
        pointer: DataPointer,
        interrupt: Option<Interrupt>,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let bytes = usize::from(depth) * LIST_BYTES;
        Ok(IoQueue {
            tags: vec![Tag::default(); usize::from(depth)].into_boxed_slice(),
            lists: dma.allocate(bytes).map_err(Error::machine("allocate page lists"))?,
            pair,
            pointer,
            interrupt,
            counters,
        })
    }

    pub(crate) fn pair(&self) -> &QueuePair {
        &self.pair
    }

    /// Whether completions are announced by an interrupt.
    pub(crate) fn is_interrupt_driven(&self) -> bool {
        self.interrupt.is_some()
    }

    /// Forgets all commands; only while the controller is disabled.
    pub(crate) fn reset(&mut self) {
        self.pair.reset();
        for tag in &mut self.tags {
            tag.in_flight = false;
        }
    }

    #[inline(always)]
    fn transfer(
        &self,
        opcode: NvmOpcode,
        tag: u16,
        command: &Command<'_>,
        range: LbaRange,
    ) -> Result<SubmissionEntry, BlockError> {
        let list = usize::from(tag) * LIST_BYTES;
        let (psdt, dptr) = self.pointer.describe(command.segments, &self.lists, list)?;
        let fua = command.fua && opcode == NvmOpcode::WRITE;
        Ok(SubmissionEntry {
            cdw0: Cdw0::new().with_opcode(opcode.0).with_psdt(psdt),
            dptr,
            cdw12: ReadWriteCdw12::new().with_nlb(blocks_less_one(range)?).with_fua(fua).into(),
            ..SubmissionEntry::default()
        }
        .with_starting_lba(range.lba))
    }

    #[inline(never)]
    fn take_completions(&mut self, completed: &mut Vec<Completed>) {
        // No more than the queue holds: a device that fills it as fast as it is emptied must not keep the thread.
        for _ in 0..self.pair.completion_entries() {
            let Some(entry) = self.pair.pop() else { break };
            let tag = entry.cid & TAG_MASK;
            match self.tags.get_mut(usize::from(tag)) {
                Some(slot) if slot.in_flight && slot.cid == entry.cid && entry.sqid == self.pair.id() => {
                    slot.in_flight = false;
                    let status = entry.status.status();
                    let result = if status.is_success() {
                        Ok(())
                    } else {
                        self.counters.failed_commands.fetch_add(1, Ordering::Relaxed);
                        log::debug!("queue {}: command {:#06x}: {status}", entry.sqid, entry.cid);
                        Err(block_error(status, entry.status.dnr()))
                    };
                    completed.push(Completed { tag, result });
                }
                _ => {
                    self.counters.stale_completions.fetch_add(1, Ordering::Relaxed);
                    log::debug!("queue {}: completion of unknown command {:#06x}", self.pair.id(), entry.cid);
                }
            }
        }
        self.pair.acknowledge();
    }

    #[inline(never)]
    fn discard(&self, tag: u16, ranges: &[LbaRange]) -> Result<SubmissionEntry, BlockError> {
        if ranges.is_empty() || ranges.len() > usize::from(MAX_DISCARD_RANGES) {
            return Err(BlockError::Invalid);
        }
        let list = usize::from(tag) * LIST_BYTES;
        for (index, range) in ranges.iter().enumerate() {
            let entry = DsmRange { attributes: 0, blocks: range.blocks, starting_lba: range.lba };
            self.lists.write(list + index * size_of::<DsmRange>(), entry).map_err(|_| BlockError::Invalid)?;
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 128 ranges")]
        let less_one = (ranges.len() - 1) as u8;
        Ok(SubmissionEntry {
            cdw0: Cdw0::new().with_opcode(NvmOpcode::DATASET_MANAGEMENT.0),
            // A list never crosses a page: one PRP entry is enough.
            dptr: [self.lists.addr().offset(list as u64).get(), 0],
            cdw10: DsmCdw10::new().with_nr(less_one).into(),
            cdw11: DsmCdw11::new().with_ad(true).into(),
            ..SubmissionEntry::default()
        })
    }
}

#[inline(never)]
fn write_zeroes(range: LbaRange, fua: bool) -> Result<SubmissionEntry, BlockError> {
    let cdw12 = WriteZeroesCdw12::new().with_nlb(blocks_less_one(range)?).with_fua(fua);
    let cdw0 = Cdw0::new().with_opcode(NvmOpcode::WRITE_ZEROES.0);
    Ok(SubmissionEntry { cdw0, cdw12: cdw12.into(), ..SubmissionEntry::default() }
        .with_starting_lba(range.lba))
}

/// NLB, a 16-bit number of blocks less one.
fn blocks_less_one(range: LbaRange) -> Result<u16, BlockError> {
    range.blocks.checked_sub(1).and_then(|less_one| u16::try_from(less_one).ok()).ok_or(BlockError::Invalid)
}

impl HardwareQueue for IoQueue {
    fn depth(&self) -> u16 {
        #[allow(clippy::cast_possible_truncation, reason = "at most MAX_DEPTH")]
        let depth = self.tags.len() as u16;
        depth
    }

    // Compiled into the block layer's short path, where most of a command is known.
    #[inline(always)]
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        let Some(&Tag { cid, in_flight: false }) = self.tags.get(usize::from(tag)) else {
            return Err(BlockError::Invalid.into());
        };
        let one_range = || command.ranges.first().copied().ok_or(BlockError::Invalid);
        let mut entry = match command.operation {
            Operation::Read => self.transfer(NvmOpcode::READ, tag, command, one_range()?)?,
            Operation::Write => self.transfer(NvmOpcode::WRITE, tag, command, one_range()?)?,
            Operation::Flush => SubmissionEntry {
                cdw0: Cdw0::new().with_opcode(NvmOpcode::FLUSH.0),
                ..SubmissionEntry::default()
            },
            Operation::Discard => self.discard(tag, command.ranges)?,
            Operation::WriteZeroes => write_zeroes(one_range()?, command.fua)?,
        };
        let cid = (cid & !TAG_MASK).wrapping_add(1 << TAG_BITS) | tag;
        entry.cdw0 = entry.cdw0.with_cid(cid);
        entry.nsid = command.disk.0;
        self.tags[usize::from(tag)] = Tag { cid, in_flight: true };
        self.pair.push(entry);
        Ok(())
    }

    #[inline]
    fn commit(&mut self) {
        self.pair.commit();
    }

    // Of a queue that is polled, most looks find nothing: only the look is compiled into the caller.
    #[inline(always)]
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        if self.pair.has_completion() {
            self.take_completions(completed);
        }
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    fn abort_handle(&self, tag: u16) -> u32 {
        self.tags.get(usize::from(tag)).map_or(u32::from(u16::MAX), |slot| u32::from(slot.cid))
    }
}
