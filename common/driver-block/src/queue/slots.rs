//! The requests that a queue holds: a slab whose entries are linked into lists by index.

use super::gather::Cursor;
use crate::{
    device::{DiskId, Operation},
    error::BlockError,
    request::{Request, Segments},
};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// A request from when it is taken until it is answered.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) request: Request,
    /// The next one in the list or command that the request is part of.
    pub(super) next: u32,
    /// Commands that carry a part of it.
    pub(super) outstanding: u32,
    /// Blocks that commands were made for.
    pub(super) issued: u64,
    /// Blocks that were carried out.
    pub(super) done: u64,
    /// Where the next command's memory starts.
    pub(super) cursor: Cursor,
    /// The failure that came first.
    pub(super) error: Option<BlockError>,
    /// Binary logarithm of the logical block size it was checked against.
    pub(super) shift: u8,
    /// Whether a flush must follow before the answer.
    pub(super) flush_after: bool,
    /// Whether it is a transfer that one command with the memory as it is can carry.
    pub(super) simple: bool,
    /// Whether it must not share a command: one that it shared has failed.
    pub(super) alone: bool,
    /// Whether more commands are to be made for it: it is in a list of waiting requests.
    pub(super) waiting: bool,
}

/// How a request is to be carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// With force unit access.
    pub(super) fua: bool,
    /// With a flush before the answer.
    pub(super) flush_after: bool,
    /// Like any other, or as the [simple](Slot::simple) transfer that it is.
    pub(super) simple: bool,
}

/// A fixed number of slots.
#[derive(Debug)]
pub(super) struct Slots {
    entries: Vec<Slot>,
    free: u32,
    used: u32,
}

impl Slots {
    pub(super) fn new(count: u32) -> Self {
        let entries = (0..count)
            .map(|at| Slot {
                request: Request {
                    operation: Operation::Flush,
                    disk: DiskId(0),
                    lba: 0,
                    blocks: 0,
                    fua: false,
                    segments: Segments::new(),
                    cookie: 0,
                },
                next: if at + 1 == count { NONE } else { at + 1 },
                outstanding: 0,
                issued: 0,
                done: 0,
                cursor: Cursor::default(),
                error: None,
                shift: 0,
                flush_after: false,
                simple: false,
                alone: false,
                waiting: false,
            })
            .collect();
        Slots { entries, free: if count == 0 { NONE } else { 0 }, used: 0 }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Puts a request into a free slot, or gives it back.
    #[inline]
    pub(super) fn insert(&mut self, request: Request, shift: u8, needs: Needs) -> Result<u32, Request> {
        let index = self.free;
        let Some(slot) = self.entries.get_mut(index as usize) else {
            return Err(request);
        };
        self.free = slot.next;
        self.used += 1;
        slot.request = request;
        slot.request.fua = needs.fua;
        slot.outstanding = 0;
        slot.issued = 0;
        slot.done = 0;
        slot.cursor = Cursor::default();
        slot.error = None;
        slot.shift = shift;
        slot.flush_after = needs.flush_after;
        slot.simple = needs.simple;
        slot.alone = false;
        slot.waiting = true;
        Ok(index)
    }

    /// Frees a slot that is in no list.
    pub(super) fn release(&mut self, index: u32) {
        let free = self.free;
        let slot = &mut self[index];
        slot.next = free;
        self.free = index;
        self.used -= 1;
    }
}

impl Slots {
    /// The slot with this index; nothing for [`NONE`].
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        self.entries.get(index as usize)
    }
}

impl std::ops::Index<u32> for Slots {
    type Output = Slot;
    fn index(&self, index: u32) -> &Slot {
        &self.entries[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Slots {
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.entries[index as usize]
    }
}

/// Slots in the order in which they were appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(super) const EMPTY: List = List { head: NONE, tail: NONE, len: 0 };

    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn push_back(&mut self, slots: &mut Slots, index: u32) {
        slots[index].next = NONE;
        if self.tail == NONE {
            self.head = index;
        } else {
            slots[self.tail].next = index;
        }
        self.tail = index;
        self.len += 1;
    }

    pub(super) fn pop_front(&mut self, slots: &Slots) -> Option<u32> {
        let index = self.head()?;
        self.head = slots[index].next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
        Some(index)
    }

    /// Appends all of `other`.
    pub(super) fn append(&mut self, slots: &mut Slots, other: List) {
        if other.is_empty() {
            return;
        }
        if self.tail == NONE {
            *self = other;
        } else {
            slots[self.tail].next = other.head;
            self.tail = other.tail;
            self.len += other.len;
        }
    }

    /// Removes and returns everything.
    pub(super) fn take(&mut self) -> List {
        std::mem::replace(self, List::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    #[test]
    fn lists_keep_their_order() {
        let mut slots = Slots::new(4);
        let mut take = |n| slots.insert(Request::flush(DiskId(0), n), 9, Needs::default());
        let taken: Vec<_> = (0..4).map(|n| take(n).unwrap()).collect();
        assert!(take(4).is_err(), "no fifth slot");
        let (mut a, mut b) = (List::EMPTY, List::EMPTY);
        a.push_back(&mut slots, taken[2]);
        b.push_back(&mut slots, taken[0]);
        b.push_back(&mut slots, taken[3]);
        a.append(&mut slots, b.take());
        a.append(&mut slots, b.take());
        assert!(b.is_empty() && a.len() == 3);
        let order: Vec<_> = std::iter::from_fn(|| a.pop_front(&slots)).collect();
        assert_eq!(order, [taken[2], taken[0], taken[3]]);
        slots.release(taken[0]);
        assert_eq!(slots.used(), 3);
        assert_eq!(slots.insert(Request::flush(DiskId(0), 9), 9, Needs::default()), Ok(taken[0]));
    }
}
