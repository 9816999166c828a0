//! The admin queue: commands that are waited for, and those that complete on their own time.

use std::time::Duration;

use nvme_spec::{
    AbortCdw10, AdminOpcode, AsyncEvent, Cdw0, Cns, CompletionEntry, FeatureCdw10, FeatureId, IdentifyCdw10,
    LogCdw10, LogCdw11, LogPage, SubmissionEntry,
};
use redox_driver_sys::{
    dma::{DmaAddr, DmaAllocator, DmaBuffer},
    time::Clock,
};
use zerocopy::FromBytes;

use crate::{
    error::{Error, Result},
    queue::QueuePair,
    regs::Registers,
};

/// Entries of the admin queues: one waited-for command, the aborts, the event request, and room to spare.
pub(crate) const ENTRIES: u16 = 32;
/// Commands that can be outstanding.
const SLOTS: usize = ENTRIES as usize - 1;
/// Data of one command: everything the driver asks for fits a page.
const PAGE: usize = 4096;
/// The slot number is in the low bits of a command identifier, a sequence number above it.
const SLOT_BITS: u32 = 8;
const FIRST_INTERVAL: Duration = Duration::from_micros(20);
const LONGEST_INTERVAL: Duration = Duration::from_millis(1);

/// What became of a command that nobody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsolicited {
    /// An asynchronous event. The request has to be sent again.
    Event(AsyncEvent),
    /// An event request was refused.
    EventRefused(nvme_spec::Status),
    /// An abort completed; whether the command was aborted shows in its own queue.
    Abort,
}

/// Who is interested in a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Execute,
    Event,
    Abort,
}

#[derive(Clone, Copy)]
enum State {
    Free,
    Sent(Purpose),
    Done(Purpose, CompletionEntry),
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    cid: u16,
}

pub(crate) struct Admin {
    pair: QueuePair,
    slots: [Slot; SLOTS],
    sequence: u16,
    page: DmaBuffer,
    clock: Clock,
    timeout: Duration,
    /// Nothing may be sent: the controller is not enabled, or a command was given up and may still complete into
    /// `page`. Ends with a reset.
    closed: bool,
    stale: u64,
}

impl Admin {
    pub(crate) fn new(
        registers: &Registers,
        dma: &DmaAllocator,
        clock: &Clock,
        timeout: Duration,
        page_size: usize,
    ) -> Result<Self> {
        Ok(Admin {
            pair: QueuePair::new(registers, dma, page_size, 0, [ENTRIES; 2], 0)?,
            slots: [Slot { state: State::Free, cid: 0 }; SLOTS],
            sequence: 0,
            page: dma
                .allocate_aligned(PAGE, page_size)
                .map_err(Error::machine("allocate the admin buffer"))?,
            clock: clock.clone(),
            timeout,
            closed: true,
            stale: 0,
        })
    }

    pub(crate) fn pair(&self) -> &QueuePair {
        &self.pair
    }

    /// Completions that belonged to no command.
    pub(crate) fn stale_completions(&self) -> u64 {
        self.stale
    }

    /// Forgets all commands; only while the controller is disabled.
    pub(crate) fn reset(&mut self) {
        self.pair.reset();
        for slot in &mut self.slots {
            slot.state = State::Free;
        }
    }

    /// Lets commands through: the controller is enabled.
    pub(crate) fn open(&mut self) {
        self.closed = false;
    }

