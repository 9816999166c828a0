//! A split virtqueue (section 2.7).

#[cfg(all(test, loom))]
mod interleavings;

use std::sync::atomic::Ordering;

use redox_driver_sys::dma::DmaAllocator;
use virtio_spec::{
    need_event,
    split::{Descriptor, DescriptorFlags, available, used},
};

use super::{
    AddError, Chain, Outstanding, QueueError, Used,
    memory::{Shared, allocate, fence},
};
use crate::{Features, transport::Areas};

/// Where the used ring begins in its memory, in words. Its entries, of 8 bytes behind a head of 4, then never cross a page.
/// QEMU 11.1 translates the address of an entry once: behind an IOMMU, where neighbouring pages are not neighbours in memory, it
/// writes the second half of an entry that crosses into somebody else's page.
const USED_AT: usize = 1;

/// The driver's side of a split virtqueue.
#[derive(Debug)]
pub(super) struct SplitRing {
    descriptors: Shared<Descriptor>,
    available: Shared<u16>,
    used: Shared<u32>,
    /// One table of descriptors for each head, if they are indirect.
    tables: Option<Shared<Descriptor>>,
    most: u16,
    size: u16,
    event_idx: bool,
    /// For each descriptor: the one behind it in the list of free ones, or in its chain.
    next: Box<[u16]>,
    /// For each head: the last descriptor of its chain.
    last: Box<[u16]>,
    /// The list of free descriptors, first in, first out: with IN_ORDER they are used in the order of the table, as section 2.7.5.2
    /// demands.
    free_head: u16,
    free_tail: u16,
    free: u16,
    /// The available index, and how much of it the device was shown.
    available_index: u16,
    shown: u16,
    /// The used index, as far as it was followed, and as the device showed it last.
    used_index: u16,
    used_seen: u16,
    /// With IN_ORDER: the last chain of the batch that is being taken, and its length.
    batch: Option<(u16, u32)>,
    /// For which used index an interrupt was asked for.
    armed: Option<u16>,
    outstanding: Outstanding,
}

