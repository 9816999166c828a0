//! Rings of descriptors: the device goes on where it was, as long as it finds descriptors that it owns.

use redox_driver_sys::model::{Bus, DmaFault};
use rtl8168_spec::descriptors::{DESCRIPTOR, Descriptor, MAX_RING};
use zerocopy::{FromBytes, IntoBytes};

/// Where the device is in a ring.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ring {
    pub(crate) base: u64,
    pub(crate) next: u16,
}

/// Which descriptor comes after one.
pub(crate) fn after(index: u16, end_of_ring: bool) -> u16 {
    if end_of_ring || index + 1 >= MAX_RING { 0 } else { index + 1 }
}

impl Ring {
    fn address(&self, index: u16) -> u64 {
        self.base.wrapping_add(u64::from(index) * DESCRIPTOR as u64)
    }

    pub(crate) fn read(&self, bus: &mut dyn Bus, index: u16) -> Result<Descriptor, DmaFault> {
        let mut bytes = [0; DESCRIPTOR];
        bus.dma_read(self.address(index), &mut bytes)?;
        Ok(Descriptor::read_from_bytes(&bytes).unwrap_or_default())
    }

    /// Gives a descriptor back: its second dword and then its first one. The address stays.
    pub(crate) fn write_back(
        &self,
        bus: &mut dyn Bus,
        index: u16,
        opts1: u32,
        opts2: u32,
    ) -> Result<(), DmaFault> {
        let at = self.address(index);
        bus.dma_write(at + 4, opts2.as_bytes())?;
        bus.dma_write(at, opts1.as_bytes())
    }
}
