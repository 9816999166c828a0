//! Requests on their way through the queues.

use std::collections::VecDeque;

use redox_driver_sys::scheme::{Errno, SchemeRequest};

use super::{
    carrier::{Carried, Carrier, Piece},
    table::Wanted,
    verbs::Range,
};
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
};

/// Most requests at a time. Each is a thread that waits, so this is out of reach; but it is bounded.
const MOST: usize = 1 << 20;
/// Most bytes of one piece.
const MOST_PIECE: u32 = 256 << 10;
/// Another queue costs two doorbells, an interrupt and a thread that wakes up: it is worth that for this many bytes.
const SHARE: u64 = 1 << 20;
/// Alignment of the places where requests are split: whole pages, and whole blocks of any disk.
const SPLIT_ALIGN: u32 = 4096;
/// Most blocks of one piece without data.
const MOST_BLOCKS: u32 = 1 << 31;

/// Who wants a job done.
#[derive(Debug)]
pub(super) enum Owner {
    /// A client. Gone once it was answered, which may be before the last piece ends.
    Client(Option<SchemeRequest>),
    /// The search for partitions with this number.
    Search { number: u64, wanted: Wanted, bytes: Vec<u8> },
}

/// What is to be done.
#[derive(Debug)]
enum Work {
    /// Bytes of a buffer, in pieces of the same length but for the last. So many of them in a row go to the same queue.
    Transfer { lba: u64, bytes: u64, piece: u32, in_a_row: u32, block_size: u32, next: u32 },
    /// Ranges that are left.
    Ranges(VecDeque<Range>),
    /// Nothing but the command, once.
    Flush { submitted: bool },
}

impl Work {
    fn is_submitted(&self) -> bool {
        match self {
            Work::Transfer { bytes, piece, next, .. } => u64::from(*next) * u64::from(*piece) >= *bytes,
            Work::Ranges(ranges) => ranges.is_empty(),
            Work::Flush { submitted } => *submitted,
        }
    }
}

/// One request.
#[derive(Debug)]
struct Job {
    owner: Owner,
    operation: Operation,
    disk: DiskId,
    work: Work,
    /// Where the last piece went.
    queue: Option<u16>,
    /// Pieces that were submitted and have not ended.
    outstanding: u32,
    /// The failure that is nearest to the request's beginning.
    failure: Option<(u32, Errno)>,
    /// Nothing more is submitted: it failed, or the client has lost patience.
    stopped: bool,
    cancelled: bool,
}

impl Job {
    fn is_over(&self) -> bool {
        self.outstanding == 0 && (self.stopped || self.work.is_submitted())
    }
}

/// A job that is over, or whose client is to be answered before it is.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) owner: Owner,
    pub(super) operation: Operation,
    pub(super) disk: DiskId,
    /// The bytes of a transfer.
    pub(super) result: Result<u64, Errno>,
}

/// Whole blocks to be read or written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) lba: u64,
    /// At most [`MOST_TRANSFER`].
    pub(super) bytes: u64,
    pub(super) block_size: u32,
    /// Most bytes that can be carried at once.
    pub(super) most_piece: u32,
}

/// All jobs, and the order in which they get their turn.
#[derive(Debug)]
pub(super) struct Jobs {
    slots: Vec<Option<Job>>,
    free: Vec<usize>,
    /// Those that have pieces to submit, in the order of their arrival: nobody is overtaken for want of memory.
    waiting: VecDeque<usize>,
    /// Pieces outstanding in each queue.
    load: Vec<u32>,
    ended: Vec<Ended>,
}

impl Jobs {
    pub(super) fn new(queues: u16) -> Self {
        Jobs {
            slots: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            load: vec![0; usize::from(queues.max(1))],
            ended: Vec::new(),
        }
    }

    /// From now on there are as many queues.
    pub(super) fn set_queues(&mut self, queues: u16) {
        self.load.resize(usize::from(queues.max(1)), 0);
    }

    /// Reads or writes.
    pub(super) fn transfer(&mut self, owner: Owner, operation: Operation, disk: DiskId, transfer: Transfer) {
        let Transfer { lba, bytes, block_size, most_piece } = transfer;
        let shares = (bytes / SHARE).clamp(1, self.load.len() as u64);
        let piece = most_piece.min(MOST_PIECE) / SPLIT_ALIGN * SPLIT_ALIGN;
        let piece = piece.max(SPLIT_ALIGN);
        let in_a_row = bytes.div_ceil(u64::from(piece)).div_ceil(shares);
        let in_a_row = u32::try_from(in_a_row).unwrap_or(u32::MAX).max(1);
        let work = Work::Transfer { lba, bytes, piece, in_a_row, block_size, next: 0 };
        self.add(owner, operation, disk, work);
    }

    /// Discards or zeroes.
    pub(super) fn ranges(
        &mut self,
        owner: Owner,
        operation: Operation,
        disk: DiskId,
        ranges: VecDeque<Range>,
    ) {
        self.add(owner, operation, disk, Work::Ranges(ranges));
    }