impl SplitRing {
    /// A ring of `size` descriptors, a power of two, for chains of at most `most`.
    pub(super) fn new(
        size: u16,
        features: Features,
        most: u16,
        dma: &DmaAllocator,
    ) -> redox_driver_sys::Result<Self> {
        let entries = usize::from(size);
        let indirect = features.contains(Features::INDIRECT_DESC) && most > 1;
        let tables = indirect.then(|| allocate(dma, entries * usize::from(most))).transpose()?;
        Ok(SplitRing {
            descriptors: allocate(dma, entries)?,
            available: allocate(dma, available::words(entries))?,
            used: allocate(dma, USED_AT + used::words(entries))?,
            most: if indirect { most } else { most.min(size) },
            tables,
            size,
            event_idx: features.contains(Features::EVENT_IDX),
            next: vec![0; entries].into_boxed_slice(),
            last: vec![0; entries].into_boxed_slice(),
            free_head: 0,
            free_tail: 0,
            free: 0,
            available_index: 0,
            shown: 0,
            used_index: 0,
            used_seen: 0,
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
        [self.descriptors.addr(), self.available.addr(), self.used.addr_of(USED_AT)]
    }

    pub(super) fn reset(&mut self) {
        self.descriptors.clear();
        self.available.clear();
        self.used.clear();
        for (index, next) in (1..).zip(&mut self.next) {
            *next = index % self.size;
        }
        (self.free_head, self.free_tail, self.free) = (0, self.size - 1, self.size);
        (self.available_index, self.shown, self.used_index, self.used_seen) = (0, 0, 0, 0);
        self.batch = None;
        self.armed = None;
        self.outstanding.clear();
    }

    /// Has used chains interrupt, or not. With EVENT_IDX that is what [`arm`](Self::arm) is for, and the index that is never armed
    /// comes by once in 65536 times.
    pub(super) fn announce(&mut self, interrupts: bool) {
        if !self.event_idx {
            self.available.write(available::FLAGS, if interrupts { 0 } else { available::NO_INTERRUPT });
        } else if interrupts {
            // The first chain to be used interrupts.
            self.armed = Some(0);
        } else {
            self.available.write(available::used_event(usize::from(self.size)), u16::MAX);
        }
    }

    #[inline]
    pub(super) fn add(&mut self, chain: &Chain<'_>, token: u16) -> Result<(), AddError> {
        let len = chain.len();
        let indirect = self.tables.is_some() && len > 1;
        let needed = if indirect { 1 } else { len };
        let writable = Outstanding::check(chain, self.most, needed, self.free)?;
        let head = self.free_head;
        if let (Some(tables), true) = (&self.tables, indirect) {
            let first = usize::from(head) * usize::from(self.most);
            let mut next = 0u16;
            for (segments, write) in chain.parts() {
                for segment in segments {
                    let at = first + usize::from(next);
                    next += 1;
                    let more = usize::from(next) < len;
                    let flags = DescriptorFlags::new().with_write(write).with_next(more);
                    let addr = segment.addr.get();
                    let next = if more { next } else { 0 };
                    tables.write(at, Descriptor { addr, len: segment.len, flags, next });
                }
            }
            let flags = DescriptorFlags::new().with_indirect(true);
            #[allow(clippy::cast_possible_truncation, reason = "at most 65535 descriptors")]
            let bytes = (len * size_of::<Descriptor>()) as u32;
            let addr = tables.addr_of(first).get();
            self.descriptors.write(usize::from(head), Descriptor { addr, len: bytes, flags, next: 0 });
            self.last[usize::from(head)] = head;
            self.free_head = self.next[usize::from(head)];
        } else {
            let (mut at, mut last, mut left) = (head, head, len);
            for (segments, write) in chain.parts() {
                for segment in segments {
                    left -= 1;
                    let flags = DescriptorFlags::new().with_write(write).with_next(left > 0);
                    let behind = self.next[usize::from(at)];
                    let next = if left > 0 { behind } else { 0 };
                    let descriptor = Descriptor { addr: segment.addr.get(), len: segment.len, flags, next };
                    self.descriptors.write(usize::from(at), descriptor);
                    (last, at) = (at, behind);
                }
            }
            self.last[usize::from(head)] = last;
            self.free_head = at;
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most the free descriptors")]
        let needed = needed as u16;
        self.free -= needed;
        self.outstanding.insert(head, token, needed, writable);
        let slot = available::RING + usize::from(self.available_index & (self.size - 1));
        self.available.write(slot, head);
        self.available_index = self.available_index.wrapping_add(1);
        Ok(())
    }

    /// Shows the device what was added. `Some` if it wants to be notified, with what NOTIFICATION_DATA is to say.
    #[inline]
    pub(super) fn publish(&mut self) -> Option<u16> {
        let (old, new) = (self.shown, self.available_index);
        if old == new {
            return None;
        }
        self.available.store_release(available::INDEX, 0, new);
        self.shown = new;
        // The device writes what it wants and looks at the index; here it is the other way round. Without a full barrier between
        // the two, each side could miss the other (section 2.7.13.4.1).
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let event = self.used.load_acquire::<u16>(USED_AT + used::avail_event(usize::from(self.size)), 0);
            need_event(event, new, old)
        } else {
            self.used.load_acquire::<u16>(USED_AT + used::FLAGS_AND_INDEX, 0) & used::NO_NOTIFY == 0
        };
        wanted.then_some(new)
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<Option<Used>, QueueError> {
        if self.used_index == self.used_seen && !self.look()? {
            return Ok(None);
        }
        let (id, len) = if self.outstanding.is_ordered() { self.next_in_order()? } else { self.next_any()? };
        let (used, entries) = self.outstanding.remove(id, len)?;
        self.used_index = self.used_index.wrapping_add(1);
        self.give_back(id, entries);
        Ok(Some(used))
    }

    /// Looks how far the device says it has come; false when there is nothing new.
    #[inline]
    fn look(&mut self) -> Result<bool, QueueError> {
        self.used_seen = self.used.load_acquire::<u16>(USED_AT + used::FLAGS_AND_INDEX, used::INDEX_AT);
        let new = self.used_seen.wrapping_sub(self.used_index);
        let outstanding = self.outstanding.len();
        if new > outstanding {
            return Err(QueueError::BadIndex { used: new, outstanding });
        }
        Ok(new > 0)
    }

    #[inline]
    fn next_any(&self) -> Result<(u16, Option<u32>), QueueError> {
        let at = USED_AT + used::id(usize::from(self.used_index & (self.size - 1)));
        let id = self.outstanding.find(self.used.read(at))?;
        Ok((id, Some(self.used.read(at + 1))))
    }

    /// An in-order device may write one entry for several chains: the last one's, where the first one's would be (section 2.7.8).
    fn next_in_order(&mut self) -> Result<(u16, Option<u32>), QueueError> {
        let (last, len) = match self.batch.take() {
            Some(batch) => batch,
            None => {
                let at = USED_AT + used::id(usize::from(self.used_index & (self.size - 1)));
                (self.outstanding.find(self.used.read(at))?, self.used.read(at + 1))
            }
        };
        let next = self.outstanding.next_in_order().ok_or(QueueError::UnknownChain(last.into()))?;
        if next == last {
            return Ok((next, Some(len)));
        }
        // More of the batch is to come, and the index must say so.
        if self.used_index.wrapping_add(1) == self.used_seen {
            return Err(QueueError::UnknownChain(last.into()));
        }
        self.batch = Some((last, len));
        Ok((next, None))
    }

    #[inline]
    fn give_back(&mut self, head: u16, entries: u16) {
        let last = self.last[usize::from(head)];
        if self.free == 0 {
            self.free_head = head;
        } else {
            self.next[usize::from(self.free_tail)] = head;
        }
        self.free_tail = last;
        self.free += entries;
    }

    /// Asks for an interrupt; true when there is something to pop all the same.
    #[inline]
    pub(super) fn arm(&mut self) -> bool {
        if self.event_idx && self.armed != Some(self.used_index) {
            self.available.write(available::used_event(usize::from(self.size)), self.used_index);
            self.armed = Some(self.used_index);
            // As in `publish`: first what is wanted, then whether it has come already.
            fence(Ordering::SeqCst);
        }
        let index = self.used.load_acquire::<u16>(USED_AT + used::FLAGS_AND_INDEX, used::INDEX_AT);
        index != self.used_index
    }
}
