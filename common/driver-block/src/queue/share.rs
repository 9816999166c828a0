//! What a disk may have of the tags of a queue that it shares with others.

use redox_driver_sys::time::Time;

use super::{Queue, find_disk, slots::List};
use crate::device::{DiskId, HardwareQueue, Operation};

impl<H: HardwareQueue> Queue<H> {
    /// Counts every disk's tags anew: a disk came, went or changed.
    pub(super) fn count_shares(&mut self) {
        let depth = self.tags.depth();
        self.limited = self.disks.iter().any(|disk| disk.max_commands < depth);
        for disk in &mut self.disks {
            disk.commands = 0;
        }
        if !self.limited {
            return;
        }
        let Queue { tags, slots, disks, .. } = self;
        for tag in tags.used() {
            let id = tags.simple(tag).map_or(tags.work(tag).disk, |head| slots[head].request.disk);
            if let Some(disk) = find_disk(disks, id) {
                disk.commands += 1;
            }
        }
    }

    /// A tag was taken for a disk.
    #[inline]
    pub(super) fn take_share(&mut self, disk: DiskId) {
        if self.limited
            && let Some(disk) = find_disk(&mut self.disks, disk)
        {
            disk.commands += 1;
        }
    }

    /// A disk's tag was released.
    #[inline]
    pub(super) fn give_share_back(&mut self, disk: DiskId) {
        if self.limited
            && let Some(disk) = find_disk(&mut self.disks, disk)
        {
            disk.commands = disk.commands.saturating_sub(1);
        }
    }

    /// Whether a request needs a tag of a disk that has as many as it may. A flush waits elsewhere.
    pub(super) fn is_at_limit(&mut self, index: u32) -> bool {
        let request = &self.slots[index].request;
        request.operation != Operation::Flush
            && find_disk(&mut self.disks, request.disk).is_some_and(|disk| disk.is_full())
    }

    /// Has the request at the head of the backlog wait until its disk may have another tag.
    pub(super) fn put_aside(&mut self, head: u32) {
        if let Some(disk) = find_disk(&mut self.disks, self.slots[head].request.disk) {
            self.backlog.pop_front(&self.slots);
            disk.held.push_back(&mut self.slots, head);
        }
    }

    /// Makes commands of the requests that were put aside, as far as their disks may have tags now. False: the hardware
    /// takes no more.
    pub(super) fn issue_held(&mut self, now: Time) -> bool {
        if !self.limited {
            return true;
        }
        for at in 0..self.disks.len() {
            let disk = &mut self.disks[at];
            if disk.held.is_empty() || disk.is_full() {
                continue;
            }
            let held = disk.held.take();
            let others = std::mem::replace(&mut self.backlog, held);
            let more = self.issue_backlog(now, false);
            // What the disk's tags, or all, did not suffice for.
            self.disks[at].held = std::mem::replace(&mut self.backlog, others);
            if !more {
                return false;
            }
        }
        true
    }

    /// Puts what was put aside for a disk back into the backlog.
    pub(super) fn release_held(&mut self, at: usize) {
        let mut list: List = self.disks[at].held.take();
        let backlog = self.backlog.take();
        list.append(&mut self.slots, backlog);
        self.backlog = list;
    }

    /// Requests that were put aside.
    pub(super) fn held(&self) -> u32 {
        self.disks.iter().map(|disk| disk.held.len()).sum()
    }
}
