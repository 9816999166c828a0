//! When the hardware goes away: for a reset, or for good.

use redox_driver_sys::time::Time;

use super::{Queue, slots::List, tags::State};
use crate::{device::HardwareQueue, error::BlockError};

impl<H: HardwareQueue> Queue<H> {
    /// Hands the hardware out for a reset. Requests are still taken; they wait.
    pub fn take_hardware(&mut self) -> Option<H> {
        self.hardware.take()
    }

    /// Takes the hardware back after a reset, which has made the device forget every command: they are submitted again,
    /// or answered with [`BlockError::TimedOut`] after too many tries.
    pub fn put_hardware(&mut self, hardware: H, now: Time) {
        for state in [State::Aborting, State::Running] {
            while let Some(tag) = self.tags.first(state) {
                self.tags.leave(tag);
                self.describe(tag);
                let state = &mut self.tags[tag];
                if state.retries < self.options.retries {
                    state.retries += 1;
                    self.tags.enter(tag, State::Queued, now);
                    self.statistics.of_mut(self.tags.work(tag).counted).retries += 1;
                } else {
                    self.settle(tag, Err(BlockError::TimedOut));
                }
            }
        }
        self.tags.set_depth(hardware.depth());
        self.count_shares();
        self.reaped.reserve(usize::from(hardware.depth()));
        self.hardware = Some(hardware);
        self.reset_reported = false;
        self.statistics.resets += 1;
        self.dispatch(now);
    }

    /// Answers every request with `error` and refuses those to come. The device must no longer touch memory. The answers
    /// come with the next [`poll`](Self::poll); the hardware, if it is still here, is handed out.
    pub fn fail_all(&mut self, error: BlockError) -> Option<H> {
        self.close(error);
        for state in [State::Aborting, State::Running, State::Queued] {
            while let Some(tag) = self.tags.first(state) {
                self.tags.leave(tag);
                self.settle(tag, Err(error));
            }
        }
        self.fail_list(self.plugged, error);
        self.fail_list(self.backlog, error);
        self.plugged = List::EMPTY;
        self.backlog = List::EMPTY;
        for at in 0..self.disks.len() {
            let held = self.disks[at].held.take();
            self.fail_list(held, error);
            let waiting = self.disks[at].flush_waiting.take();
            self.fail_list(waiting, error);
        }
        self.flushes_waiting = 0;
        self.hardware.take()
    }

    /// Answers all of a list that is no longer used. No command carries a part of any of them.
    pub(super) fn fail_list(&mut self, mut list: List, error: BlockError) {
        while let Some(index) = list.pop_front(&self.slots) {
            let slot = &mut self.slots[index];
            slot.waiting = false;
            slot.error.get_or_insert(error);
            self.answer(index);
        }
    }
}
