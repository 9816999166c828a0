//! A packed ring and its device at the same time.

use std::sync::atomic::Ordering;

use virtio_spec::packed::{Descriptor, DescriptorFlags, EventFlags, EventPosition, EventSuppression};

use super::{PackedRing, Position, published};
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
    driver_event: Shared<EventSuppression>,
    device_event: Shared<EventSuppression>,
    event_idx: bool,
    next_available: Position,
    next_used: Position,
}

impl Peer for Device {
    fn fetch(&mut self) -> Option<(u16, u64)> {
        let at = usize::from(self.next_available.offset);
        let word = self.descriptors.load_acquire::<u32>(at, Descriptor::PUBLISHED_AT);
        let flags = DescriptorFlags::from((word >> 16) as u16);
        if !flags.is_available(self.next_available.wrap) {
            return None;
        }
        self.next_available = self.next_available.advance(1, SIZE);
        let descriptor = self.descriptors.read(at);
        Some((descriptor.id, descriptor.addr))
    }

    fn want_notification(&mut self) {
        if self.event_idx {
            let position = self.next_available.to_event();
            self.device_event.write(0, EventSuppression { position, flags: EventFlags::DESCRIPTOR });
        }
    }

    fn finish(&mut self, id: u16, len: u32) -> bool {
        let Position { offset, wrap } = self.next_used;
        let at = usize::from(offset);
        let before = self.descriptors.read(at);
        self.descriptors.write(at, Descriptor { len, ..before });
        let flags = DescriptorFlags::new().with_write(true).marked_used(wrap);
        self.descriptors.store_release(at, Descriptor::PUBLISHED_AT, published(id, flags));
        self.next_used = self.next_used.advance(1, SIZE);
        fence(Ordering::SeqCst);
        let event = self.driver_event.read(0);
        match event.flags {
            EventFlags::DISABLE => false,
            // One descriptor was used: the one at this place.
            EventFlags::DESCRIPTOR => {
                event.position == EventPosition::new().with_offset(offset).with_wrap(wrap)
            }
            _ => true,
        }
    }
}

impl Subject for PackedRing {
    fn add(&mut self, chain: &Chain<'_>, token: u16) {
        PackedRing::add(self, chain, token).unwrap();
    }
    fn publish(&mut self) -> bool {
        PackedRing::publish(self).is_some()
    }
    fn pop(&mut self) -> Option<Used> {
        PackedRing::pop(self).unwrap()
    }
    fn arm(&mut self) -> bool {
        PackedRing::arm(self)
    }
}

fn pair(features: Features) -> (PackedRing, Device) {
    let (_host, dma) = allocator();
    let mut ring = PackedRing::new(SIZE, features | Features::RING_PACKED, 1, &dma).unwrap();
    ring.reset();
    ring.announce(true);
    let device = Device {
        descriptors: ring.descriptors.clone(),
        driver_event: ring.driver_event.clone(),
        device_event: ring.device_event.clone(),
        event_idx: features.contains(Features::EVENT_IDX),
        next_available: Position::START,
        next_used: Position::START,
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
