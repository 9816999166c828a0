//! A split ring and its device at the same time.

use std::sync::atomic::Ordering;

use virtio_spec::{
    need_event,
    split::{Descriptor, available, used},
};

use super::{SplitRing, USED_AT};
use crate::{
    Features,
    queue::{
        Chain, Used,
        interleavings::{Peer, Subject, allocator, explore},
        memory::{Shared, fence},
    },
};

const SIZE: u16 = 2;

struct Device {
    descriptors: Shared<Descriptor>,
    available: Shared<u16>,
    used: Shared<u32>,
    event_idx: bool,
    fetched: u16,
    finished: u16,
}

impl Peer for Device {
    fn fetch(&mut self) -> Option<(u16, u64)> {
        if self.available.load_acquire::<u16>(available::INDEX, 0) == self.fetched {
            return None;
        }
        let head = self.available.read(available::RING + usize::from(self.fetched % SIZE));
        self.fetched += 1;
        Some((head, self.descriptors.read(head.into()).addr))
    }

    fn want_notification(&mut self) {
        if self.event_idx {
            self.used.write(USED_AT + used::avail_event(SIZE.into()), self.fetched.into());
        }
    }

    fn finish(&mut self, id: u16, len: u32) -> bool {
        let at = USED_AT + used::id(usize::from(self.finished % SIZE));
        self.used.write(at, id.into());
        self.used.write(at + 1, len);
        self.finished += 1;
        self.used.store_release(USED_AT + used::FLAGS_AND_INDEX, 0, u32::from(self.finished) << 16);
        fence(Ordering::SeqCst);
        if !self.event_idx {
            return self.available.load_acquire::<u16>(available::FLAGS, 0) & available::NO_INTERRUPT == 0;
        }
        let event = self.available.load_acquire::<u16>(available::used_event(SIZE.into()), 0);
        need_event(event, self.finished, self.finished - 1)
    }
}

impl Subject for SplitRing {
    fn add(&mut self, chain: &Chain<'_>, token: u16) {
        SplitRing::add(self, chain, token).unwrap();
    }
    fn publish(&mut self) -> bool {
        SplitRing::publish(self).is_some()
    }
    fn pop(&mut self) -> Option<Used> {
        SplitRing::pop(self).unwrap()
    }
    fn arm(&mut self) -> bool {
        SplitRing::arm(self)
    }
}

fn pair(features: Features) -> (SplitRing, Device) {
    let (_host, dma) = allocator();
    let mut ring = SplitRing::new(SIZE, features, 1, &dma).unwrap();
    ring.reset();
    ring.announce(true);
    let device = Device {
        descriptors: ring.descriptors.clone(),
        available: ring.available.clone(),
        used: ring.used.clone(),
        event_idx: features.contains(Features::EVENT_IDX),
        fetched: 0,
        finished: 0,
    };
    (ring, device)
}

#[test]
fn nothing_is_lost_with_event_idx() {
    explore(Features::EVENT_IDX, false, pair);
    explore(Features::EVENT_IDX, true, pair);
}

#[test]
fn nothing_is_lost_with_flags() {
    explore(Features::empty(), false, pair);
    explore(Features::empty(), true, pair);
}
