//! The device's side of the rings.

mod packed;
mod split;
mod table;

use std::sync::atomic::{Ordering, fence};

pub use packed::PackedDevice;
use redox_driver_sys::model::{Bus, DmaFault};
pub use split::SplitDevice;
use virtio_spec::Features;

/// A contiguous part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// A chain that was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// By which the driver knows it: the head of the chain, or the buffer id.
    pub id: u16,
    /// Entries of the ring that it takes.
    pub entries: u16,
    /// What the device reads.
    pub readable: Vec<Part>,
    /// What the device writes.
    pub writable: Vec<Part>,
}

impl Request {
    /// Bytes in `parts`.
    pub fn bytes(parts: &[Part]) -> u64 {
        parts.iter().map(|part| u64::from(part.len)).sum()
    }

    /// Reads `target.len()` bytes of what is to be read, from byte `offset` on; false when there are not so many or an access is
    /// blocked.
    pub fn read(&self, bus: &mut dyn Bus, offset: u64, target: &mut [u8]) -> bool {
        let mut done = 0;
        pieces(&self.readable, offset, target.len(), |addr, len| {
            let end = done + len;
            let read = target.get_mut(done..end).is_some_and(|piece| bus.dma_read(addr, piece).is_ok());
            done = end;
            read
        })
    }

    /// Writes `source` to what is to be written, from byte `offset` on; false when it does not fit or an access is blocked.
    pub fn write(&self, bus: &mut dyn Bus, offset: u64, source: &[u8]) -> bool {
        let mut done = 0;
        pieces(&self.writable, offset, source.len(), |addr, len| {
            let end = done + len;
            let written = source.get(done..end).is_some_and(|piece| bus.dma_write(addr, piece).is_ok());
            done = end;
            written
        })
    }
}

/// Calls `piece` with address and length of each contiguous piece of `len` bytes from `offset` on; false when they do not fit or
/// `piece` fails.
fn pieces(parts: &[Part], offset: u64, len: usize, mut piece: impl FnMut(u64, usize) -> bool) -> bool {
    let (mut skip, mut left) = (offset, len);
    for part in parts {
        let part_len = u64::from(part.len);
        if skip >= part_len {
            skip -= part_len;
            continue;
        }
        let here = usize::try_from(part_len - skip).unwrap_or(usize::MAX).min(left);
        if here > 0 && !piece(part.addr.wrapping_add(skip), here) {
            return false;
        }
        left -= here;
        skip = 0;
        if left == 0 {
            return true;
        }
    }
    left == 0
}

/// Why a ring cannot be followed: the driver broke it, or it is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingError(pub &'static str);

impl From<DmaFault> for RingError {
    fn from(_: DmaFault) -> Self {
        RingError("a part of the ring is not in memory")
    }
}

/// Where a queue is, and what was negotiated.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Entries.
    pub size: u16,
    /// Addresses of the descriptor, driver and device areas.
    pub areas: [u64; 3],
    /// What was negotiated.
    pub features: Features,
}

/// A ring of either kind.
#[derive(Debug)]
pub(crate) enum Ring {
    Split(SplitDevice),
    Packed(PackedDevice),
}

/// Does the same with whichever ring there is.
macro_rules! each {
    ($ring:expr, $inner:ident => $what:expr) => {
        match $ring {
            Ring::Split($inner) => $what,
            Ring::Packed($inner) => $what,
        }
    };
}

impl Ring {
    pub(crate) fn new(layout: Layout) -> Self {
        if layout.features.contains(Features::RING_PACKED) {
            Ring::Packed(PackedDevice::new(layout))
        } else {
            Ring::Split(SplitDevice::new(layout))
        }
    }

    /// The next chain that the driver has made available.
    pub(crate) fn fetch(&mut self, bus: &mut dyn Bus) -> Result<Option<Request>, RingError> {
        each!(self, ring => ring.fetch(bus))
    }

    /// Asks the driver to notify of the next chain.
    pub(crate) fn want_notification(&mut self, bus: &mut dyn Bus) -> Result<(), RingError> {
        each!(self, ring => ring.want_notification(bus))?;
        // A driver in another thread adds a chain and looks at this, in that order.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Gives chains back in one go; only the last one gets an entry.
    pub(crate) fn put_used(
        &mut self,
        bus: &mut dyn Bus,
        id: u32,
        len: u32,
        chains: u16,
        entries: u16,
    ) -> Result<(), RingError> {
        each!(self, ring => ring.put_used(bus, id, len, chains, entries))
    }

    /// Goes on without having written anything, as only a broken device does.
    pub(crate) fn jump(&mut self, bus: &mut dyn Bus, by: u16) -> Result<(), RingError> {
        each!(self, ring => ring.jump(bus, by))
    }

    /// Whether the driver wants to be interrupted for what was used since this was asked last.
    pub(crate) fn wants_interrupt(&mut self, bus: &mut dyn Bus) -> Result<bool, RingError> {
        // As above: the driver says that it wants one, and looks at what was used.
        fence(Ordering::SeqCst);
        each!(self, ring => ring.wants_interrupt(bus))
    }

    /// How far the driver has come, as NOTIFICATION_DATA says it; checked against what is in memory.
    pub(crate) fn is_plausible(&self, bus: &mut dyn Bus, next: u16) -> bool {
        each!(self, ring => ring.is_plausible(bus, next))
    }
}

fn read<const N: usize>(bus: &mut dyn Bus, addr: u64) -> Result<[u8; N], RingError> {
    let mut bytes = [0; N];
    bus.dma_read(addr, &mut bytes)?;
    Ok(bytes)
}

fn read_u16(bus: &mut dyn Bus, addr: u64) -> Result<u16, RingError> {
    read(bus, addr).map(u16::from_le_bytes)
}
