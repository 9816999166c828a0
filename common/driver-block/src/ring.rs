//! Rings between two processes, in memory that both have: one puts entries in, the other takes them out, and whoever
//! waits is woken only when it said that it sleeps.
//!
//! Neither end believes the other. An end keeps its own position for itself, and a position of the other that cannot be
//! is an error, not a number of entries.

use std::ops::Deref;

use crate::sync::{AtomicU32, Ordering, fence};

/// The other end wrote positions that cannot be: it has gone wrong, and nothing more will come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of a ring has gone wrong")]
pub(crate) struct Broken;

/// Where the entries are.
pub(crate) trait Slots<T> {
    fn read(&self, index: usize) -> T;
    fn write(&self, index: usize, entry: T);
}

#[cfg(not(loom))]
impl<T> Slots<T> for redox_driver_sys::shared::SharedArray<T>
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable,
{
    fn read(&self, index: usize) -> T {
        redox_driver_sys::shared::SharedArray::read(self, index)
    }
    fn write(&self, index: usize, entry: T) {
        redox_driver_sys::shared::SharedArray::write(self, index, entry);
    }
}

/// What both ends see of a ring beside its entries. All zero in the beginning.
#[derive(Debug)]
pub(crate) struct Words<W> {
    /// How many entries were put in, modulo 2³². Written by the producer.
    pub(crate) tail: W,
    /// How many were taken out. Written by the consumer.
    pub(crate) head: W,
    /// 1 while the consumer sleeps, or is about to.
    pub(crate) asleep: W,
}

/// The end that puts entries in.
#[derive(Debug)]
pub(crate) struct Producer<W, S> {
    words: Words<W>,
    slots: S,
    capacity: u32,
    /// Including what the consumer has not been shown.
    tail: u32,
    /// What the consumer has been shown.
    shown: u32,
    /// As far as the consumer is known to have come.
    head: u32,
}

/// The end that takes entries out.
#[derive(Debug)]
pub(crate) struct Consumer<W, S> {
    words: Words<W>,
    slots: S,
    capacity: u32,
    head: u32,
    /// What the producer has been told of.
    told: u32,
    /// As far as the producer is known to have come.
    tail: u32,
}

impl<W: Deref<Target = AtomicU32>, S> Producer<W, S> {
    /// The producer of an empty ring of `capacity` entries, a power of two.
    pub(crate) fn new(words: Words<W>, slots: S, capacity: u32) -> Self {
        Producer { words, slots, capacity, tail: 0, shown: 0, head: 0 }
    }

    /// Puts an entry in, which the consumer sees after [`show`](Self::show). It comes back when there is no room.
    pub(crate) fn push<T>(&mut self, entry: T) -> Result<(), T>
    where
        S: Slots<T>,
    {
        if self.tail.wrapping_sub(self.head) >= self.capacity {
            let head = self.words.head.load(Ordering::Acquire);
            // A consumer that claims to be ahead of what it was shown, or behind where it was, has gone wrong: no room.
            if self.shown.wrapping_sub(head) <= self.shown.wrapping_sub(self.head) {
                self.head = head;
            }
            if self.tail.wrapping_sub(self.head) >= self.capacity {
                return Err(entry);
            }
        }
        self.slots.write((self.tail & (self.capacity - 1)) as usize, entry);
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Shows the consumer what was put in; whether it has to be woken.
    pub(crate) fn show(&mut self) -> bool {
        if self.shown == self.tail {
            return false;
        }
        self.shown = self.tail;
        self.words.tail.store(self.tail, Ordering::Release);
        // Between showing and looking whether the consumer sleeps; it has one between saying so and looking for entries.
        // One of the two sees what the other did.
        fence(Ordering::SeqCst);
        if self.words.asleep.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.words.asleep.store(0, Ordering::Relaxed);
        true
    }
}

impl<W: Deref<Target = AtomicU32>, S> Consumer<W, S> {
    /// The consumer of an empty ring of `capacity` entries, a power of two.
    pub(crate) fn new(words: Words<W>, slots: S, capacity: u32) -> Self {
        Consumer { words, slots, capacity, head: 0, told: 0, tail: 0 }
    }

