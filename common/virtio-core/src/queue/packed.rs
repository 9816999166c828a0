//! A packed virtqueue (section 2.8).

#[cfg(all(test, loom))]
mod interleavings;

use std::sync::atomic::Ordering;

use redox_driver_sys::dma::DmaAllocator;
use virtio_spec::{
    need_event,
    packed::{Descriptor, DescriptorFlags, EventFlags, EventPosition, EventSuppression},
};

use super::{
    AddError, Chain, Outstanding, QueueError, Used,
    memory::{Shared, allocate, fence},
};
use crate::{Features, transport::Areas};

/// A place in the ring, and the wrap counter there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    offset: u16,
    wrap: bool,
}

impl Position {
    const START: Position = Position { offset: 0, wrap: true };

    /// The place `entries` further on, at most once around a ring of `size`.
    #[inline]
    fn advance(self, entries: u16, size: u16) -> Self {
        let left = size - self.offset;
        if entries < left {
            Position { offset: self.offset + entries, ..self }
        } else {
            Position { offset: entries - left, wrap: !self.wrap }
        }
    }

    fn to_event(self) -> EventPosition {
        EventPosition::new().with_offset(self.offset).with_wrap(self.wrap)
    }
}

/// The driver's side of a packed virtqueue.
#[derive(Debug)]
pub(super) struct PackedRing {
    descriptors: Shared<Descriptor>,
    /// When the driver wants interrupts, and the device notifications.
    driver_event: Shared<EventSuppression>,
    device_event: Shared<EventSuppression>,
    /// One table of descriptors for each buffer id, if they are indirect.
    tables: Option<Shared<Descriptor>>,
    most: u16,
    size: u16,
    event_idx: bool,
    /// Buffer ids that are free: a stack.
    ids: Box<[u16]>,
    free_ids: u16,
    /// Entries that are free.
    free: u16,
    next_available: Position,
    next_used: Position,
    /// The first descriptor of the first chain that the device was not shown: where it is, and what its last four bytes become. The
    /// device takes nothing behind it.
    hidden: Option<(u16, u32)>,
    /// Entries that were added since the device was shown some.
    added: u16,
    /// With IN_ORDER: the last chain of the batch that is being taken, and its length.
    batch: Option<(u16, u32)>,
    /// For which place an interrupt was asked for.
    armed: Option<Position>,
    outstanding: Outstanding,
}

/// `id` and `flags` of a descriptor, as they are published together.
#[inline]
fn published(id: u16, flags: DescriptorFlags) -> u32 {
    u32::from(id) | u32::from(u16::from(flags)) << 16
}

impl PackedRing {
    /// A ring of `size` descriptors for chains of at most `most`.
    pub(super) fn new(
        size: u16,
        features: Features,
        most: u16,
        dma: &DmaAllocator,
    ) -> redox_driver_sys::Result<Self> {
        let entries = usize::from(size);
        let indirect = features.contains(Features::INDIRECT_DESC) && most > 1;
        let tables = indirect.then(|| allocate(dma, entries * usize::from(most))).transpose()?;
        Ok(PackedRing {
            descriptors: allocate(dma, entries)?,
            driver_event: allocate(dma, 1)?,
            device_event: allocate(dma, 1)?,
            most: if indirect { most } else { most.min(size) },
            tables,
            size,
            event_idx: features.contains(Features::EVENT_IDX),
            ids: vec![0; entries].into_boxed_slice(),
            free_ids: 0,
            free: 0,
            next_available: Position::START,
            next_used: Position::START,
            hidden: None,
            added: 0,
            batch: None,
            armed: None,
            outstanding: Outstanding::new(size, features.contains(Features::IN_ORDER)),
        })
    }

    pub(super) fn size(&self) -> u16 {
        self.size
    }

    /// Most descriptors of a chain.
    pub(super) fn most(&self) -> u16 {
        self.most
    }

    pub(super) fn is_indirect(&self) -> bool {
        self.tables.is_some()
    }

    pub(super) fn outstanding(&self) -> &Outstanding {
        &self.outstanding
    }

    pub(super) fn areas(&self) -> Areas {
        [self.descriptors.addr(), self.driver_event.addr(), self.device_event.addr()]
    }

    pub(super) fn reset(&mut self) {
        self.descriptors.clear();
        self.driver_event.clear();
        self.device_event.clear();
        for (id, slot) in (0..self.size).rev().zip(&mut self.ids) {
            *slot = id;
        }
        (self.free_ids, self.free) = (self.size, self.size);
        (self.next_available, self.next_used) = (Position::START, Position::START);
        self.hidden = None;
        self.added = 0;
        self.batch = None;
        self.armed = None;
        self.outstanding.clear();
    }

    /// Has used chains interrupt, or not. With EVENT_IDX it is the next one to be used that does.
    pub(super) fn announce(&mut self, interrupts: bool) {
        let flags = match (interrupts, self.event_idx) {
            (false, _) => EventFlags::DISABLE,
            (true, false) => EventFlags::ENABLE,
            (true, true) => EventFlags::DESCRIPTOR,
        };
        self.armed = (flags == EventFlags::DESCRIPTOR).then_some(self.next_used);
        self.driver_event.write(0, EventSuppression { position: self.next_used.to_event(), flags });
    }

