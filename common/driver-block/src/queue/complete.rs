//! From completions to answers: retries, errors, and what must follow before a request is done.

use redox_driver_sys::time::Time;

use super::{Queue, find_disk, gather::Cursor, slots::List, tags::State};
use crate::{
    device::{Completed, HardwareQueue, Operation},
    error::BlockError,
    request::Completion,
};

impl<H: HardwareQueue> Queue<H> {
    /// Takes in what the hardware has completed.
    pub(super) fn take_in(&mut self, now: Time) {
        let mut reaped = std::mem::take(&mut self.reaped);
        for completed in reaped.drain(..) {
            self.completed(completed, now);
        }
        self.reaped = reaped;
    }

    #[inline]
    fn completed(&mut self, completed: Completed, now: Time) {
        let Completed { tag, result } = completed;
        match (self.tags.end(tag), result) {
            (Some(Some(head)), Ok(())) => self.settle_simple(tag, head),
            (Some(None), Ok(())) => self.settle(tag, Ok(())),
            (Some(_), Err(error)) => self.failed(tag, error, now),
            (None, _) => self.statistics.stray += 1,
        }
    }

    /// Ends a simple command that was carried out.
    #[inline]
    fn settle_simple(&mut self, tag: u16, head: u32) {
        self.tags.release(tag);
        if self.limited {
            self.give_share_back(self.slots[head].request.disk);
        }
        let slot = &mut self.slots[head];
        let blocks = slot.request.blocks;
        if slot.flush_after {
            slot.outstanding = 0;
            slot.done = blocks;
            slot.flush_after = false;
            self.join_flush(head);
        } else {
            let bytes = blocks << slot.shift;
            self.give(head, Ok(()), bytes);
        }
    }

    /// Decides about a command that was not carried out; its tag is in no list.
    pub(super) fn failed(&mut self, tag: u16, error: BlockError, now: Time) {
        self.describe(tag);
        let state = &mut self.tags[tag];
        if error.is_retryable() && state.retries < self.options.retries {
            let delay = match error {
                BlockError::Transient => self.options.retry_delay.saturating_mul(1 << state.retries.min(10)),
                _ => std::time::Duration::ZERO,
            };
            state.retries += 1;
            self.tags.enter(tag, State::Queued, now.plus(delay));
            self.statistics.of_mut(self.tags.work(tag).counted).retries += 1;
            return;
        }
        let error = if error.is_retryable() && state.expired { BlockError::TimedOut } else { error };
        let work = self.tags.work(tag);
        if work.count > 1 && work.operation != Operation::Flush && concerns_a_part(error) {
            self.separate(tag);
        } else {
            self.settle(tag, Err(error));
        }
    }

    /// Has each request of a failed command try by itself: the error belongs to one of them only.
    fn separate(&mut self, tag: u16) {
        let work = *self.tags.work(tag);
        let mut list = List::EMPTY;
        let mut index = work.head;
        for _ in 0..work.count {
            let slot = &mut self.slots[index];
            let next = slot.next;
            slot.outstanding = 0;
            slot.issued = 0;
            slot.cursor = Cursor::default();
            slot.alone = true;
            slot.waiting = true;
            list.push_back(&mut self.slots, index);
            index = next;
        }
        let backlog = self.backlog.take();
        list.append(&mut self.slots, backlog);
        self.backlog = list;
        self.tags.release(tag);
        self.give_share_back(work.disk);
    }

    /// Ends a command for good; its tag is in no list.
    pub(super) fn settle(&mut self, tag: u16, result: Result<(), BlockError>) {
        self.describe(tag);
        let work = self.tags.work(tag);
        let (head, count, blocks, disk) = (work.head, work.count, work.blocks, work.disk);
        let flush = work.operation == Operation::Flush;
        self.tags.release(tag);
        self.give_share_back(disk);
        if flush && let Some(disk) = find_disk(&mut self.disks, disk) {
            disk.flush_running = false;
        }
        let mut index = head;
        for _ in 0..count {
            let slot = &mut self.slots[index];
            let next = slot.next;
            slot.outstanding -= 1;
            match result {
                Ok(()) if flush => {}
                Ok(()) => slot.done += if count == 1 { blocks } else { slot.request.blocks },
                Err(error) => {
                    slot.error.get_or_insert(error);
                }
            }
            if slot.outstanding == 0 && !slot.waiting {
                if slot.error.is_none() && slot.flush_after {
                    slot.flush_after = false;
                    self.join_flush(index);
                } else {
                    self.answer(index);
                }
            }
            index = next;
        }
    }

    /// Answers a request that is in no list and no command.
    pub(super) fn answer(&mut self, index: u32) {
        let slot = &self.slots[index];
        self.give(index, slot.error.map_or(Ok(()), Err), slot.done << slot.shift);
    }

    /// Gives an answer and forgets its request.
    #[inline(always)]
    fn give(&mut self, index: u32, result: Result<(), BlockError>, bytes: u64) {
        let slot = &self.slots[index];
        let counters = self.statistics.of_mut(slot.request.operation);
        match result {
            Ok(()) => counters.succeeded += 1,
            Err(_) => counters.failed += 1,
        }
        counters.bytes += bytes;
        self.answers.push(Completion { cookie: slot.request.cookie, result, bytes });
        self.slots.release(index);
    }

    /// Looks again at all that waits, after a disk has changed.
    pub(super) fn recheck_waiting(&mut self) {
        self.plugged = self.recheck(self.plugged);
        self.backlog = self.recheck(self.backlog);
    }

    fn recheck(&mut self, mut list: List) -> List {
        let mut kept = List::EMPTY;
        while let Some(index) = list.pop_front(&self.slots) {
            let slot = &mut self.slots[index];
            let verdict = match find_disk(&mut self.disks, slot.request.disk) {
                None => Err(BlockError::Gone),
                Some(disk) if disk.shift != slot.shift => Err(BlockError::Invalid),
                Some(disk) => disk.check(&slot.request).map(|_| ()),
            };
            match verdict {
                Ok(()) => {
                    // The limits may be others than those it was judged by.
                    slot.simple = false;
                    kept.push_back(&mut self.slots, index);
                }
                Err(error) => {
                    slot.error.get_or_insert(error);
                    slot.waiting = false;
                    if slot.outstanding == 0 {
                        self.answer(index);
                    }
                }
            }
        }
        kept
    }
}

/// Whether an error may come from only one of the requests that share a command.
fn concerns_a_part(error: BlockError) -> bool {
    matches!(error, BlockError::Medium | BlockError::NoSpace | BlockError::OutOfRange | BlockError::Invalid)
}
