//! A request queue as the block layer sees it (section 5.2.6).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use driver_block::{BlockError, Command, Completed, HardwareQueue, LbaRange, Operation, SubmitError};
use redox_driver_sys::{
    dma::{DmaAllocator, DmaSlice, Segment},
    irq::Interrupt,
    mmio::{ReadClears, Register},
    time::Clock,
};
use virtio_core::{AddError, Chain, Used, VirtQueue};
use virtio_spec::{
    blk::{RangeFlags, RequestHeader, RequestStatus, RequestType, SectorRange},
    pci::InterruptStatus,
};

use crate::{
    disk::{MOST_RANGES, Shape},
    error::{Error, Result},
};

/// What a status byte is before the device has written it: none of the values that are defined.
const UNWRITTEN: RequestStatus = RequestStatus(0xff);
/// How long the device may take for a request while it is being set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
const SETUP_POLL: Duration = Duration::from_micros(100);

/// What the queues of one device count together, and tell its controller.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that ended with an error.
    pub failed_requests: AtomicU64,
    /// Times that the device broke the protocol of a queue.
    pub protocol_errors: AtomicU64,
    /// The interrupt pin announced a change of the configuration.
    pub(crate) configuration_changed: AtomicBool,
}

/// What the device reads and writes of requests beside their data: one of each for every tag.
struct Memory {
    headers: DmaSlice<RequestHeader>,
    statuses: DmaSlice<RequestStatus>,
    /// [`MOST_RANGES`] for each tag.
    ranges: DmaSlice<SectorRange>,
}

impl Memory {
    fn new(dma: &DmaAllocator, depth: u16) -> redox_driver_sys::Result<Self> {
        let depth = usize::from(depth);
        Ok(Memory {
            headers: dma.allocate_slice(depth)?,
            statuses: dma.allocate_slice(depth)?,
            ranges: dma.allocate_slice(depth * usize::from(MOST_RANGES))?,
        })
    }
}

/// One request queue.
pub struct IoQueue {
    queue: VirtQueue,
    memory: Memory,
    /// Whether each tag is in flight.
    in_flight: Box<[bool]>,
    shape: Shape,
    /// The pieces of a transfer whose segments are too long for the device.
    pieces: Vec<Segment>,
    interrupt: Option<Interrupt>,
    /// With the interrupt pin: where its reason is read, which lets it fall.
    reason: Option<Register<InterruptStatus, ReadClears>>,
    counters: Arc<Counters>,
}

impl IoQueue {
    pub(crate) fn new(
        queue: VirtQueue,
        dma: &DmaAllocator,
        depth: u16,
        shape: Shape,
        (interrupt, reason): (Option<Interrupt>, Option<Register<InterruptStatus, ReadClears>>),
        counters: Arc<Counters>,
    ) -> Result<Self> {
        Ok(IoQueue {
            memory: Memory::new(dma, depth).map_err(Error::machine("allocate request memory"))?,
            in_flight: vec![false; usize::from(depth)].into_boxed_slice(),
            pieces: Vec::with_capacity(usize::from(shape.segments)),
            queue,
            shape,
            interrupt,
            reason,
            counters,
        })
    }

    pub(crate) fn virtqueue(&self) -> &VirtQueue {
        &self.queue
    }

    /// How often the device was notified of new requests.
    pub fn notifications(&self) -> u64 {
        self.queue.notifications()
    }

    /// Forgets all requests; only while the device is reset.
    pub(crate) fn reset(&mut self) {
        self.queue.reset();
        self.in_flight.fill(false);
    }

    /// Header and status of a tag, as the device finds them.
    #[inline(always)]
    fn frame(&self, tag: u16, kind: RequestType, sector: u64) -> ([Segment; 1], [Segment; 1]) {
        #[allow(clippy::cast_possible_truncation, reason = "16 bytes")]
        const HEADER: u32 = size_of::<RequestHeader>() as u32;
        let at = usize::from(tag);
        self.memory.headers.write(at, RequestHeader { kind, reserved: 0, sector });
        self.memory.statuses.write(at, UNWRITTEN);
        let header = Segment { addr: self.memory.headers.addr_of(at), len: HEADER };
        let status = Segment { addr: self.memory.statuses.addr_of(at), len: 1 };
        ([header], [status])
    }

