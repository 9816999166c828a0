//! From requests to commands: merging, splitting, flushes, and the hand-over to the hardware.

use redox_driver_sys::{dma::Segment, time::Time};

use super::{
    Queue,
    disk::ZeroMethod,
    find_disk,
    gather::{Gather, collect, next_piece},
    slots::Slots,
    tags::{State, Work},
};
use crate::{
    device::{Command, HardwareQueue, LbaRange, Operation, SubmitError, WriteCache},
    error::BlockError,
};

impl<H: HardwareQueue> Queue<H> {
    /// Gives the hardware as much as it takes and rings its doorbell once.
    #[inline]
    pub(super) fn dispatch(&mut self, now: Time) {
        if !self.nothing_waits() && self.hardware.is_some() {
            self.issue_all(now);
        }
    }

    fn issue_all(&mut self, now: Time) {
        let before = self.tags.in_flight();
        // First what has waited longest. Flushes come a second time, because requests of this batch may ask for some.
        let _ = self.issue_queued(now)
            && self.issue_flushes(now)
            && self.issue_held(now)
            && self.issue_backlog(now, true)
            && self.issue_flushes(now);
        if self.tags.in_flight() != before
            && let Some(hardware) = &mut self.hardware
        {
            hardware.commit();
            self.statistics.commits += 1;
        }
    }

    /// Whether everything that was taken is with the hardware, or answered: what an empty poll finds.
    #[inline]
    fn nothing_waits(&self) -> bool {
        self.backlog.is_empty()
            && self.flushes_waiting == 0
            && self.tags.last_queued().is_none()
            && (!self.limited || self.held() == 0)
    }

    /// Submits again what is due. False: the hardware takes no more.
    fn issue_queued(&mut self, now: Time) -> bool {
        // Each is looked at once: what fails again at once is queued again.
        let Some(last) = self.tags.last_queued() else { return true };
        loop {
            let Some(tag) = self.tags.first(State::Queued).filter(|&tag| self.tags[tag].due <= now) else {
                return true;
            };
            self.tags.leave(tag);
            if let Some(usable) = self.tags.within_depth(tag) {
                if !self.issue(usable, now) {
                    return false;
                }
            } else {
                self.tags.enter(tag, State::Queued, now);
            }
            if tag == last {
                return true;
            }
        }
    }

    /// Begins the flushes that requests wait for, one per disk at a time. False: the hardware takes no more.
    fn issue_flushes(&mut self, now: Time) -> bool {
        let mut at = 0;
        while self.flushes_waiting != 0
            && self.tags.has_free()
            && let Some(disk) = self.disks.get_mut(at)
        {
            at += 1;
            if disk.flush_running || (self.limited && disk.is_full()) {
                continue;
            }
            let waiting = disk.flush_waiting.take();
            let Some(head) = waiting.head() else { continue };
            disk.flush_running = true;
            self.flushes_waiting -= 1;
            let work = Work {
                operation: Operation::Flush,
                counted: Operation::Flush,
                disk: disk.id,
                fua: false,
                zeroes: false,
                direct: false,
                shift: disk.shift,
                head,
                count: waiting.len(),
                lba: 0,
                blocks: 0,
                cursor: Default::default(),
            };
            let mut index = head;
            for _ in 0..work.count {
                let slot = &mut self.slots[index];
                slot.waiting = false;
                slot.outstanding += 1;
                index = slot.next;
            }
            self.statistics.of_mut(Operation::Flush).merges += u64::from(work.count - 1);
            if let Some(tag) = self.tags.take(work) {
                self.take_share(work.disk);
                if !self.issue(tag, now) {
                    return false;
                }
            }
        }
        true
    }

