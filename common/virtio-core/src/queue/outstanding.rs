//! What the device has: the driver's own record, which the device cannot reach.

use super::{AddError, Chain, QueueError, Used};

/// A chain that the device has, or a free place for one.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    token: u16,
    /// Entries of the ring that it takes; 0: the device does not have it.
    entries: u16,
    /// Bytes that the device may write.
    writable: u32,
}

/// The chains that the device has, by the number that the ring calls them by.
#[derive(Debug)]
pub(super) struct Outstanding {
    slots: Box<[Slot]>,
    count: u16,
    /// With IN_ORDER: the chains in the order in which they will come back.
    order: Option<Order>,
}

impl Outstanding {
    pub(super) fn new(size: u16, in_order: bool) -> Self {
        Outstanding {
            slots: vec![Slot::default(); usize::from(size)].into_boxed_slice(),
            count: 0,
            order: in_order.then(|| Order::new(size)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(Slot::default());
        self.count = 0;
        if let Some(order) = &mut self.order {
            order.clear();
        }
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> u16 {
        self.count
    }

    /// How many bytes the device may write, if the chain is one that may be added to a ring with `free` entries, of which it takes
    /// as many as it has descriptors, or, with a table of `table` descriptors, one.
    #[inline]
    pub(super) fn check(chain: &Chain<'_>, most: u16, needed: usize, free: u16) -> Result<u32, AddError> {
        let writable = chain.writable_bytes().ok_or(AddError::Invalid)?;
        if chain.len() > usize::from(most) {
            return Err(AddError::Invalid);
        }
        if needed > usize::from(free) { Err(AddError::Full) } else { Ok(writable) }
    }

    /// The device gets chain `id`.
    #[inline]
    pub(super) fn insert(&mut self, id: u16, token: u16, entries: u16, writable: u32) {
        self.slots[usize::from(id)] = Slot { token, entries, writable };
        self.count += 1;
        if let Some(order) = &mut self.order {
            order.push(id);
        }
    }

    /// Whether `id` names a chain that the device has.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Result<u16, QueueError> {
        match u16::try_from(id) {
            Ok(known) if self.slots.get(usize::from(known)).is_some_and(|slot| slot.entries > 0) => Ok(known),
            _ => Err(QueueError::UnknownChain(id)),
        }
    }

    /// With IN_ORDER: the chain that comes back next, which may be one that the device has skipped.
    #[inline]
    pub(super) fn next_in_order(&mut self) -> Option<u16> {
        self.order.as_mut().and_then(Order::pop)
    }

    /// Whether chains come back in order.
    #[inline]
    pub(super) fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Chain `id`, which the device has, comes back with `len` bytes written, or all, and frees so many entries of the ring.
    #[inline]
    pub(super) fn remove(&mut self, id: u16, len: Option<u32>) -> Result<(Used, u16), QueueError> {
        let slot = &mut self.slots[usize::from(id)];
        let Slot { token, entries, writable } = *slot;
        let len = len.unwrap_or(writable);
        if len > writable {
            return Err(QueueError::BadLength { chain: id, len, writable });
        }
        slot.entries = 0;
        self.count -= 1;
        Ok((Used { token, len }, entries))
    }
}

/// Numbers of chains, first in, first out. There are never more than chains.
#[derive(Debug)]
struct Order {
    ids: Box<[u16]>,
    first: usize,
    len: usize,
}

impl Order {
    fn new(size: u16) -> Self {
        Order { ids: vec![0; usize::from(size)].into_boxed_slice(), first: 0, len: 0 }
    }

    fn clear(&mut self) {
        (self.first, self.len) = (0, 0);
    }

    fn push(&mut self, id: u16) {
        let at = (self.first + self.len) % self.ids.len();
        self.ids[at] = id;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<u16> {
        let left = self.len.checked_sub(1)?;
        let id = self.ids[self.first];
        self.first = (self.first + 1) % self.ids.len();
        self.len = left;
        Some(id)
    }
}
