//! What happened to the disks, on its way from a queue's thread to the thread that makes and removes devices.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::device::{Disk, DiskId};

/// The newest state of every disk that changed, and whether to end. Bounded by the numbers of disks and queues.
#[derive(Debug)]
pub(super) struct Changes {
    queues: usize,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What each queue that was told of a change knows.
    known: BTreeMap<DiskId, BTreeMap<usize, Disk>>,
    disks: BTreeMap<DiskId, Option<Disk>>,
    end: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// The new state of disks; `None` for one that is gone.
    pub(super) disks: BTreeMap<DiskId, Option<Disk>>,
    /// Whether to end afterwards.
    pub(super) end: bool,
}

impl Changes {
    /// Of the disks that so many queues serve.
    pub(super) fn new(queues: usize) -> Self {
        Changes { queues, state: Mutex::default(), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave half a state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queue number `queue` knows that a disk appeared or changed. It is news when all of them do: before, a queue would
    /// refuse what lies beyond the old end.
    pub(super) fn changed(&self, queue: usize, disk: &Disk) {
        let mut state = self.lock();
        let known = state.known.entry(disk.id).or_default();
        known.insert(queue, disk.clone());
        if known.len() == self.queues && known.values().all(|other| other == disk) {
            state.known.remove(&disk.id);
            state.disks.insert(disk.id, Some(disk.clone()));
            self.news.notify_one();
        }
    }

    /// A disk is gone.
    pub(super) fn removed(&self, disk: DiskId) {
        let mut state = self.lock();
        state.known.remove(&disk);
        state.disks.insert(disk, None);
        self.news.notify_one();
    }

    /// It is time to end.
    pub(super) fn end(&self) {
        self.lock().end = true;
        self.news.notify_one();
    }

    /// Takes what is to be done, waiting for something at most `timeout`.
    pub(super) fn take(&self, timeout: Duration) -> Work {
        let (mut state, _) = self
            .news
            .wait_timeout_while(self.lock(), timeout, |state| state.disks.is_empty() && !state.end)
            .unwrap_or_else(PoisonError::into_inner);
        Work { disks: std::mem::take(&mut state.disks), end: state.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Limits, WriteCache};

    fn disk(id: u32, blocks: u64) -> Disk {
        Disk {
            id: DiskId(id),
            blocks,
            limits: Limits {
                block_size: 512,
                physical_block_size: 512,
                optimal_io_size: 0,
                max_transfer: 4096,
                max_commands: u16::MAX,
                max_segments: 1,
                segment_boundary: 1,
                dma_alignment: 1,
                max_discard_blocks: 0,
                max_discard_ranges: 0,
                discard_granularity: 0,
                max_write_zeroes_blocks: 0,
                write_cache: WriteCache::None,
                read_only: false,
                rotational: false,
            },
            model: String::new(),
            serial: String::new(),
        }
    }

    #[test]
    fn the_newest_state_wins() {
        let changes = Changes::new(1);
        assert_eq!(changes.take(Duration::ZERO), Work { disks: BTreeMap::new(), end: false });
        changes.changed(0, &disk(1, 1));
        changes.changed(0, &disk(1, 2));
        changes.changed(0, &disk(2, 1));
        changes.removed(DiskId(2));
        let work = changes.take(Duration::from_secs(60));
        assert_eq!(work.disks, BTreeMap::from([(DiskId(1), Some(disk(1, 2))), (DiskId(2), None)]));
        assert!(!work.end);
        changes.end();
        assert!(changes.take(Duration::from_secs(60)).end);
    }

    #[test]
    fn a_change_waits_for_the_last_queue() {
        let changes = Changes::new(2);
        changes.changed(0, &disk(1, 1));
        changes.changed(0, &disk(1, 2));
        changes.changed(1, &disk(1, 1));
        assert_eq!(
            changes.take(Duration::ZERO).disks,
            BTreeMap::new(),
            "queue 1 knows only the first change"
        );
        changes.changed(1, &disk(1, 2));
        let news = BTreeMap::from([(DiskId(1), Some(disk(1, 2)))]);
        assert_eq!(changes.take(Duration::from_secs(60)).disks, news);
    }
}