    /// Makes commands of the waiting requests while there are tags. A request whose disk has as many as it may is put
    /// aside, or ends it. False: the hardware takes no more.
    pub(super) fn issue_backlog(&mut self, now: Time, aside: bool) -> bool {
        let due = now.plus(self.options.timeout);
        loop {
            if !self.limited {
                self.issue_simple(due, false);
            }
            let Some(head) = self.backlog.head() else { return true };
            let slot = &self.slots[head];
            if slot.error.is_some() {
                // A part of it has failed: the rest is not even tried.
                self.unlink_head();
                if self.slots[head].outstanding == 0 {
                    self.answer(head);
                }
                continue;
            }
            if self.limited {
                if self.is_at_limit(head) {
                    if !aside {
                        return true;
                    }
                    self.put_aside(head);
                    continue;
                }
                let disk = self.slots[head].request.disk;
                if self.issue_simple(due, true) {
                    self.take_share(disk);
                    continue;
                }
            }
            let slot = &self.slots[head];
            let operation = slot.request.operation;
            if operation == Operation::Flush {
                self.unlink_head();
                self.join_flush(head);
                continue;
            }
            if !self.tags.has_free() {
                return true;
            }
            let work = match operation {
                Operation::Read | Operation::Write => self.transfer(head),
                Operation::Discard => self.discard(head),
                Operation::WriteZeroes | Operation::Flush => self.write_zeroes(head),
            };
            match work {
                Ok(work) => {
                    if let Some(tag) = self.tags.take(work) {
                        self.take_share(work.disk);
                        if !self.issue(tag, now) {
                            return false;
                        }
                    }
                }
                Err(error) => self.slots[head].error = Some(error),
            }
        }
    }

    /// Submits the reads and writes at the head of the backlog as commands of their own, as long as that is possible
    /// without further thought: the path of nearly all small transfers. At most the first, if it is to be `one`. Whether any
    /// was submitted.
    #[inline]
    fn issue_simple(&mut self, due: Time, one: bool) -> bool {
        let Queue { hardware: Some(hardware), tags, slots, backlog, statistics, .. } = self else {
            return false;
        };
        let mut issued = false;
        while let Some(head) = backlog.head() {
            let slot = &slots[head];
            let request = &slot.request;
            // A request that has failed in part is never simple again.
            if !slot.simple {
                return issued;
            }
            let follower =
                slots.get(slot.next).is_some_and(|next| next.request.lba == request.lba + request.blocks);
            let Ok(blocks) = u32::try_from(request.blocks) else { return issued };
            if follower {
                return issued;
            }
            let Some(tag) = tags.take_simple() else { return issued };
            let command = Command {
                operation: request.operation,
                disk: request.disk,
                // The disk takes it, or a flush follows.
                fua: request.fua && !slot.flush_after,
                ranges: &[LbaRange { lba: request.lba, blocks }],
                segments: &request.segments,
            };
            if hardware.submit(tag, &command).is_err() {
                tags.release(tag);
                return issued;
            }
            statistics.of_mut(request.operation).commands += 1;
            tags.enter_simple(tag, head, due);
            backlog.pop_front(slots);
            let slot = &mut slots[head];
            slot.waiting = false;
            slot.issued = slot.request.blocks;
            slot.outstanding = 1;
            issued = true;
            if one {
                break;
            }
        }
        issued
    }

    /// Writes down what a simple command does, because it is to be submitted again or needs a closer look.
    pub(super) fn describe(&mut self, tag: u16) {
        let Some(head) = self.tags.simple(tag) else { return };
        let slot = &self.slots[head];
        let request = &slot.request;
        let work = Work {
            operation: request.operation,
            counted: request.operation,
            disk: request.disk,
            fua: request.fua && !slot.flush_after,
            zeroes: false,
            direct: true,
            shift: slot.shift,
            head,
            count: 1,
            lba: request.lba,
            blocks: request.blocks,
            cursor: Default::default(),
        };
        self.tags.describe(tag, work);
    }

    fn unlink_head(&mut self) {
        if let Some(head) = self.backlog.pop_front(&self.slots) {
            self.slots[head].waiting = false;
        }
    }

    /// A command for as much as possible of the read or write at the head of the backlog, and for those that follow on.
    fn transfer(&mut self, head: u32) -> Result<Work, BlockError> {
        let slot = &self.slots[head];
        let request = &slot.request;
        let disk = find_disk(&mut self.disks, request.disk).ok_or(BlockError::Gone)?;
        let shape = disk.shape;
        let mut work = Work {
            operation: request.operation,
            counted: request.operation,
            disk: disk.id,
            fua: request.fua && disk.takes_fua(),
            zeroes: false,
            direct: false,
            shift: disk.shift,
            head,
            count: 1,
            lba: request.lba + slot.issued,
            blocks: request.blocks,
            cursor: slot.cursor,
        };
        let mut gather = Gather::default();
        if slot.issued != 0 || !gather.add_all(&shape, &request.segments) {
            let piece = next_piece(&shape, &request.segments, slot.cursor);
            work.blocks = u64::from(piece.bytes >> disk.shift);
            if work.blocks == 0 {
                return Err(BlockError::Invalid);
            }
            self.slots[head].cursor = piece.end;
            self.issue_piece(&work);
            return Ok(work);
        }
        work.direct = gather.entries as usize == request.segments.len();
        self.issue_whole(head);
        if self.slots[head].alone {
            return Ok(work);
        }
        while let Some(next) = self.backlog.head() {
            let (first, other) = (&self.slots[head], &self.slots[next]);
            let follows = other.request.lba == work.lba + work.blocks
                && other.request.operation == work.operation
                && other.request.disk == work.disk
                && other.request.fua == first.request.fua
                && other.issued == 0
                && !other.alone
                && other.error.is_none();
            let mut grown = gather;
            if !follows || !grown.add_all(&shape, &other.request.segments) {
                break;
            }
            gather = grown;
            work.blocks += other.request.blocks;
            work.count += 1;
            work.direct = false;
            self.issue_whole(next);
            self.statistics.of_mut(work.counted).merges += 1;
        }
        Ok(work)
    }