    /// Takes an entry out.
    ///
    /// # Errors
    /// [`Broken`], from then on.
    pub(crate) fn pop<T>(&mut self) -> Result<Option<T>, Broken>
    where
        S: Slots<T>,
    {
        if self.head == self.tail {
            let tail = self.words.tail.load(Ordering::Acquire);
            if tail.wrapping_sub(self.head) > self.capacity {
                return Err(Broken);
            }
            self.tail = tail;
            if self.head == tail {
                self.give_back();
                return Ok(None);
            }
        }
        let entry = self.slots.read((self.head & (self.capacity - 1)) as usize);
        self.head = self.head.wrapping_add(1);
        Ok(Some(entry))
    }

    /// Lets the producer have the room of what was taken out. Done by [`pop`](Self::pop) when nothing is left.
    pub(crate) fn give_back(&mut self) {
        if self.told != self.head {
            self.told = self.head;
            self.words.head.store(self.head, Ordering::Release);
        }
    }

    /// Says that the consumer is going to sleep, so that it will be woken; `false` when there is something already.
    pub(crate) fn sleep(&self) -> bool {
        self.words.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.head == self.tail && self.words.tail.load(Ordering::Relaxed) == self.head;
        if !empty {
            self.wake();
        }
        empty
    }

    /// Says that the consumer is awake.
    pub(crate) fn wake(&self) {
        self.words.asleep.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::RefCell;

    use super::*;

    impl Slots<u64> for &RefCell<Vec<u64>> {
        fn read(&self, index: usize) -> u64 {
            self.borrow()[index]
        }
        fn write(&self, index: usize, entry: u64) {
            self.borrow_mut()[index] = entry;
        }
    }

    #[derive(Default)]
    struct Shared {
        tail: AtomicU32,
        head: AtomicU32,
        asleep: AtomicU32,
        slots: RefCell<Vec<u64>>,
    }

    impl Shared {
        fn new(capacity: usize) -> Self {
            Shared { slots: RefCell::new(vec![0; capacity]), ..Shared::default() }
        }
        fn words(&self) -> Words<&AtomicU32> {
            Words { tail: &self.tail, head: &self.head, asleep: &self.asleep }
        }
        #[allow(clippy::type_complexity, reason = "both ends")]
        fn ends(
            &self,
        ) -> (Producer<&AtomicU32, &RefCell<Vec<u64>>>, Consumer<&AtomicU32, &RefCell<Vec<u64>>>) {
            #[allow(clippy::cast_possible_truncation, reason = "a few")]
            let capacity = self.slots.borrow().len() as u32;
            (
                Producer::new(self.words(), &self.slots, capacity),
                Consumer::new(self.words(), &self.slots, capacity),
            )
        }
    }

    #[test]
    fn entries_come_out_in_order_once_they_are_shown() {
        let shared = Shared::new(4);
        let (mut producer, mut consumer) = shared.ends();
        for round in 0..10u64 {
            for entry in 0..4 {
                assert_eq!(producer.push(round * 4 + entry), Ok(()));
            }
            assert_eq!(producer.push(99), Err(99), "full");
            assert_eq!(consumer.pop::<u64>(), Ok(None), "not shown yet");
            assert!(!producer.show(), "nobody sleeps");
            for entry in 0..4 {
                assert_eq!(consumer.pop(), Ok(Some(round * 4 + entry)));
            }
            assert_eq!(producer.push(99), Err(99), "the room was not given back");
            assert_eq!(consumer.pop::<u64>(), Ok(None));
        }
    }

    #[test]
    fn who_sleeps_is_woken_once() {
        let shared = Shared::new(4);
        let (mut producer, mut consumer) = shared.ends();
        assert!(consumer.sleep());
        assert!(!producer.show(), "nothing to be shown");
        producer.push(1).unwrap();
        assert!(producer.show());
        producer.push(2).unwrap();
        assert!(!producer.show(), "woken already");
        assert!(!consumer.sleep(), "there is something");
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(Some(1)), Ok(Some(2))));
        assert!(consumer.sleep());
        consumer.wake();
        producer.push(3).unwrap();
        assert!(!producer.show());
    }

    #[test]
    fn positions_that_cannot_be_are_not_believed() {
        let shared = Shared::new(4);
        let (mut producer, mut consumer) = shared.ends();
        shared.tail.store(5, Ordering::Relaxed);
        assert_eq!(consumer.pop::<u64>(), Err(Broken));
        shared.tail.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(consumer.pop::<u64>(), Err(Broken));
        for entry in 0..4 {
            producer.push(entry).unwrap();
        }
        for head in [1, 4, 5, 1 << 31, u32::MAX] {
            // Nothing was shown, so nothing can have been taken out.
            shared.head.store(head, Ordering::Relaxed);
            assert_eq!(producer.push(9), Err(9), "{head}");
        }
        producer.show();
        shared.head.store(3, Ordering::Relaxed);
        assert_eq!(producer.push(9), Ok(()));
        shared.head.store(1, Ordering::Relaxed);
        for entry in 0..2 {
            assert_eq!(producer.push(entry), Ok(()));
        }
        assert_eq!(producer.push(9), Err(9), "the consumer went backwards");
    }

