//! The command buffer: invalidations are gathered, and one COMPLETION_WAIT ends each batch (section 2.4).

use std::time::Duration;

use amd_vi_spec::{
    Command, DomainId, InvalidatePagesRange, PAGE_SHIFT, SizedRange,
    registers::{RingBase, RingPointer},
};
use redox_driver_sys::dma::DmaSlice;

use super::{
    error::{Result, UnitError},
    memory::TableMemory,
    registers::{POLL_INTERVAL, Registers},
};

/// How often the store of a COMPLETION_WAIT is looked for before the clock is.
const SPINS: u32 = 1000;

/// The driver's side of the ring. It never waits for the unit but when the ring is full.
pub(super) struct CommandRing {
    entries: DmaSlice<Command>,
    log2: u8,
    /// Where the next command goes.
    tail: usize,
    /// Where the unit was when it was looked last: what is before is done.
    head: usize,
    /// What COMPLETION_WAIT stores, and what the next one will.
    store: DmaSlice<u64>,
    sequence: u64,
    /// Pages that were invalidated last, not yet in the ring: their neighbours may follow.
    pages: Option<Pages>,
    /// The ring was full and stayed so: commands were lost, and only to start anew helps.
    stalled: bool,
    timeout: Duration,
}

#[derive(Clone, Copy)]
struct Pages {
    domain: DomainId,
    start: u64,
    last: u64,
    tables: bool,
}

impl CommandRing {
    pub(super) fn new(
        memory: &mut TableMemory,
        log2: u8,
        timeout: Duration,
    ) -> redox_driver_sys::Result<Self> {
        Ok(CommandRing {
            entries: memory.slice(1 << log2)?,
            log2,
            tail: 0,
            head: 0,
            store: memory.slice(1)?,
            sequence: 0,
            pages: None,
            stalled: false,
            timeout,
        })
    }

    /// Gives the ring to a unit that executes no commands, empty.
    pub(super) fn install(&mut self, registers: &Registers) {
        let base =
            RingBase::new().with_frame(self.entries.addr().get() >> PAGE_SHIFT).with_log2_entries(self.log2);
        registers.command_base.write(base);
        registers.command_head.write(RingPointer::new());
        registers.command_tail.write(RingPointer::new());
        (self.tail, self.head, self.pages, self.stalled) = (0, 0, None, false);
    }

    /// Puts a command into the ring. The unit sees it at the next [`finish`](Self::finish), or when the ring is full.
    #[inline]
    pub(super) fn push(&mut self, registers: &Registers, command: Command) {
        let next = (self.tail + 1) & (self.entries.len() - 1);
        if next == self.head && !self.make_room(registers) {
            return;
        }
        self.entries.write(self.tail, command);
        self.tail = next;
    }

    /// Waits until the unit has taken a command out of the full ring.
    #[cold]
    fn make_room(&mut self, registers: &Registers) -> bool {
        if self.stalled {
            return false;
        }
        self.commit(registers);
        let full = self.head;
        let head = || usize::from(registers.command_head.read().entry()) & (self.entries.len() - 1);
        let moved = || Ok(Some(head()).filter(|&head| head != full));
        match registers.clock.poll_until("room for commands", self.timeout, POLL_INTERVAL, moved) {
            Ok(head) => self.head = head,
            Err(_) => self.stalled = true,
        }
        !self.stalled
    }

    /// Tells the unit of what was put in.
    fn commit(&self, registers: &Registers) {
        #[allow(clippy::cast_possible_truncation, reason = "a ring has at most 2^15 entries")]
        registers.command_tail.write(RingPointer::new().with_entry(self.tail as u16));
    }

    /// Forgets `len` bytes of a domain from `start` on; with `tables`, the tables that led there as well.
    #[inline]
    pub(super) fn invalidate_pages(
        &mut self,
        registers: &Registers,
        domain: DomainId,
        start: u64,
        len: u64,
        tables: bool,
    ) {
        if len == 0 {
            return;
        }
        let last = start.saturating_add(len - 1);
        if let Some(pages) = &mut self.pages
            && pages.domain == domain
            && start <= pages.last.saturating_add(1)
            && last >= pages.start.saturating_sub(1)
        {
            pages.start = pages.start.min(start);
            pages.last = pages.last.max(last);
            pages.tables |= tables;
            return;
        }
        self.flush_pages(registers);
        self.pages = Some(Pages { domain, start, last, tables });
    }

    /// Forgets all of a domain.
    pub(super) fn invalidate_domain(&mut self, registers: &Registers, domain: DomainId) {
        self.flush_pages(registers);
        self.push(registers, Command::invalidate_iommu_pages(domain, InvalidatePagesRange::ALL, true));
    }

    /// Puts the gathered pages into the ring: one command, or two where one would be about far more than was asked for.
    #[inline]
    fn flush_pages(&mut self, registers: &Registers) {
        let Some(Pages { domain, start, last, tables }) = self.pages.take() else { return };
        let mut push = |start, last| {
            let range = SizedRange::covering(start, last);
            let range = range.map_or(InvalidatePagesRange::ALL, InvalidatePagesRange::of);
            self.push(registers, Command::invalidate_iommu_pages(domain, range, tables));
        };
        match SizedRange::covering(start, last) {
            // The ends lie on both sides of the middle, and most of a half is between neither of them and it.
            Some(range) if range.bytes() / 4 > last - start => {
                let middle = range.start() + range.bytes() / 2;
                push(start, middle - 1);
                push(middle, last);
            }
            _ => push(start, last),
        }
    }

    /// Ends the batch: waits until the unit has done everything that was put in.
    ///
    /// # Errors
    /// When it stopped or did not do so in time; the ring must then be installed anew.
    #[inline]
    pub(super) fn finish(&mut self, registers: &Registers) -> Result<()> {
        self.flush_pages(registers);
        self.sequence = self.sequence.wrapping_add(1);
        let wait = Command::completion_wait(self.store.addr().get(), self.sequence, false);
        self.push(registers, wait);
        if self.stalled {
            return Err(UnitError::Failed { step: "make room for commands" });
        }
        self.commit(registers);
        for _ in 0..SPINS {
            if self.is_done() {
                self.head = self.tail;
                return Ok(());
            }
            std::hint::spin_loop();
        }
        self.wait(registers)
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.store.load_acquire::<u64>(0, 0) == self.sequence
    }

    #[cold]
    fn wait(&mut self, registers: &Registers) -> Result<()> {
        let done = || {
            let running = registers.status()?.cmd_buf_run();
            // A unit that stopped may have done it before.
            Ok(if self.is_done() { Some(true) } else { (!running).then_some(false) })
        };
        let done = registers.clock.poll_until("COMPLETION_WAIT", self.timeout, POLL_INTERVAL, done);
        if done.map_err(UnitError::machine("wait for commands"))? {
            self.head = self.tail;
            return Ok(());
        }
        Err(UnitError::Stopped { offset: registers.command_head.read().bytes() })
    }
}