    /// A command for as much as possible of the discard at the head of the backlog, and for those behind it.
    fn discard(&mut self, head: u32) -> Result<Work, BlockError> {
        let slot = &self.slots[head];
        let disk = find_disk(&mut self.disks, slot.request.disk).ok_or(BlockError::Gone)?;
        let (range, ranges) = (u64::from(disk.max_discard_blocks), disk.max_discard_ranges);
        if range == 0 {
            return Err(BlockError::Unsupported);
        }
        let left = slot.request.blocks - slot.issued;
        let mut work = Work {
            operation: Operation::Discard,
            counted: Operation::Discard,
            disk: disk.id,
            fua: false,
            zeroes: false,
            direct: false,
            shift: disk.shift,
            head,
            count: 1,
            lba: slot.request.lba + slot.issued,
            blocks: left.min(range.saturating_mul(ranges.into())),
            cursor: slot.cursor,
        };
        if slot.issued != 0 || left > range {
            self.issue_piece(&work);
            return Ok(work);
        }
        self.issue_whole(head);
        while let Some(next) = self.backlog.head() {
            let other = &self.slots[next];
            let joins = work.count < ranges
                && other.request.operation == Operation::Discard
                && other.request.disk == work.disk
                && other.request.blocks <= range
                && other.issued == 0
                && !(other.alone || self.slots[head].alone)
                && other.error.is_none();
            if !joins {
                break;
            }
            work.count += 1;
            self.issue_whole(next);
            self.statistics.of_mut(Operation::Discard).merges += 1;
        }
        Ok(work)
    }

    /// A command for as much as possible of the write-zeroes at the head of the backlog.
    fn write_zeroes(&mut self, head: u32) -> Result<Work, BlockError> {
        let slot = &self.slots[head];
        let disk = find_disk(&mut self.disks, slot.request.disk).ok_or(BlockError::Gone)?;
        let (operation, most) = match disk.zeroes {
            ZeroMethod::Command => (Operation::WriteZeroes, disk.max_write_zeroes_blocks),
            ZeroMethod::Copy { bytes, .. } => (Operation::Write, bytes >> disk.shift),
            ZeroMethod::None => return Err(BlockError::Unsupported),
        };
        let work = Work {
            operation,
            counted: Operation::WriteZeroes,
            disk: disk.id,
            fua: false,
            zeroes: operation == Operation::Write,
            direct: false,
            shift: disk.shift,
            head,
            count: 1,
            lba: slot.request.lba + slot.issued,
            blocks: (slot.request.blocks - slot.issued).min(most.into()),
            cursor: slot.cursor,
        };
        self.issue_piece(&work);
        Ok(work)
    }

    /// Notes that a command carries all of the request at the head of the backlog.
    fn issue_whole(&mut self, head: u32) {
        self.unlink_head();
        let slot = &mut self.slots[head];
        slot.issued = slot.request.blocks;
        slot.outstanding += 1;
    }

    /// Notes that a command carries the next part of the request at the head of the backlog.
    fn issue_piece(&mut self, work: &Work) {
        let slot = &mut self.slots[work.head];
        if slot.issued != 0 {
            self.statistics.of_mut(work.counted).splits += 1;
        }
        slot.issued += work.blocks;
        slot.outstanding += 1;
        if slot.issued >= slot.request.blocks {
            self.unlink_head();
        }
    }

