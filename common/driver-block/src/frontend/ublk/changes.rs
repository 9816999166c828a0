//! What happened to the disks, on its way from a queue's thread to the thread that makes and removes devices.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::device::{Disk, DiskId};

/// The newest state of every disk that changed, and whether to end. Bounded by the number of disks.
#[derive(Debug, Default)]
pub(super) struct Changes {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
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
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave half a state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk appeared or changed.
    pub(super) fn changed(&self, disk: &Disk) {
        self.lock().disks.insert(disk.id, Some(disk.clone()));
        self.news.notify_one();
    }

    /// A disk is gone.
    pub(super) fn removed(&self, disk: DiskId) {
        self.lock().disks.insert(disk, None);
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
        let changes = Changes::default();
        assert_eq!(changes.take(Duration::ZERO), Work { disks: BTreeMap::new(), end: false });
        changes.changed(&disk(1, 1));
        changes.changed(&disk(1, 2));
        changes.changed(&disk(2, 1));
        changes.removed(DiskId(2));
        let work = changes.take(Duration::from_secs(60));
        assert_eq!(work.disks, BTreeMap::from([(DiskId(1), Some(disk(1, 2))), (DiskId(2), None)]));
        assert!(!work.end);
        changes.end();
        assert!(changes.take(Duration::from_secs(60)).end);
    }
}
