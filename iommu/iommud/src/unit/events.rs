//! The event log (section 2.5).

use std::time::Duration;

use amd_vi_spec::{
    Event, EventLogEntry, PAGE_SHIFT,
    registers::{RingBase, RingPointer, Status},
};
use redox_driver_sys::dma::DmaSlice;

use super::{
    error::{Result, UnitError},
    memory::TableMemory,
    registers::{POLL_INTERVAL, Registers},
};

/// How long an entry may follow the tail pointer that tells of it.
const LATE: Duration = Duration::from_micros(100);

/// What a look at the log found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Events that were there.
    pub events: usize,
    /// Whether the log was full and events were lost since; how many, no unit tells.
    pub overflow: bool,
    /// Entries that the unit told of and never wrote.
    pub missing: usize,
}

pub(super) struct EventLog {
    entries: DmaSlice<EventLogEntry>,
    log2: u8,
    head: usize,
}

impl EventLog {
    pub(super) fn new(memory: &mut TableMemory, log2: u8) -> redox_driver_sys::Result<Self> {
        Ok(EventLog { entries: memory.slice(1 << log2)?, log2, head: 0 })
    }

    /// Gives the log to a unit that logs no events, empty.
    pub(super) fn install(&mut self, registers: &Registers) {
        self.entries.clear();
        self.head = 0;
        let base =
            RingBase::new().with_frame(self.entries.addr().get() >> PAGE_SHIFT).with_log2_entries(self.log2);
        registers.event_base.write(base);
        registers.event_head.write(RingPointer::new());
        registers.event_tail.write(RingPointer::new());
    }

    /// Takes what is in the log, at most a log full.
    pub(super) fn drain(&mut self, registers: &Registers, mut sink: impl FnMut(Event)) -> Result<Drained> {
        let status = registers.status().map_err(UnitError::machine("look at the event log"))?;
        // Before the tail is read: what comes later interrupts again.
        registers.clear_status(Status::new().with_event_log_int(true));
        let tail = registers.event_tail.read();
        let end = usize::from(tail.entry());
        if end >= self.entries.len() {
            return Err(UnitError::Value { what: "tail pointer of the event log", value: tail.into() });
        }
        let mut drained = Drained { overflow: status.event_overflow(), ..Drained::default() };
        let before = self.head;
        while self.head != end {
            match self.take(registers) {
                Some(event) => {
                    drained.events += 1;
                    sink(event);
                }
                None => drained.missing += 1,
            }
            self.head = (self.head + 1) & (self.entries.len() - 1);
        }
        if self.head != before {
            #[allow(clippy::cast_possible_truncation, reason = "a log has at most 2^15 entries")]
            registers.event_head.write(RingPointer::new().with_entry(self.head as u16));
        }
        Ok(drained)
    }

    /// The event at the head. The unit may have moved the tail before it wrote the entry, which was zero until then.
    fn take(&self, registers: &Registers) -> Option<Event> {
        let written = || {
            let entry = self.entries.read(self.head);
            Ok((entry.flags.code() != 0).then_some(entry))
        };
        let entry = registers.clock.poll_until("an event", LATE, POLL_INTERVAL, written).ok()?;
        self.entries.write(self.head, EventLogEntry::default());
        Some(entry.event())
    }
}
