//! The tag set: one command per tag, in exactly one of the states free, queued for another try, running, or aborting.

use redox_driver_sys::time::Time;

use super::gather::Cursor;
use crate::device::{DiskId, Operation};

/// No tag.
const NONE: u16 = u16::MAX;

/// Where a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Names no command.
    Free,
    /// Its command waits to be submitted again.
    Queued,
    /// The device has its command.
    Running,
    /// The device has its command and was asked to end it.
    Aborting,
}

/// What a command does: all that is needed to submit it, as often as it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// What the hardware is asked to do.
    pub(super) operation: Operation,
    /// What the client asked for: the counters' operation.
    pub(super) counted: Operation,
    pub(super) disk: DiskId,
    pub(super) fua: bool,
    /// The memory is the shared buffer of zeroes.
    pub(super) zeroes: bool,
    /// The memory is the request's segments as they are.
    pub(super) direct: bool,
    /// Binary logarithm of the logical block size.
    pub(super) shift: u8,
    /// The first request, and how many are linked to it.
    pub(super) head: u32,
    pub(super) count: u32,
    pub(super) lba: u64,
    pub(super) blocks: u64,
    /// Where the first request's memory for this command starts.
    pub(super) cursor: Cursor,
}

/// What is needed of a tag again and again; small, for the cache's sake.
#[derive(Debug)]
pub(super) struct Tag {
    /// When it expires; when it may be submitted again, while it is queued.
    pub(super) due: Time,
    /// Times that the command was submitted again.
    pub(super) retries: u8,
    /// Whether it passed its deadline once.
    pub(super) expired: bool,
    /// Whether it carries exactly the request [`head`](Self::head), in its own memory, for the first time. Its work was
    /// then not written down: it follows from the request.
    pub(super) simple: bool,
    state: State,
    next: u16,
    previous: u16,
    pub(super) head: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    head: u16,
    tail: u16,
}

const EMPTY: Ends = Ends { head: NONE, tail: NONE };

/// All tags of a queue. Because every command has the same time limit, a list in the order of submission is in the order
/// of expiry: only its head need be looked at.
#[derive(Debug)]
pub(super) struct Tags {
    tags: Vec<Tag>,
    /// What the commands do, by tag.
    works: Vec<Work>,
    /// Tags below this are given to the hardware.
    depth: u16,
    free: Vec<u16>,
    /// By state: queued, running, aborting.
    lists: [Ends; 3],
    in_flight: u16,
}

const IDLE: Work = Work {
    operation: Operation::Flush,
    counted: Operation::Flush,
    disk: DiskId(0),
    fua: false,
    zeroes: false,
    direct: false,
    shift: 0,
    head: 0,
    count: 0,
    lba: 0,
    blocks: 0,
    cursor: Cursor { segment: 0, offset: 0 },
};

impl Tags {
    pub(super) fn new(depth: u16) -> Self {
        let mut tags = Tags {
            tags: Vec::new(),
            works: Vec::new(),
            depth: 0,
            free: Vec::new(),
            lists: [EMPTY; 3],
            in_flight: 0,
        };
        tags.set_depth(depth);
        tags
    }

    /// The hardware takes tags below `depth` from now on. Commands under higher tags move when they are submitted again.
    pub(super) fn set_depth(&mut self, depth: u16) {
        // The highest value stands for "none".
        self.depth = depth.min(NONE - 1);
        while self.tags.len() < usize::from(self.depth) {
            self.works.push(IDLE);
            self.tags.push(Tag {
                due: Time::default(),
                retries: 0,
                expired: false,
                simple: false,
                head: 0,
                state: State::Free,
                next: NONE,
                previous: NONE,
            });
        }
        // The lowest tags on top, so that little memory is in use.
        let tags = &self.tags;
        self.free =
            (0..self.depth).rev().filter(|&tag| tags[usize::from(tag)].state == State::Free).collect();
        self.free.reserve(usize::from(self.depth) - self.free.len());
    }

    /// How many tags the hardware takes.
    pub(super) fn depth(&self) -> u16 {
        self.depth
    }

    pub(super) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Takes a free tag for `work`; it is in no list yet.
    pub(super) fn take(&mut self, work: Work) -> Option<u16> {
        let index = self.free.pop()?;
        self.describe(index, work);
        Some(index)
    }

    /// Takes a free tag for a simple command.
    #[inline]
    pub(super) fn take_simple(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Has the device have the simple command of the request `head`.
    #[inline]
    pub(super) fn enter_simple(&mut self, index: u16, head: u32, due: Time) {
        self.enter(index, State::Running, due);
        let tag = &mut self[index];
        tag.simple = true;
        tag.head = head;
    }

    /// The request of a simple command that the device has.
    #[inline]
    pub(super) fn simple(&self, tag: u16) -> Option<u32> {
        self.tags.get(usize::from(tag)).filter(|tag| tag.simple).map(|tag| tag.head)
    }

    /// Writes down what a command does that was not tried before.
    pub(super) fn describe(&mut self, index: u16, work: Work) {
        self.works[usize::from(index)] = work;
        let tag = &mut self[index];
        tag.retries = 0;
        tag.expired = false;
        tag.simple = false;
    }

    /// What a command does that is not simple.
    pub(super) fn work(&self, index: u16) -> &Work {
        &self.works[usize::from(index)]
    }

    /// The tags that name a command.
    pub(super) fn used(&self) -> impl Iterator<Item = u16> + '_ {
        (0u16..).zip(&self.tags).filter(|(_, tag)| tag.state != State::Free).map(|(index, _)| index)
    }

    /// Frees a tag that is in no list.
    #[inline]
    pub(super) fn release(&mut self, index: u16) {
        let tag = &mut self[index];
        tag.state = State::Free;
        tag.simple = false;
        if index < self.depth {
            self.free.push(index);
        }
    }