    /// Submits the command of a tag that is in no list. False: the hardware takes no more.
    fn issue(&mut self, tag: u16, now: Time) -> bool {
        let Queue { hardware: Some(hardware), tags, slots, disks, segments, ranges, .. } = self else {
            self.tags.enter(tag, State::Queued, now);
            return false;
        };
        let work = tags.work(tag);
        let Some(disk) = find_disk(disks, work.disk) else {
            self.failed(tag, BlockError::Gone, now);
            return true;
        };
        // Only what waited for another try can be out of date.
        if work.shift != disk.shift || work.lba + work.blocks > disk.blocks {
            self.failed(tag, BlockError::OutOfRange, now);
            return true;
        }
        let one;
        let (ranges, segments): (&[LbaRange], &[Segment]) = match work.operation {
            Operation::Flush => (&[], &[]),
            Operation::Discard => {
                list_ranges(ranges, slots, work, disk.max_discard_blocks);
                (ranges, &[])
            }
            Operation::Read | Operation::Write | Operation::WriteZeroes => {
                // Every other command is bounded by a limit of 32 bits.
                one = [LbaRange { lba: work.lba, blocks: u32::try_from(work.blocks).unwrap_or(u32::MAX) }];
                if work.direct {
                    (&one, &slots[work.head].request.segments)
                } else {
                    segments.clear();
                    if work.zeroes {
                        list_zeroes(segments, disk.zeroes, work.blocks << work.shift);
                    } else if work.operation != Operation::WriteZeroes {
                        list_segments(segments, slots, work);
                    }
                    (&one, segments)
                }
            }
        };
        let command = Command { operation: work.operation, disk: work.disk, fua: work.fua, ranges, segments };
        match hardware.submit(tag, &command) {
            Ok(()) => {
                self.statistics.of_mut(work.counted).commands += 1;
                tags.enter(tag, State::Running, now.plus(self.options.timeout));
                true
            }
            Err(SubmitError::Full) => {
                if tags.in_flight() == 0 {
                    // No completion will ever make room: not to be waited for.
                    self.failed(tag, BlockError::Transient, now);
                } else {
                    tags.enter_first(tag, now);
                }
                false
            }
            Err(SubmitError::Refused(error)) => {
                self.failed(tag, error, now);
                true
            }
        }
    }

    /// Has a request wait for the next flush of its disk that begins.
    pub(super) fn join_flush(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        match find_disk(&mut self.disks, slot.request.disk) {
            None => {
                slot.error = Some(BlockError::Gone);
                self.answer(index);
            }
            Some(disk) if disk.cache == WriteCache::None => self.answer(index),
            Some(disk) => {
                slot.waiting = true;
                if disk.flush_waiting.is_empty() {
                    self.flushes_waiting += 1;
                }
                disk.flush_waiting.push_back(&mut self.slots, index);
            }
        }
    }
}

/// The ranges of a discard: those of several requests, or one request's in parts.
fn list_ranges(list: &mut Vec<LbaRange>, slots: &Slots, work: &Work, most: u32) {
    list.clear();
    if work.count > 1 {
        let mut index = work.head;
        for _ in 0..work.count {
            let slot = &slots[index];
            let blocks = u32::try_from(slot.request.blocks).unwrap_or(u32::MAX);
            list.push(LbaRange { lba: slot.request.lba, blocks });
            index = slot.next;
        }
        return;
    }
    let (mut lba, mut left) = (work.lba, work.blocks);
    while left != 0 {
        let blocks = u32::try_from(left).unwrap_or(u32::MAX).min(most.max(1));
        list.push(LbaRange { lba, blocks });
        lba += u64::from(blocks);
        left -= u64::from(blocks);
    }
}

/// The memory of a read or write: one request's part, or that of several requests one after the other.
fn list_segments(list: &mut Vec<Segment>, slots: &Slots, work: &Work) {
    if work.count == 1 {
        let bytes = u32::try_from(work.blocks << work.shift).unwrap_or(u32::MAX);
        collect(list, &slots[work.head].request.segments, work.cursor, bytes);
        return;
    }
    let mut index = work.head;
    for _ in 0..work.count {
        let slot = &slots[index];
        collect(list, &slot.request.segments, Default::default(), u32::MAX);
        index = slot.next;
    }
}

/// The memory of a write of `bytes` zeroes.
fn list_zeroes(list: &mut Vec<Segment>, method: ZeroMethod, bytes: u64) {
    let ZeroMethod::Copy { segment, .. } = method else { return };
    let mut left = bytes;
    while left != 0 {
        let len = segment.len.min(u32::try_from(left).unwrap_or(u32::MAX));
        list.push(Segment { addr: segment.addr, len });
        left -= u64::from(len);
    }
}