    #[inline(always)]
    fn transfer(&mut self, tag: u16, command: &Command<'_>, kind: RequestType) -> Result<(), SubmitError> {
        let range = command.ranges.first().copied().ok_or(BlockError::Invalid)?;
        let sector = range.lba << self.shape.sector_shift;
        let (header, status) = self.frame(tag, kind, sector);
        let too_long = |segment: &Segment| segment.len > self.shape.size_max;
        let data = if command.segments.iter().any(too_long) {
            cut(command.segments, self.shape, &mut self.pieces)?;
            &self.pieces
        } else {
            command.segments
        };
        let chain = if kind == RequestType::IN {
            Chain { readable: [&header, &[]], writable: [data, &status] }
        } else {
            Chain { readable: [&header, data], writable: [&status, &[]] }
        };
        added(self.queue.add(&chain, tag))
    }

    /// A request without data.
    fn plain(&mut self, tag: u16, kind: RequestType) -> Result<(), SubmitError> {
        let (header, status) = self.frame(tag, kind, 0);
        let chain = Chain { readable: [&header, &[]], writable: [&status, &[]] };
        added(self.queue.add(&chain, tag))
    }

    /// A request that names ranges.
    #[inline(never)]
    fn ranges(&mut self, tag: u16, kind: RequestType, ranges: &[LbaRange]) -> Result<(), SubmitError> {
        if ranges.is_empty() || ranges.len() > usize::from(MOST_RANGES) {
            return Err(BlockError::Invalid.into());
        }
        let (header, status) = self.frame(tag, kind, 0);
        let first = usize::from(tag) * usize::from(MOST_RANGES);
        for (index, range) in ranges.iter().enumerate() {
            let sectors =
                range.blocks.checked_mul(1 << self.shape.sector_shift).ok_or(BlockError::Invalid)?;
            let sector = range.lba << self.shape.sector_shift;
            let range = SectorRange { sector, sectors, flags: RangeFlags::new() };
            self.memory.ranges.write(first + index, range);
        }
        let len = ranges.len() * size_of::<SectorRange>();
        let len = u32::try_from(len).map_err(|_| BlockError::Invalid)?;
        let data = [Segment { addr: self.memory.ranges.addr_of(first), len }];
        let chain = Chain { readable: [&header, &data], writable: [&status, &[]] };
        added(self.queue.add(&chain, tag))
    }

