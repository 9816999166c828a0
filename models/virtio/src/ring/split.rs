//! A split virtqueue, the device's side (section 2.7).

use redox_driver_sys::model::Bus;
use virtio_spec::{
    Features, need_event,
    split::{Descriptor, available, used},
};

use super::{
    Layout, Request, RingError, read, read_u16,
    table::{Piece, table_entries},
};

const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;

/// What a device knows of a split virtqueue.
#[derive(Debug)]
pub struct SplitDevice {
    layout: Layout,
    available_index: u16,
    used_index: u16,
    /// The used index when it was last asked whether to interrupt.
    signalled: u16,
}

impl SplitDevice {
    /// A queue that was just enabled.
    pub fn new(layout: Layout) -> Self {
        SplitDevice { layout, available_index: 0, used_index: 0, signalled: 0 }
    }

    fn has(&self, feature: Features) -> bool {
        self.layout.features.contains(feature)
    }

    fn available(&self, word: usize) -> u64 {
        self.layout.areas[1].wrapping_add(2 * word as u64)
    }

    fn used(&self, word: usize) -> u64 {
        self.layout.areas[2].wrapping_add(4 * word as u64)
    }

    fn slot(&self, index: u16) -> usize {
        usize::from(index % self.layout.size.max(1))
    }

    /// The next chain that the driver has made available.
    ///
    /// # Errors
    /// The ring or the chain is not as it must be.
    pub fn fetch(&mut self, bus: &mut dyn Bus) -> Result<Option<Request>, RingError> {
        let index = read_u16(bus, self.available(available::INDEX))?;
        let waiting = index.wrapping_sub(self.available_index);
        if waiting > self.layout.size {
            return Err(RingError("more chains are available than there are descriptors"));
        }
        if waiting == 0 {
            return Ok(None);
        }
        let head = read_u16(bus, self.available(available::RING + self.slot(self.available_index)))?;
        self.available_index = self.available_index.wrapping_add(1);
        self.chain(bus, head).map(Some)
    }

    fn chain(&self, bus: &mut dyn Bus, head: u16) -> Result<Request, RingError> {
        let mut request = Request { id: head, ..Request::default() };
        let mut at = head;
        loop {
            if at >= self.layout.size || request.entries >= self.layout.size {
                return Err(RingError("a chain leaves the table or runs in a circle"));
            }
            let addr = self.layout.areas[0].wrapping_add(DESCRIPTOR * u64::from(at));
            let descriptor: Descriptor = zerocopy::transmute!(read::<16>(bus, addr)?);
            request.entries += 1;
            let flags = descriptor.flags;
            if flags.indirect() {
                if !self.has(Features::INDIRECT_DESC) || flags.next() {
                    return Err(RingError("an indirect descriptor where there must be none"));
                }
                Self::indirect(bus, &descriptor, &mut request)?;
                return Ok(request);
            }
            request.push(Piece { addr: descriptor.addr, len: descriptor.len, write: flags.write() })?;
            if !flags.next() {
                return Ok(request);
            }
            at = descriptor.next;
        }
    }

    fn indirect(bus: &mut dyn Bus, table: &Descriptor, request: &mut Request) -> Result<(), RingError> {
        let entries = table_entries(table.len)?;
        let mut at = 0;
        for _ in 0..entries {
            if at >= entries {
                return Err(RingError("a chain leaves its indirect table"));
            }
            let addr = table.addr.wrapping_add(DESCRIPTOR * at);
            let descriptor: Descriptor = zerocopy::transmute!(read::<16>(bus, addr)?);
            let flags = descriptor.flags;
            if flags.indirect() {
                return Err(RingError("an indirect table in an indirect table"));
            }
            request.push(Piece { addr: descriptor.addr, len: descriptor.len, write: flags.write() })?;
            if !flags.next() {
                return Ok(());
            }
            at = descriptor.next.into();
        }
        Err(RingError("a chain runs in a circle in its indirect table"))
    }

    /// Asks to be notified of the next chain.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn want_notification(&mut self, bus: &mut dyn Bus) -> Result<(), RingError> {
        if self.has(Features::EVENT_IDX) {
            let event = self.used(used::avail_event(usize::from(self.layout.size)));
            bus.dma_write(event, &self.available_index.to_le_bytes())?;
        }
        Ok(())
    }

    /// Asks not to be notified; without EVENT_IDX, where the next chain's index says enough.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn refuse_notifications(&mut self, bus: &mut dyn Bus, refuse: bool) -> Result<(), RingError> {
        let flags = if refuse { used::NO_NOTIFY } else { 0 };
        Ok(bus.dma_write(self.used(used::FLAGS_AND_INDEX), &flags.to_le_bytes())?)
    }

    /// Writes one entry that gives `chains` chains back, of which `id` is the last one.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn put_used(
        &mut self,
        bus: &mut dyn Bus,
        id: u32,
        len: u32,
        chains: u16,
        _entries: u16,
    ) -> Result<(), RingError> {
        let at = self.used(used::id(self.slot(self.used_index)));
        bus.dma_write(at, &id.to_le_bytes())?;
        bus.dma_write(at.wrapping_add(4), &len.to_le_bytes())?;
        self.jump(bus, chains)
    }

    /// Moves the used index, whatever is in the ring.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn jump(&mut self, bus: &mut dyn Bus, by: u16) -> Result<(), RingError> {
        self.used_index = self.used_index.wrapping_add(by);
        let at = self.used(used::FLAGS_AND_INDEX).wrapping_add(used::INDEX_AT as u64);
        Ok(bus.dma_write(at, &self.used_index.to_le_bytes())?)
    }

    /// Whether the driver wants to be interrupted for what was used since this was asked last.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> Result<bool, RingError> {
        let (old, new) = (self.signalled, self.used_index);
        if old == new {
            return Ok(false);
        }
        self.signalled = new;
        if self.has(Features::EVENT_IDX) {
            let event = read_u16(bus, self.available(available::used_event(usize::from(self.layout.size))))?;
            return Ok(need_event(event, new, old));
        }
        Ok(read_u16(bus, self.available(available::FLAGS))? & available::NO_INTERRUPT == 0)
    }

    pub(super) fn is_plausible(&self, bus: &mut dyn Bus, next: u16) -> bool {
        read_u16(bus, self.available(available::INDEX)).is_ok_and(|index| index == next)
    }
}
