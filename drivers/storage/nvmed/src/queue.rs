//! A submission queue with its completion queue: memory, positions, doorbells (section 4.1).

use nvme_spec::{CompletionEntry, SubmissionEntry};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, DmaSlice},
    mmio::{Register, WriteOnly},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    error::{Error, Result},
    regs::Registers,
};

/// Bit of the dword at [`CompletionEntry::PUBLISHED_AT`] that holds the phase tag.
const PHASE: u32 = 1 << 16;

/// A pair of queues. Whoever owns it makes sure that no more commands are in flight than the submission queue has
/// entries, less one; then neither queue can overflow.
pub(crate) struct QueuePair {
    id: u16,
    sq: DmaSlice<SubmissionEntry>,
    cq: DmaSlice<CompletionEntry>,
    tail_doorbell: Register<u32, WriteOnly>,
    head_doorbell: Register<u32, WriteOnly>,
    sq_entries: u16,
    cq_entries: u16,
    tail: u16,
    tail_shown: u16,
    head: u16,
    /// Entries taken from the completion queue that the controller was not told of.
    unacknowledged: u16,
    /// How many of those are harmless.
    lazy: u16,
    phase: bool,
}

impl QueuePair {
    /// Allocates pair `id` with `sq_entries` and `cq_entries`, each at least 2. Up to `lazy` taken completions are kept
    /// from the controller to save doorbells; the completion queue must be larger by that.
    pub(crate) fn new(
        registers: &Registers,
        dma: &DmaAllocator,
        page_size: usize,
        id: u16,
        [sq_entries, cq_entries]: [u16; 2],
        lazy: u16,
    ) -> Result<Self> {
        let [tail_doorbell, head_doorbell] = registers.doorbells(id)?;
        let memory = Error::machine("allocate queue memory");
        let allocate = || Ok((ring(dma, sq_entries, page_size)?, ring(dma, cq_entries, page_size)?));
        let (sq, cq) = allocate().map_err(memory)?;
        Ok(QueuePair {
            id,
            sq,
            cq,
            tail_doorbell,
            head_doorbell,
            sq_entries,
            cq_entries,
            tail: 0,
            tail_shown: 0,
            head: 0,
            unacknowledged: 0,
            lazy,
            phase: true,
        })
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Entries of the submission queue.
    pub(crate) fn entries(&self) -> u16 {
        self.sq_entries
    }

    /// Entries of the completion queue.
    pub(crate) fn completion_entries(&self) -> u16 {
        self.cq_entries
    }

    /// Where the submission and the completion queue are.
    pub(crate) fn addresses(&self) -> (DmaAddr, DmaAddr) {
        (self.sq.addr(), self.cq.addr())
    }

    /// Forgets everything; only while the controller is disabled.
    pub(crate) fn reset(&mut self) {
        self.sq.clear();
        self.cq.clear();
        (self.tail, self.tail_shown, self.head, self.unacknowledged) = (0, 0, 0, 0);
        self.phase = true;
    }

    /// Puts an entry at the tail. The controller sees it after [`commit`](Self::commit).
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: SubmissionEntry) {
        self.sq.write(usize::from(self.tail), entry);
        self.tail = next(self.tail, self.sq_entries);
    }

    /// Rings the tail doorbell if anything was pushed since the last time.
    #[inline]
    pub(crate) fn commit(&mut self) {
        if self.tail != self.tail_shown {
            self.tail_doorbell.write(u32::from(self.tail));
            self.tail_shown = self.tail;
        }
    }

    /// Whether there is a completion to take.
    #[inline(always)]
    pub(crate) fn has_completion(&self) -> bool {
        let published = self.cq.load_acquire::<u32>(usize::from(self.head), CompletionEntry::PUBLISHED_AT);
        (published & PHASE != 0) == self.phase
    }

    /// Takes the next completion, if there is one.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<CompletionEntry> {
        if !self.has_completion() {
            return None;
        }
        let entry = self.cq.read(usize::from(self.head));
        self.head = next(self.head, self.cq_entries);
        if self.head == 0 {
            self.phase = !self.phase;
        }
        self.unacknowledged += 1;
        Some(entry)
    }

    /// Tells the controller how far completions were taken, unless that can wait.
    #[inline]
    pub(crate) fn acknowledge(&mut self) {
        if self.unacknowledged > self.lazy {
            self.head_doorbell.write(u32::from(self.head));
            self.unacknowledged = 0;
        }
    }
}

/// A queue is contiguous and starts on a memory page (section 4.1).
fn ring<T: FromBytes + IntoBytes + Immutable>(
    dma: &DmaAllocator,
    entries: u16,
    page_size: usize,
) -> redox_driver_sys::Result<DmaSlice<T>> {
    let entries = usize::from(entries);
    DmaSlice::new(dma.allocate_aligned(entries * size_of::<T>(), page_size)?, entries)
}

#[inline]
fn next(position: u16, entries: u16) -> u16 {
    if position + 1 == entries { 0 } else { position + 1 }
}