    #[test]
    fn positions_wrap_around() {
        let shared = Shared::new(2);
        let (mut producer, mut consumer) = shared.ends();
        let start = u32::MAX - 2;
        (producer.tail, producer.shown, producer.head) = (start, start, start);
        (consumer.head, consumer.told, consumer.tail) = (start, start, start);
        shared.tail.store(start, Ordering::Relaxed);
        shared.head.store(start, Ordering::Relaxed);
        for entry in 0..9u64 {
            producer.push(entry).unwrap();
            producer.show();
            assert_eq!(consumer.pop(), Ok(Some(entry)));
            assert_eq!(consumer.pop::<u64>(), Ok(None));
        }
    }
}

/// Every interleaving of two ends.
#[cfg(all(test, loom))]
mod interleavings {
    use loom::{
        cell::UnsafeCell,
        sync::{Arc, Condvar, Mutex},
        thread,
    };

    use super::*;

    /// Entries whose concurrent use loom would notice.
    #[derive(Clone)]
    struct Cells(Arc<Vec<UnsafeCell<u64>>>);

    impl Slots<u64> for Cells {
        #[allow(unsafe_code, reason = "loom watches over the access")]
        fn read(&self, index: usize) -> u64 {
            // SAFETY: loom fails the test if somebody writes meanwhile.
            self.0[index].with(|entry| unsafe { *entry })
        }
        #[allow(unsafe_code, reason = "loom watches over the access")]
        fn write(&self, index: usize, entry: u64) {
            // SAFETY: loom fails the test if somebody reads or writes meanwhile.
            self.0[index].with_mut(|place| unsafe { *place = entry });
        }
    }

    /// What a bell is: a pipe that is written to and read empty.
    #[derive(Clone, Default)]
    struct Bell(Arc<(Mutex<bool>, Condvar)>);

    impl Bell {
        fn ring(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
        fn wait(&self) {
            let mut rung = self.0.0.lock().unwrap();
            while !*rung {
                rung = self.0.1.wait(rung).unwrap();
            }
            *rung = false;
        }
    }

    fn ends(capacity: u32) -> (Producer<Arc<AtomicU32>, Cells>, Consumer<Arc<AtomicU32>, Cells>) {
        let words: [Arc<AtomicU32>; 3] = std::array::from_fn(|_| Arc::new(AtomicU32::new(0)));
        let [tail, head, asleep] = words;
        let copy = Words { tail: tail.clone(), head: head.clone(), asleep: asleep.clone() };
        let cells = Cells(Arc::new((0..capacity).map(|_| UnsafeCell::new(0)).collect()));
        (
            Producer::new(copy, cells.clone(), capacity),
            Consumer::new(Words { tail, head, asleep }, cells, capacity),
        )
    }

    /// Puts 1 to `entries` through a ring of `capacity`.
    fn run(capacity: u32, entries: u64, preemptions: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions;
        model.check(move || {
            let (mut producer, mut consumer) = ends(capacity);
            let bell = Bell::default();
            let ringer = bell.clone();
            let thread = thread::spawn(move || {
                for entry in 1..=entries {
                    while producer.push(entry).is_err() {
                        thread::yield_now();
                    }
                    if producer.show() {
                        ringer.ring();
                    }
                }
            });
            let mut expected = 1;
            while expected <= entries {
                match consumer.pop::<u64>().unwrap() {
                    Some(entry) => {
                        assert_eq!(entry, expected);
                        expected += 1;
                    }
                    None => {
                        if consumer.sleep() {
                            bell.wait();
                            consumer.wake();
                        }
                    }
                }
            }
            thread.join().unwrap();
        });
    }

    /// No entry is lost, doubled or seen too early, and nobody sleeps for ever.
    #[test]
    fn a_sleeper_is_always_woken() {
        run(2, 2, Some(4));
    }

    /// No place is used again before its entry was taken out.
    #[test]
    fn room_is_used_again() {
        run(1, 2, Some(2));
    }
}