    /// Moves the command of a tag that the hardware no longer takes, if a free one is to be had.
    pub(super) fn within_depth(&mut self, index: u16) -> Option<u16> {
        if index < self.depth {
            return Some(index);
        }
        let target = self.free.pop()?;
        let Tag { due, retries, expired, .. } = self[index];
        self.works[usize::from(target)] = self.works[usize::from(index)];
        let tag = &mut self[target];
        tag.due = due;
        tag.retries = retries;
        tag.expired = expired;
        self[index].state = State::Free;
        Some(target)
    }

    /// The first tag in a state other than free.
    #[inline]
    pub(super) fn first(&self, state: State) -> Option<u16> {
        let head = self.lists[list(state)?].head;
        (head != NONE).then_some(head)
    }

    /// The last tag that is queued.
    pub(super) fn last_queued(&self) -> Option<u16> {
        let tail = self.lists[0].tail;
        (tail != NONE).then_some(tail)
    }

    /// When the first tag in a state is due.
    pub(super) fn first_due(&self, state: State) -> Option<Time> {
        self.first(state).map(|tag| self[tag].due)
    }

    /// Takes the tag of a command that the device has ended out of its list, and says of which request it was a simple
    /// command. `None`: the device does not have such a command; the number comes from it.
    #[inline]
    pub(super) fn end(&mut self, index: u16) -> Option<Option<u32>> {
        let &Tag { state, simple, head, .. } = self.tags.get(usize::from(index))?;
        if !matches!(state, State::Running | State::Aborting) {
            return None;
        }
        self.leave(index);
        Some(simple.then_some(head))
    }

    /// Appends a tag that is in no list to that of `state`.
    #[inline]
    pub(super) fn enter(&mut self, index: u16, state: State, due: Time) {
        let Some(list) = list(state) else { return };
        let tail = std::mem::replace(&mut self.lists[list].tail, index);
        if tail == NONE {
            self.lists[list].head = index;
        } else {
            self[tail].next = index;
        }
        let tag = &mut self[index];
        tag.state = state;
        tag.due = due;
        tag.previous = tail;
        tag.next = NONE;
        if state != State::Queued {
            self.in_flight += 1;
        }
    }

    /// Puts a tag that is in no list before all that are queued.
    pub(super) fn enter_first(&mut self, index: u16, due: Time) {
        let ends = self.lists[0];
        let tag = &mut self[index];
        tag.state = State::Queued;
        tag.due = due;
        tag.previous = NONE;
        tag.next = ends.head;
        if ends.head == NONE {
            self.lists[0].tail = index;
        } else {
            self[ends.head].previous = index;
        }
        self.lists[0].head = index;
    }

    /// Takes a tag out of its list; whoever calls puts it elsewhere.
    #[inline]
    pub(super) fn leave(&mut self, index: u16) {
        let Tag { state, next, previous, .. } = self[index];
        let Some(list) = list(state) else { return };
        if previous == NONE {
            self.lists[list].head = next;
        } else {
            self[previous].next = next;
        }
        if next == NONE {
            self.lists[list].tail = previous;
        } else {
            self[next].previous = previous;
        }
        if state != State::Queued {
            self.in_flight -= 1;
        }
    }
}

fn list(state: State) -> Option<usize> {
    match state {
        State::Free => None,
        State::Queued => Some(0),
        State::Running => Some(1),
        State::Aborting => Some(2),
    }
}

impl std::ops::Index<u16> for Tags {
    type Output = Tag;
    fn index(&self, index: u16) -> &Tag {
        &self.tags[usize::from(index)]
    }
}

impl std::ops::IndexMut<u16> for Tags {
    fn index_mut(&mut self, index: u16) -> &mut Tag {
        &mut self.tags[usize::from(index)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lists_follow_their_tags() {
        let mut tags = Tags::new(3);
        let at = |n| Time::default().plus(Duration::from_secs(n));
        for n in 0..3 {
            assert_eq!(tags.take(IDLE), Some(n));
            tags.enter(n, State::Running, at(n.into()));
        }
        assert_eq!(tags.take(IDLE), None);
        assert_eq!((tags.end(3), tags.end(NONE)), (None, None));
        tags.leave(1);
        tags.enter(1, State::Aborting, at(9));
        tags.leave(0);
        tags.enter_first(0, at(1));
        assert_eq!((tags.first(State::Queued), tags.first(State::Running)), (Some(0), Some(2)));
        assert_eq!((tags.first_due(State::Aborting), tags.in_flight()), (Some(at(9)), 2));
        assert_eq!((tags.end(2), tags.end(0)), (Some(None), None), "the device has 2, but not 0");
        tags.release(2);
        assert_eq!((tags.end(2), tags.first(State::Running), tags.take_simple()), (None, None, Some(2)));
        tags.enter_simple(2, 7, at(3));
        assert_eq!(tags.end(2), Some(Some(7)));
    }

    #[test]
    fn a_shallower_queue_moves_its_commands() {
        let mut tags = Tags::new(3);
        for n in 0..3 {
            tags.take(Work { lba: n, ..IDLE });
        }
        for n in 0..3 {
            tags.enter(n, State::Queued, Time::default());
        }
        tags.set_depth(1);
        assert_eq!(tags.within_depth(2), None, "tag 0 is taken");
        tags.leave(0);
        tags.release(0);
        tags.leave(2);
        assert_eq!(tags.within_depth(2), Some(0));
        assert_eq!(tags.work(0).lba, 2);
        tags.enter(0, State::Running, Time::default());
        tags.set_depth(4);
        assert_eq!((tags.take(IDLE), tags.take(IDLE), tags.take(IDLE)), (Some(2), Some(3), None));
    }
}