    #[inline]
    pub(super) fn add(&mut self, chain: &Chain<'_>, token: u16) -> Result<(), AddError> {
        let len = chain.len();
        let indirect = self.tables.is_some() && len > 1;
        let needed = if indirect { 1 } else { len };
        let writable = Outstanding::check(chain, self.most, needed, self.free)?;
        // There are as many ids as entries, and each chain takes at least one entry.
        self.free_ids -= 1;
        let id = self.ids[usize::from(self.free_ids)];
        let head = self.next_available;
        if let (Some(tables), true) = (&self.tables, indirect) {
            let first = usize::from(id) * usize::from(self.most);
            let mut at = first;
            for (segments, write) in chain.parts() {
                let flags = DescriptorFlags::new().with_write(write);
                for segment in segments {
                    let addr = segment.addr.get();
                    tables.write(at, Descriptor { addr, len: segment.len, id: 0, flags });
                    at += 1;
                }
            }
            #[allow(clippy::cast_possible_truncation, reason = "at most 65535 descriptors")]
            let bytes = (len * size_of::<Descriptor>()) as u32;
            let flags = DescriptorFlags::new().with_indirect(true);
            self.put(head, true, tables.addr_of(first).get(), bytes, id, flags);
            self.next_available = head.advance(1, self.size);
        } else {
            let (mut at, mut left) = (head, len);
            for (segments, write) in chain.parts() {
                for segment in segments {
                    left -= 1;
                    let flags = DescriptorFlags::new().with_write(write).with_next(left > 0);
                    self.put(at, at == head, segment.addr.get(), segment.len, id, flags);
                    at = at.advance(1, self.size);
                }
            }
            self.next_available = at;
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most the free entries")]
        let needed = needed as u16;
        self.free -= needed;
        self.added += needed;
        self.outstanding.insert(id, token, needed, writable);
        Ok(())
    }

    /// Writes a descriptor. The first one of a batch stays hidden: with it, everything behind it is.
    #[inline]
    fn put(&mut self, at: Position, first: bool, addr: u64, len: u32, id: u16, flags: DescriptorFlags) {
        let visible = flags.available(at.wrap);
        let hide = first && self.hidden.is_none();
        let flags = if hide {
            self.hidden = Some((at.offset, published(id, visible)));
            // As a descriptor of the pass before looks.
            flags.marked_used(!at.wrap)
        } else {
            visible
        };
        self.descriptors.write(usize::from(at.offset), Descriptor { addr, len, id, flags });
    }

    /// Shows the device what was added. `Some` if it wants to be notified, with what NOTIFICATION_DATA is to say.
    #[inline]
    pub(super) fn publish(&mut self) -> Option<u16> {
        let (first, word) = self.hidden.take()?;
        self.descriptors.store_release(usize::from(first), Descriptor::PUBLISHED_AT, word);
        let added = std::mem::take(&mut self.added);
        // The device writes what it wants and looks at the ring; here it is the other way round. Without a full barrier between the
        // two, each side could miss the other (section 2.8.21.3.1).
        fence(Ordering::SeqCst);
        let event = self.device_event.read(0);
        let wanted = match event.flags {
            EventFlags::DISABLE => false,
            EventFlags::DESCRIPTOR if self.event_idx => self.reaches(event.position, added),
            _ => true,
        };
        wanted.then(|| self.next_available.to_event().into())
    }

    /// Whether the last `added` entries before the next available one contain `event`.
    fn reaches(&self, event: EventPosition, added: u16) -> bool {
        let new = self.next_available.offset;
        let mut at = event.offset();
        if event.wrap() != self.next_available.wrap {
            // It is on the other pass: the one before, as it cannot be ahead.
            at = at.wrapping_sub(self.size);
        }
        need_event(at, new, new.wrapping_sub(added))
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<Option<Used>, QueueError> {
        let (id, len) = match self.batch.take() {
            Some((last, len)) => self.next_in_order(last, len)?,
            None => {
                let Some((id, len)) = self.look() else { return Ok(None) };
                let id = self.outstanding.find(id.into())?;
                if self.outstanding.is_ordered() { self.next_in_order(id, len)? } else { (id, Some(len)) }
            }
        };
        let (used, entries) = self.outstanding.remove(id, len)?;
        self.next_used = self.next_used.advance(entries, self.size);
        self.free += entries;
        self.ids[usize::from(self.free_ids)] = id;
        self.free_ids += 1;
        Ok(Some(used))
    }

    /// The id and length of the descriptor at the next used place, if the device has used it.
    #[inline]
    fn look(&self) -> Option<(u16, u32)> {
        let at = usize::from(self.next_used.offset);
        let word = self.descriptors.load_acquire::<u32>(at, Descriptor::PUBLISHED_AT);
        #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
        let (id, flags) = (word as u16, DescriptorFlags::from((word >> 16) as u16));
        flags.is_used(self.next_used.wrap).then(|| (id, self.descriptors.read(at).len))
    }

    /// An in-order device may write one descriptor for several chains: the last one's, where the first one's would be (section
    /// 2.8.7).
    fn next_in_order(&mut self, last: u16, len: u32) -> Result<(u16, Option<u32>), QueueError> {
        let next = self.outstanding.next_in_order().ok_or(QueueError::UnknownChain(last.into()))?;
        if next == last {
            return Ok((next, Some(len)));
        }
        self.batch = Some((last, len));
        Ok((next, None))
    }

    /// Asks for an interrupt; true when there is something to pop all the same.
    #[inline]
    pub(super) fn arm(&mut self) -> bool {
        if self.event_idx && self.armed != Some(self.next_used) {
            let event =
                EventSuppression { position: self.next_used.to_event(), flags: EventFlags::DESCRIPTOR };
            self.driver_event.write(0, event);
            self.armed = Some(self.next_used);
            // As in `publish`: first what is wanted, then whether it has come already.
            fence(Ordering::SeqCst);
        }
        self.batch.is_some() || self.look().is_some()
    }
}