    pub(super) fn flush(&mut self, owner: Owner, disk: DiskId) {
        self.add(owner, Operation::Flush, disk, Work::Flush { submitted: false });
    }

    fn add(&mut self, owner: Owner, operation: Operation, disk: DiskId, work: Work) {
        let job = Job {
            owner,
            operation,
            disk,
            work,
            queue: None,
            outstanding: 0,
            failure: None,
            stopped: false,
            cancelled: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MOST => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => {
                let Job { owner, operation, disk, .. } = job;
                self.ended.push(Ended { owner, operation, disk, result: Err(Errno::AGAIN) });
                return;
            }
        };
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(job);
        }
        self.waiting.push_back(slot);
    }

    /// Submits what there is room for, the eldest first.
    pub(super) fn submit<C: Carrier>(&mut self, carrier: &mut C) {
        while let Some(&slot) = self.waiting.front() {
            let Some(job) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
                self.waiting.pop_front();
                continue;
            };
            while !job.stopped && !job.work.is_submitted() {
                match submit_next(job, slot, &mut self.load, carrier) {
                    Ok(()) => {}
                    Err(Refusal::Full) => return,
                    Err(Refusal::Failed(error)) => fail(job, u32::MAX, error),
                }
            }
            self.waiting.pop_front();
            self.end_if_over(slot);
        }
    }

    /// Takes the answer to a piece.
    pub(super) fn carried<C: Carrier>(&mut self, carried: Carried<C::Range>, carrier: &mut C) {
        let Cookie { slot, queue, index } = Cookie::from_bits(carried.cookie);
        if let Some(load) = self.load.get_mut(usize::from(queue)) {
            *load = load.saturating_sub(1);
        }
        if let Some(job) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            job.outstanding = job.outstanding.saturating_sub(1);
            let kept = match (carried.result, &carried.data) {
                (Ok(()), Some(range)) if job.operation == Operation::Read => keep(job, index, range, carrier),
                (result, _) => result.map_err(errno),
            };
            if let Err(error) = kept {
                fail(job, index, error);
            }
        }
        if let Some(range) = carried.data {
            carrier.release(range);
        }
        self.end_if_over(slot);
    }

    /// A client has lost patience with a request. Nothing more of it is begun. A read is answered at once: what still
    /// comes for it is thrown away. What changes the disk is answered when it no longer does, so that it cannot meet what
    /// the client does next.
    pub(super) fn cancel(&mut self, tag: u32) -> bool {
        let found = self.slots.iter_mut().enumerate().find_map(|(slot, job)| match job {
            Some(job) => match &job.owner {
                Owner::Client(Some(request)) if request.tag() == tag => Some((slot, job)),
                _ => None,
            },
            None => None,
        });
        let Some((slot, job)) = found else { return false };
        job.cancelled = true;
        job.stopped = true;
        if job.operation == Operation::Read
            && let Owner::Client(request) = &mut job.owner
        {
            self.ended.push(Ended {
                owner: Owner::Client(request.take()),
                operation: job.operation,
                disk: job.disk,
                result: Err(Errno::CANCELED),
            });
        }
        self.end_if_over(slot);
        true
    }

    /// What is over since this was called last.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    fn end_if_over(&mut self, slot: usize) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Some(job) = place.take_if(|job| job.is_over()) else { return };
        if !job.work.is_submitted() {
            self.waiting.retain(|waiting| *waiting != slot);
        }
        self.free.push(slot);
        let result = match (job.failure, &job.work) {
            (Some((_, error)), _) => Err(error),
            (None, work) if job.cancelled && !work.is_submitted() => Err(Errno::CANCELED),
            (None, Work::Transfer { bytes, .. }) => Ok(*bytes),
            (None, _) => Ok(0),
        };
        if !matches!(job.owner, Owner::Client(None)) {
            self.ended.push(Ended { owner: job.owner, operation: job.operation, disk: job.disk, result });
        }
    }
}

enum Refusal {
    Full,
    Failed(Errno),
}

fn fail(job: &mut Job, index: u32, error: Errno) {
    job.stopped = true;
    if job.failure.is_none_or(|(first, _)| index < first) {
        job.failure = Some((index, error));
    }
}