    /// Asks something of the device while nothing else is in flight, and waits for the answer: `N` bytes, or none if the device has
    /// no such request.
    pub(crate) fn ask<const N: usize>(
        &mut self,
        clock: &Clock,
        request: RequestType,
    ) -> Result<Option<[u8; N]>> {
        const { assert!(N <= MOST_RANGES as usize * size_of::<SectorRange>()) };
        let failed = |source| Error::Protocol { request, source };
        let (header, status) = self.frame(0, request, 0);
        #[allow(clippy::cast_possible_truncation, reason = "a few bytes")]
        let data = [Segment { addr: self.memory.ranges.addr_of(0), len: N as u32 }];
        let chain = Chain { readable: [&header, &[]], writable: [&data, &status] };
        match self.queue.add(&chain, 0) {
            Ok(()) => {}
            Err(AddError::Broken(source)) => return Err(failed(source)),
            // As when the queue is too small for it.
            Err(AddError::Full | AddError::Invalid) => return Ok(None),
        }
        self.queue.commit();
        let deadline = clock.deadline(SETUP_TIMEOUT);
        loop {
            let late = deadline.passed(clock);
            if self.queue.pop().map_err(failed)?.is_some() {
                break;
            }
            if late {
                return Err(Error::NoCompletion { request, after: SETUP_TIMEOUT });
            }
            clock.sleep(SETUP_POLL);
        }
        // It was announced like any other, and the next one is to be, too.
        self.queue.arm();
        if self.memory.statuses.read(0) != RequestStatus::OK {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(N.next_multiple_of(size_of::<SectorRange>()));
        for index in 0..N.div_ceil(size_of::<SectorRange>()) {
            bytes.extend_from_slice(zerocopy::IntoBytes::as_bytes(&self.memory.ranges.read(index)));
        }
        Ok(bytes.first_chunk().copied())
    }

    /// What the status of a request that came back means.
    #[inline]
    fn judge(&self, Used { token, .. }: Used) -> Result<Result<(), BlockError>, BlockError> {
        match self.memory.statuses.read(usize::from(token)) {
            RequestStatus::OK => Ok(Ok(())),
            RequestStatus::IOERR => Ok(Err(BlockError::Medium)),
            RequestStatus::UNSUPP => Ok(Err(BlockError::Unsupported)),
            // It has not carried the request out that it returned, or nobody knows what it has done.
            RequestStatus(status) => {
                log::warn!(
                    "queue {}: request {token} came back with status {status:#04x}",
                    self.queue.index()
                );
                Err(BlockError::Protocol)
            }
        }
    }
}

/// Cuts segments into pieces that are no longer than the device takes.
#[inline(never)]
fn cut(segments: &[Segment], shape: Shape, pieces: &mut Vec<Segment>) -> Result<(), BlockError> {
    pieces.clear();
    for segment in segments {
        let mut done = 0;
        while done < segment.len {
            if pieces.len() == usize::from(shape.segments) {
                return Err(BlockError::Invalid);
            }
            let len = (segment.len - done).min(shape.size_max);
            pieces.push(Segment { addr: segment.addr.offset(done.into()), len });
            done += len;
        }
    }
    Ok(())
}

#[inline(always)]
fn added(result: Result<(), AddError>) -> Result<(), SubmitError> {
    match result {
        Ok(()) => Ok(()),
        // Until the controller is reset, which the next reap asks for, nothing more is taken.
        Err(AddError::Full | AddError::Broken(_)) => Err(SubmitError::Full),
        Err(AddError::Invalid) => Err(BlockError::Invalid.into()),
    }
}

impl HardwareQueue for IoQueue {
    fn depth(&self) -> u16 {
        #[allow(clippy::cast_possible_truncation, reason = "at most MAX_DEPTH")]
        let depth = self.in_flight.len() as u16;
        depth
    }

    #[inline]
    fn submit(&mut self, tag: u16, command: &Command<'_>) -> Result<(), SubmitError> {
        if self.in_flight.get(usize::from(tag)) != Some(&false) {
            return Err(BlockError::Invalid.into());
        }
        match command.operation {
            Operation::Read => self.transfer(tag, command, RequestType::IN)?,
            Operation::Write => self.transfer(tag, command, RequestType::OUT)?,
            Operation::Flush => self.plain(tag, RequestType::FLUSH)?,
            Operation::Discard => self.ranges(tag, RequestType::DISCARD, command.ranges)?,
            Operation::WriteZeroes => self.ranges(tag, RequestType::WRITE_ZEROES, command.ranges)?,
        }
        self.in_flight[usize::from(tag)] = true;
        Ok(())
    }

    #[inline]
    fn commit(&mut self) {
        self.queue.commit();
    }

    #[inline]
    fn reap(&mut self, completed: &mut Vec<Completed>) -> Result<(), BlockError> {
        if let Some(reason) = &self.reason
            && reason.read_and_clear().configuration()
        {
            self.counters.configuration_changed.store(true, Ordering::Release);
        }
        // A device returns no more than it has; what it shows and hides again must not keep the thread.
        for _ in 0..2 * self.in_flight.len() + 2 {
            let used = self.queue.pop().map_err(|error| {
                self.counters.protocol_errors.fetch_add(1, Ordering::Relaxed);
                log::warn!("queue {}: {error}", self.queue.index());
                BlockError::Protocol
            })?;
            let Some(used) = used else {
                if self.queue.arm() {
                    continue;
                }
                return Ok(());
            };
            let result = self.judge(used).inspect_err(|_| {
                self.counters.protocol_errors.fetch_add(1, Ordering::Relaxed);
            })?;
            if result.is_err() {
                self.counters.failed_requests.fetch_add(1, Ordering::Relaxed);
            }
            self.in_flight[usize::from(used.token)] = false;
            completed.push(Completed { tag: used.token, result });
        }
        Ok(())
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    /// There is no way to end a request (section 5.2.6): nothing to find it by.
    fn abort_handle(&self, tag: u16) -> u32 {
        tag.into()
    }
}
