//! A packed virtqueue, the device's side (section 2.8).

use redox_driver_sys::model::Bus;
use virtio_spec::{
    Features,
    packed::{Descriptor, DescriptorFlags, EventFlags, EventPosition, EventSuppression},
};
use zerocopy::IntoBytes;

use super::{
    Layout, Request, RingError, read, read_u16,
    table::{Piece, table_entries},
};

const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;

/// A place in the ring, counted over two passes, so that the wrap counter is part of it.
type Place = u32;

/// What a device knows of a packed virtqueue.
#[derive(Debug)]
pub struct PackedDevice {
    layout: Layout,
    next_available: Place,
    next_used: Place,
    /// Entries used since it was last asked whether to interrupt.
    unsignalled: u32,
}

impl PackedDevice {
    /// A queue that was just enabled.
    pub fn new(layout: Layout) -> Self {
        PackedDevice { layout, next_available: 0, next_used: 0, unsignalled: 0 }
    }

    fn has(&self, feature: Features) -> bool {
        self.layout.features.contains(feature)
    }

    fn size(&self) -> u32 {
        u32::from(self.layout.size.max(1))
    }

    fn advance(&self, place: Place, by: u32) -> Place {
        (place + by) % (2 * self.size())
    }

    /// Wrap counter and offset of a place: the first pass has the counter 1.
    fn split(&self, place: Place) -> (bool, u32) {
        (place < self.size(), place % self.size())
    }

    fn position(&self, place: Place) -> EventPosition {
        let (wrap, offset) = self.split(place);
        // Below the size of a queue.
        EventPosition::new().with_offset(u16::try_from(offset).unwrap_or(0)).with_wrap(wrap)
    }

    fn addr(&self, place: Place) -> u64 {
        self.layout.areas[0].wrapping_add(DESCRIPTOR * u64::from(self.split(place).1))
    }

    /// The next chain that the driver has made available.
    ///
    /// # Errors
    /// The ring or the chain is not as it must be.
    pub fn fetch(&mut self, bus: &mut dyn Bus) -> Result<Option<Request>, RingError> {
        let mut at = self.next_available;
        let mut request = Request::default();
        loop {
            let descriptor: Descriptor = zerocopy::transmute!(read::<16>(bus, self.addr(at))?);
            let flags = descriptor.flags;
            if !flags.is_available(self.split(at).0) {
                if request.entries == 0 {
                    return Ok(None);
                }
                return Err(RingError("a list whose end is not available"));
            }
            if request.entries >= self.layout.size {
                return Err(RingError("a list that is longer than the ring"));
            }
            request.entries += 1;
            at = self.advance(at, 1);
            if flags.indirect() {
                if !self.has(Features::INDIRECT_DESC) || flags.next() || request.entries > 1 {
                    return Err(RingError("an indirect descriptor where there must be none"));
                }
                Self::indirect(bus, &descriptor, &mut request)?;
            } else {
                request.push(Piece { addr: descriptor.addr, len: descriptor.len, write: flags.write() })?;
            }
            if !flags.next() {
                // The id is in the last descriptor of a list (section 2.8.6).
                request.id = descriptor.id;
                self.next_available = at;
                return Ok(Some(request));
            }
        }
    }

    fn indirect(bus: &mut dyn Bus, table: &Descriptor, request: &mut Request) -> Result<(), RingError> {
        for index in 0..table_entries(table.len)? {
            let addr = table.addr.wrapping_add(DESCRIPTOR * index);
            let descriptor: Descriptor = zerocopy::transmute!(read::<16>(bus, addr)?);
            let flags = descriptor.flags;
            if flags.indirect() {
                return Err(RingError("an indirect table in an indirect table"));
            }
            request.push(Piece { addr: descriptor.addr, len: descriptor.len, write: flags.write() })?;
        }
        Ok(())
    }

    /// Asks to be notified of the next chain.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn want_notification(&mut self, bus: &mut dyn Bus) -> Result<(), RingError> {
        let flags = if self.has(Features::EVENT_IDX) { EventFlags::DESCRIPTOR } else { EventFlags::ENABLE };
        let event = EventSuppression { position: self.position(self.next_available), flags };
        Ok(bus.dma_write(self.layout.areas[2], event.as_bytes())?)
    }

    /// Asks not to be notified.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn refuse_notifications(&mut self, bus: &mut dyn Bus) -> Result<(), RingError> {
        let event = EventSuppression { position: EventPosition::new(), flags: EventFlags::DISABLE };
        Ok(bus.dma_write(self.layout.areas[2], event.as_bytes())?)
    }

    /// Writes one descriptor that gives chains with `entries` entries back, of which `id` is the last one.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn put_used(
        &mut self,
        bus: &mut dyn Bus,
        id: u32,
        len: u32,
        _chains: u16,
        entries: u16,
    ) -> Result<(), RingError> {
        let (wrap, _) = self.split(self.next_used);
        let addr = self.addr(self.next_used);
        let flags = DescriptorFlags::new().with_write(len > 0).marked_used(wrap);
        bus.dma_write(addr.wrapping_add(8), &len.to_le_bytes())?;
        bus.dma_write(addr.wrapping_add(12), &id.to_le_bytes()[..2])?;
        bus.dma_write(addr.wrapping_add(14), &u16::from(flags).to_le_bytes())?;
        self.jump(bus, entries)
    }

    /// Moves on, whatever is in the ring.
    ///
    /// # Errors
    /// None: nothing is written.
    pub fn jump(&mut self, _bus: &mut dyn Bus, by: u16) -> Result<(), RingError> {
        self.next_used = self.advance(self.next_used, by.into());
        self.unsignalled = (self.unsignalled + u32::from(by)).min(2 * self.size());
        Ok(())
    }

    /// Whether the driver wants to be interrupted for what was used since this was asked last.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> Result<bool, RingError> {
        let entries = std::mem::take(&mut self.unsignalled);
        if entries == 0 {
            return Ok(false);
        }
        let event: EventSuppression = zerocopy::transmute!(read::<4>(bus, self.layout.areas[1])?);
        Ok(match event.flags {
            EventFlags::DISABLE => false,
            EventFlags::DESCRIPTOR if self.has(Features::EVENT_IDX) => {
                let pass = if event.position.wrap() { 0 } else { self.size() };
                let wanted = u32::from(event.position.offset()) + pass;
                // How far behind the next used place the wanted one is.
                let behind =
                    (self.next_used + 2 * self.size() - wanted % (2 * self.size())) % (2 * self.size());
                (1..=entries).contains(&behind)
            }
            _ => true,
        })
    }

    pub(super) fn is_plausible(&self, bus: &mut dyn Bus, next: u16) -> bool {
        let next = EventPosition::from(next);
        let pass = if next.wrap() { 0 } else { self.size() };
        let place = u32::from(next.offset()) + pass;
        // What is said to be the next place must not be available yet.
        u32::from(next.offset()) < self.size()
            && read_u16(bus, self.addr(place).wrapping_add(14))
                .is_ok_and(|flags| !DescriptorFlags::from(flags).is_available(self.split(place).0))
    }
}