    /// Lets nothing through any more: the controller is about to be disabled.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Number of aborts that were sent and not completed.
    pub(crate) fn aborts_outstanding(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::Sent(Purpose::Abort))).count()
    }

    /// Sends a command and waits for it. `name` is what errors call it.
    pub(crate) fn execute(&mut self, name: &dyn std::fmt::Display, entry: SubmissionEntry) -> Result<u32> {
        let Some(slot) = self.send(entry, Purpose::Execute) else {
            return Err(Error::AdminClosed { command: name.to_string() });
        };
        let deadline = self.clock.deadline(self.timeout);
        let mut interval = FIRST_INTERVAL;
        loop {
            // Asked before the last look, so that a late scheduler is not taken for a dead controller.
            let late = deadline.passed(&self.clock);
            self.reap();
            if let State::Done(_, completion) = self.slots[slot].state {
                self.slots[slot].state = State::Free;
                let status = completion.status.status();
                return if status.is_success() {
                    Ok(completion.dw0)
                } else {
                    Err(Error::Command { command: name.to_string(), status })
                };
            }
            if late {
                self.closed = true;
                return Err(Error::NoCompletion { command: name.to_string(), after: self.timeout });
            }
            self.clock.sleep(interval);
            interval = (interval * 2).min(LONGEST_INTERVAL);
        }
    }

    /// Sends a command whose data the controller writes into a page, and copies that out.
    fn fetch<T: FromBytes>(&mut self, name: &dyn std::fmt::Display, mut entry: SubmissionEntry) -> Result<T> {
        const { assert!(size_of::<T>() <= PAGE) };
        entry.dptr = [self.page.addr().get(), 0];
        let fetch =
            |result: redox_driver_sys::Result<T>| result.map_err(Error::machine("copy a command's data"));
        self.page.fill(0, PAGE, 0).map_err(Error::machine("clear the admin buffer"))?;
        self.execute(name, entry)?;
        fetch(self.page.read(0))
    }

    pub(crate) fn identify<T: FromBytes>(&mut self, cns: Cns, nsid: u32) -> Result<T> {
        let entry = SubmissionEntry {
            nsid,
            cdw10: IdentifyCdw10::new().with_cns(cns.0).into(),
            ..command(AdminOpcode::IDENTIFY)
        };
        self.fetch(&format_args!("Identify {cns}, namespace {nsid}"), entry)
    }

    /// Reads a whole log page of the type's length.
    pub(crate) fn log<T: FromBytes>(&mut self, page: LogPage, nsid: u32) -> Result<T> {
        const { assert!(size_of::<T>() >= 4 && size_of::<T>() <= PAGE && size_of::<T>().is_multiple_of(4)) };
        #[allow(clippy::cast_possible_truncation, reason = "at most 1023")]
        let dwords = (size_of::<T>() / 4 - 1) as u16;
        let entry = SubmissionEntry {
            nsid,
            cdw10: LogCdw10::new().with_lid(page.0).with_numdl(dwords).into(),
            cdw11: LogCdw11::new().into(),
            ..command(AdminOpcode::GET_LOG_PAGE)
        };
        self.fetch(&format_args!("Get Log Page {page}"), entry)
    }

    /// Sets a feature that is a number.
    pub(crate) fn set_feature(&mut self, feature: FeatureId, value: u32) -> Result<u32> {
        self.set_feature_entry(feature, SubmissionEntry { cdw11: value, ..SubmissionEntry::default() })
    }

    /// Sets a feature; `entry` has everything but opcode and feature identifier.
    pub(crate) fn set_feature_entry(&mut self, feature: FeatureId, entry: SubmissionEntry) -> Result<u32> {
        let entry = SubmissionEntry {
            cdw0: Cdw0::new().with_opcode(AdminOpcode::SET_FEATURES.0),
            cdw10: FeatureCdw10::new().with_fid(feature.0).into(),
            ..entry
        };
        self.execute(&format_args!("Set Features {feature}"), entry)
    }

    /// Sets a feature with data in memory.
    pub(crate) fn set_feature_data(&mut self, feature: FeatureId, value: u32, data: &[u8]) -> Result<u32> {
        self.page.copy_from(0, data).map_err(Error::machine("fill the admin buffer"))?;
        let dptr = [self.page.addr().get(), 0];
        self.set_feature_entry(feature, SubmissionEntry { cdw11: value, dptr, ..SubmissionEntry::default() })
    }

    pub(crate) fn create_queue(
        &mut self,
        opcode: AdminOpcode,
        queue: u16,
        memory: DmaAddr,
        [cdw10, cdw11]: [u32; 2],
    ) -> Result<()> {
        let entry = SubmissionEntry { dptr: [memory.get(), 0], cdw10, cdw11, ..command(opcode) };
        self.execute(&format_args!("{opcode} {queue}"), entry).map(drop)
    }

    /// Asks for one asynchronous event. Returns whether there was room.
    pub(crate) fn request_event(&mut self) -> bool {
        self.send(command(AdminOpcode::ASYNC_EVENT_REQUEST), Purpose::Event).is_some()
    }

    /// Asks for the abort of command `cid` of submission queue `sqid`. Returns whether there was room.
    pub(crate) fn abort(&mut self, sqid: u16, cid: u16) -> bool {
        let cdw10 = AbortCdw10::new().with_sqid(sqid).with_cid(cid).into();
        let entry = SubmissionEntry { cdw10, ..command(AdminOpcode::ABORT) };
        self.send(entry, Purpose::Abort).is_some()
    }

    /// Takes completions; `unsolicited` is given those that nobody waits for.
    pub(crate) fn poll(&mut self, mut unsolicited: impl FnMut(Unsolicited)) {
        self.reap();
        for slot in &mut self.slots {
            let State::Done(purpose, completion) = slot.state else { continue };
            slot.state = State::Free;
            let status = completion.status.status();
            match purpose {
                // `execute` waits for its own.
                Purpose::Execute => {}
                Purpose::Abort => unsolicited(Unsolicited::Abort),
                Purpose::Event if status.is_success() => {
                    unsolicited(Unsolicited::Event(completion.dw0.into()));
                }
                Purpose::Event => unsolicited(Unsolicited::EventRefused(status)),
            }
        }
    }

    fn send(&mut self, mut entry: SubmissionEntry, purpose: Purpose) -> Option<usize> {
        if self.closed {
            return None;
        }
        let slot = self.slots.iter().position(|slot| matches!(slot.state, State::Free))?;
        self.sequence = self.sequence.wrapping_add(1);
        #[allow(clippy::cast_possible_truncation, reason = "fewer slots than 2^SLOT_BITS")]
        let cid = self.sequence << SLOT_BITS | slot as u16;
        entry.cdw0 = entry.cdw0.with_cid(cid);
        self.slots[slot] = Slot { state: State::Sent(purpose), cid };
        self.pair.push(entry);
        self.pair.commit();
        Some(slot)
    }

    fn reap(&mut self) {
        if self.closed {
            return;
        }
        for _ in 0..ENTRIES {
            let Some(completion) = self.pair.pop() else { break };
            let index = usize::from(completion.cid & ((1 << SLOT_BITS) - 1));
            match self.slots.get_mut(index) {
                Some(Slot { state: state @ State::Sent(_), cid }) if *cid == completion.cid => {
                    if let State::Sent(purpose) = *state {
                        *state = State::Done(purpose, completion);
                    }
                }
                _ => self.stale += 1,
            }
        }
        self.pair.acknowledge();
    }
}

/// An admin command with everything but its opcode zero.
pub(crate) fn command(opcode: AdminOpcode) -> SubmissionEntry {
    SubmissionEntry { cdw0: Cdw0::new().with_opcode(opcode.0), ..SubmissionEntry::default() }
}