/// Submits a job's next piece: to the queue that has least to do, or to that of the pieces before it.
fn submit_next<C: Carrier>(
    job: &mut Job,
    slot: usize,
    load: &mut [u32],
    carrier: &mut C,
) -> Result<(), Refusal> {
    let (index, lba, blocks, bytes) = match &job.work {
        Work::Transfer { lba, bytes, piece, block_size, next, .. } => {
            let start = u64::from(*next) * u64::from(*piece);
            let len = bytes.saturating_sub(start).min(u64::from(*piece));
            let block_size = u64::from((*block_size).max(1));
            let len = u32::try_from(len).map_err(|_| Refusal::Failed(Errno::INVAL))?;
            let blocks =
                u32::try_from(u64::from(len) / block_size).map_err(|_| Refusal::Failed(Errno::INVAL))?;
            (*next, lba + start / block_size, blocks, Some((start, len)))
        }
        Work::Ranges(ranges) => {
            let range = ranges.front().ok_or(Refusal::Failed(Errno::INVAL))?;
            (0, range.lba, u32::try_from(range.blocks).map_or(MOST_BLOCKS, |all| all.min(MOST_BLOCKS)), None)
        }
        Work::Flush { .. } => (0, 0, 0, None),
    };
    let mut data = match bytes {
        Some((start, len)) => {
            let range = carrier.reserve(len).ok_or(Refusal::Full)?;
            if let (Operation::Write, Owner::Client(Some(request))) = (job.operation, &job.owner) {
                let loaded = usize::try_from(start)
                    .map_err(|_| Errno::FAULT)
                    .and_then(|start| carrier.load(&range, request, start, len as usize));
                if let Err(error) = loaded {
                    carrier.release(range);
                    return Err(Refusal::Failed(error));
                }
            }
            Some(range)
        }
        None => None,
    };
    let same = match &job.work {
        Work::Transfer { in_a_row, next, .. } if next % in_a_row != 0 => job.queue,
        _ => None,
    };
    // Then the queues from the idlest on, found by looking for the next larger load: there are few.
    for queue in same.into_iter().chain((0..).map_while(|nth| nth_idlest(load, nth))) {
        let cookie = Cookie { slot, queue, index }.to_bits();
        let piece = Piece { operation: job.operation, disk: job.disk, lba, blocks, cookie };
        match carrier.submit(queue, piece, data) {
            Ok(()) => {
                if let Some(load) = load.get_mut(usize::from(queue)) {
                    *load += 1;
                }
                job.outstanding += 1;
                job.queue = Some(queue);
                match &mut job.work {
                    Work::Transfer { next, .. } => *next += 1,
                    Work::Ranges(ranges) => advance(ranges, blocks),
                    Work::Flush { submitted } => *submitted = true,
                }
                return Ok(());
            }
            Err(back) => data = back,
        }
    }
    if let Some(range) = data {
        carrier.release(range);
    }
    Err(Refusal::Full)
}

/// The queue that has the `nth` least to do.
fn nth_idlest(load: &[u32], nth: usize) -> Option<u16> {
    let rank = |queue: usize, own: u32| {
        load.iter().enumerate().filter(|&(other, load)| (*load, other) < (own, queue)).count()
    };
    let found = load.iter().enumerate().find(|&(queue, own)| rank(queue, *own) == nth)?;
    u16::try_from(found.0).ok()
}

fn advance(ranges: &mut VecDeque<Range>, blocks: u32) {
    if let Some(range) = ranges.front_mut() {
        range.lba += u64::from(blocks);
        range.blocks -= u64::from(blocks);
        if range.blocks == 0 {
            ranges.pop_front();
        }
    }
}

/// Gives what was read to whom it is for.
fn keep<C: Carrier>(job: &mut Job, index: u32, range: &C::Range, carrier: &C) -> Result<(), Errno> {
    let Work::Transfer { bytes, piece, .. } = &job.work else { return Ok(()) };
    let start = u64::from(index) * u64::from(*piece);
    let len = bytes.saturating_sub(start).min(u64::from(*piece));
    let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(len)) else {
        return Err(Errno::FAULT);
    };
    match &mut job.owner {
        Owner::Client(Some(request)) => carrier.store(range, request, start, len),
        Owner::Client(None) => Ok(()),
        Owner::Search { bytes, .. } => {
            let into = bytes.get_mut(start..).and_then(|rest| rest.get_mut(..len)).ok_or(Errno::FAULT)?;
            carrier.copy_out(range, into);
            Ok(())
        }
    }
}

pub(super) fn errno(error: BlockError) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

/// What a piece is part of: a job's slot (24 bits), a queue (16 bits), the number of the piece (24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cookie {
    slot: usize,
    queue: u16,
    index: u32,
}

impl Cookie {
    const FIELD: u64 = (1 << 24) - 1;

    fn to_bits(self) -> u64 {
        (self.slot as u64 & Self::FIELD) << 40
            | u64::from(self.queue) << 24
            | u64::from(self.index) & Self::FIELD
    }

    #[allow(clippy::cast_possible_truncation, reason = "each field is as narrow as what it becomes")]
    fn from_bits(bits: u64) -> Self {
        Cookie { slot: (bits >> 40) as usize, queue: (bits >> 24) as u16, index: (bits & Self::FIELD) as u32 }
    }
}

/// Most bytes of one transfer: its pieces have to be told apart.
pub(super) const MOST_TRANSFER: u64 = 1 << 31;
