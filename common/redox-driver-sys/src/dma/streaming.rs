//! Memory lent to the device for one transfer.

use std::{fmt, marker::PhantomData, sync::Arc};

use super::{
    Backend, DmaAddr, HostBuffer, Segment,
    bounce::{BouncePool, BounceSlot},
};
use crate::error::{Error, Result};

/// Who may write during a transfer, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaDirection {
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
    /// The device does both.
    Bidirectional,
}

impl DmaDirection {
    /// Whether the device reads the memory.
    pub const fn device_reads(self) -> bool {
        !matches!(self, DmaDirection::FromDevice)
    }

    /// Whether the device writes the memory.
    pub const fn device_writes(self) -> bool {
        !matches!(self, DmaDirection::ToDevice)
    }
}

/// Who may write during a transfer, as a type.
pub trait Direction: Copy {
    /// The same as a value.
    const DIRECTION: DmaDirection;
}

/// The device reads.
#[derive(Clone, Copy, Debug)]
pub struct ToDevice;
/// The device writes.
#[derive(Clone, Copy, Debug)]
pub struct FromDevice;
/// The device does both.
#[derive(Clone, Copy, Debug)]
pub struct Bidirectional;

impl Direction for ToDevice {
    const DIRECTION: DmaDirection = DmaDirection::ToDevice;
}
impl Direction for FromDevice {
    const DIRECTION: DmaDirection = DmaDirection::FromDevice;
}
impl Direction for Bidirectional {
    const DIRECTION: DmaDirection = DmaDirection::Bidirectional;
}

/// A [`HostBuffer`] that the device may reach. Neither side's bytes can be touched until [`Mapping::unmap`].
///
/// Dropping it instead is for transfers that nobody knows the state of: the memory is kept from every other use for as
/// long as the device could still reach it. A driver that has stopped its device calls [`Mapping::unmap`].
pub struct Mapping<D> {
    lent: Option<Lent>,
    addr: DmaAddr,
    backend: Arc<dyn Backend>,
    direction: PhantomData<D>,
}

struct Lent {
    buffer: HostBuffer,
    bounce: Option<BounceSlot>,
}

impl<D> Mapping<D> {
    /// Where the device finds the buffer.
    pub fn addr(&self) -> DmaAddr {
        self.addr
    }

    /// Whether the bytes go through the bounce pool.
    pub fn is_bounced(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.bounce.is_some())
    }

    fn len(&self) -> usize {
        self.lent.as_ref().map_or(0, |lent| lent.buffer.len())
    }

    /// The whole buffer as an entry of a scatter-gather list.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a buffer of 4 GiB and more.
    pub fn segment(&self) -> Result<Segment> {
        let len = u32::try_from(self.len()).map_err(|_| Error::Invalid {
            what: "buffer is too long for a segment",
            value: self.len().to_string(),
        })?;
        Ok(Segment { addr: self.addr, len })
    }

    /// Takes the device's access away; afterwards the memory is the CPU's alone. Where that fails the memory is lost:
    /// it stays the device's for ever. `None` when it was revoked before.
    fn revoke(&mut self) -> Result<Option<Lent>> {
        let Some(lent) = self.lent.take() else { return Ok(None) };
        if lent.bounce.is_none() {
            let (_, len) = lent.buffer.pages();
            if let Err(error) = self.backend.unmap(self.addr.get(), len) {
                std::mem::forget(lent);
                return Err(error);
            }
        }
        Ok(Some(lent))
    }
}

impl<D: Direction> Mapping<D> {
    /// Ends the transfer: revokes the device's access and gives the buffer back, with what the device wrote where the
    /// direction lets it write.
    ///
    /// # Errors
    /// What the OS answers when the device's access cannot be taken away; the buffer is lost then.
    pub fn unmap(mut self) -> Result<HostBuffer> {
        let Some(Lent { mut buffer, bounce }) = self.revoke()? else {
            return Err(Error::Invalid { what: "mapping is already unmapped", value: String::new() });
        };
        if let (Some(slot), true) = (&bounce, D::DIRECTION.device_writes()) {
            slot.copy_out(&mut buffer)?;
        }
        Ok(buffer)
    }
}

impl<D> Drop for Mapping<D> {
    fn drop(&mut self) {
        match self.revoke() {
            Ok(None) => {}
            Ok(Some(Lent { buffer, bounce: None })) => self.backend.abandon(super::Lent::Buffer(buffer)),
            Ok(Some(Lent { bounce: Some(slot), .. })) => slot.abandon(),
            Err(error) => log::error!("a buffer is kept, since the device still reaches it: {error}"),
        }
    }
}

impl<D> fmt::Debug for Mapping<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("addr", &self.addr)
            .field("len", &self.len())
            .field("bounced", &self.is_bounced())
            .finish()
    }
}

pub(super) fn map<D: Direction>(
    backend: &Arc<dyn Backend>,
    pool: &Arc<BouncePool>,
    mask: u64,
    buffer: HostBuffer,
) -> Result<Mapping<D>, (Error, HostBuffer)> {
    let (memory, len) = buffer.pages();
    // SAFETY: the pages belong to `buffer`, which moves into the mapping and is neither touched nor freed before
    // `revoke` has unmapped it.
    let direct = match unsafe { backend.map(memory, len, D::DIRECTION, mask) } {
        Ok(direct) => direct,
        Err(error) => return Err((error, buffer)),
    };
    let (addr, bounce) = match direct {
        Some(addr) => (DmaAddr::new(addr), None),
        None => match bounce::<D>(backend, pool, mask, &buffer) {
            Ok(slot) => (slot.addr(), Some(slot)),
            Err(error) => return Err((error, buffer)),
        },
    };
    Ok(Mapping {
        lent: Some(Lent { buffer, bounce }),
        addr,
        backend: backend.clone(),
        direction: PhantomData,
    })
}

fn bounce<D: Direction>(
    backend: &Arc<dyn Backend>,
    pool: &Arc<BouncePool>,
    mask: u64,
    buffer: &HostBuffer,
) -> Result<BounceSlot> {
    let slot = pool.take(backend, mask, buffer.len())?;
    if D::DIRECTION.device_reads() {
        slot.copy_in(buffer)?;
    }
    Ok(slot)
}

pub(super) fn map_list<D: Direction>(
    backend: &Arc<dyn Backend>,
    pool: &Arc<BouncePool>,
    mask: u64,
    buffers: Vec<HostBuffer>,
) -> Result<Vec<Mapping<D>>, (Error, Vec<HostBuffer>)> {
    let mut mapped = Vec::with_capacity(buffers.len());
    let mut rest = buffers.into_iter();
    while let Some(buffer) = rest.next() {
        match map(backend, pool, mask, buffer) {
            Ok(mapping) => mapped.push(mapping),
            Err((error, buffer)) => {
                let mut all: Vec<_> = mapped
                    .into_iter()
                    .filter_map(|mut m: Mapping<D>| m.revoke().ok()?)
                    .map(|l| l.buffer)
                    .collect();
                all.push(buffer);
                all.extend(rest);
                return Err((error, all));
            }
        }
    }
    Ok(mapped)
}
