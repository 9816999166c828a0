//! Submission and completion queues.

use std::collections::{BTreeSet, VecDeque};

use nvme_spec::CompletionEntry;
use redox_driver_sys::time::Time;

/// Identifier of the admin queues.
pub(crate) const ADMIN: u16 = 0;

#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    pub(crate) base: u64,
    /// Entries, 2 to 65536.
    pub(crate) size: u32,
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) cqid: u16,
    /// Identifiers of the commands that were fetched and are not completed.
    pub(crate) outstanding: BTreeSet<u16>,
    /// Fetched and not completed, also those whose identifier is not unique.
    pub(crate) fetched: usize,
}

impl SubmissionQueue {
    pub(crate) fn new(base: u64, size: u32, cqid: u16) -> Self {
        SubmissionQueue { base, size, head: 0, tail: 0, cqid, outstanding: BTreeSet::new(), fetched: 0 }
    }

    /// Entries that wait to be fetched.
    pub(crate) fn waiting(&self) -> u32 {
        (self.tail + self.size - self.head) % self.size
    }

    /// Takes a new tail, if it is one that adds entries for which there is room.
    pub(crate) fn set_tail(&mut self, tail: u32) -> bool {
        let valid = tail < self.size && tail != self.tail && {
            let added = (tail + self.size - self.tail) % self.size;
            added < self.size - self.waiting()
        };
        if valid {
            self.tail = tail;
        }
        valid
    }

    /// Address of the next entry to fetch.
    pub(crate) fn next_entry(&self) -> u64 {
        self.base.wrapping_add(64 * u64::from(self.head))
    }

    pub(crate) fn advance(&mut self) {
        self.head = (self.head + 1) % self.size;
    }
}

/// A completion that waits for room, and whether it interrupts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting {
    pub(crate) entry: CompletionEntry,
    pub(crate) interrupt: bool,
}

#[derive(Debug)]
pub(crate) struct CompletionQueue {
    pub(crate) base: u64,
    /// Entries, 2 to 65536.
    pub(crate) size: u32,
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// Phase of the entries of this pass.
    pub(crate) phase: bool,
    /// Vector, if completions interrupt.
    pub(crate) vector: Option<u16>,
    pub(crate) backlog: VecDeque<Posting>,
    /// A completion that is held back until another overtook it, or until then.
    pub(crate) held: Option<(Time, Posting)>,
}

impl CompletionQueue {
    pub(crate) fn new(base: u64, size: u32, vector: Option<u16>) -> Self {
        CompletionQueue {
            base,
            size,
            head: 0,
            tail: 0,
            phase: true,
            vector,
            backlog: VecDeque::new(),
            held: None,
        }
    }

    /// Entries that the host has not taken.
    pub(crate) fn unread(&self) -> u32 {
        (self.tail + self.size - self.head) % self.size
    }

    pub(crate) fn is_full(&self) -> bool {
        self.unread() == self.size - 1
    }

    /// Takes a new head, if it is one that frees entries which were there.
    pub(crate) fn set_head(&mut self, head: u32) -> bool {
        let valid = head < self.size && head != self.head && {
            let freed = (head + self.size - self.head) % self.size;
            freed <= self.unread()
        };
        if valid {
            self.head = head;
        }
        valid
    }

    /// Address of the next entry to write.
    pub(crate) fn next_entry(&self) -> u64 {
        self.base.wrapping_add(16 * u64::from(self.tail))
    }

    pub(crate) fn advance(&mut self) {
        self.tail = (self.tail + 1) % self.size;
        if self.tail == 0 {
            self.phase = !self.phase;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_queue_takes_what_fits() {
        let mut queue = SubmissionQueue::new(0, 4, 0);
        assert!(!queue.set_tail(0), "unchanged");
        assert!(!queue.set_tail(4), "out of range");
        assert!(queue.set_tail(3));
        assert_eq!(queue.waiting(), 3);
        assert!(!queue.set_tail(0), "full");
        queue.advance();
        assert!(queue.set_tail(0));
        assert!(!queue.set_tail(2), "more than free");
        assert_eq!(queue.waiting(), 3);
    }

    #[test]
    fn a_completion_queue_frees_what_was_there() {
        let mut queue = CompletionQueue::new(0, 4, None);
        assert!(!queue.set_head(1), "nothing was posted");
        queue.advance();
        queue.advance();
        assert!(!queue.set_head(3), "only two were posted");
        assert!(queue.set_head(2));
        assert_eq!(queue.unread(), 0);
        queue.advance();
        queue.advance();
        assert!(!queue.phase, "the phase turns with the pass");
        assert!(!queue.is_full());
        queue.advance();
        assert!(queue.is_full());
    }
}
