//! Rings of descriptors.

use e1000_spec::{receive::DESCRIPTOR, registers::RingRegisters};
use redox_driver_sys::model::{Bus, DmaFault};

use crate::core::Core;

/// A ring as its registers describe it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    pub(crate) registers: RingRegisters,
    base: u64,
    pub(crate) count: u32,
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl Ring {
    /// Descriptors that the device has.
    pub(crate) fn owned(&self) -> u32 {
        if self.count == 0 { 0 } else { (self.tail + self.count - self.head) % self.count }
    }

    pub(crate) fn address(&self, index: u32) -> u64 {
        self.base.wrapping_add(u64::from(index) * DESCRIPTOR as u64)
    }

    pub(crate) fn after(&self, index: u32, steps: u32) -> u32 {
        (index + steps) % self.count.max(1)
    }

    pub(crate) fn read(&self, bus: &mut dyn Bus, index: u32) -> Result<[u8; DESCRIPTOR], DmaFault> {
        let mut bytes = [0; DESCRIPTOR];
        bus.dma_read(self.address(index), &mut bytes)?;
        Ok(bytes)
    }
}

impl Core {
    /// The ring behind registers; `None` while it makes no sense.
    pub(crate) fn ring(&self, registers: RingRegisters) -> Option<Ring> {
        let count = self.get(registers.length()) / 16;
        let (head, tail) = (self.get(registers.head()), self.get(registers.tail()));
        let base =
            u64::from(self.get(registers.base_high())) << 32 | u64::from(self.get(registers.base_low()));
        (count > 0 && head < count && tail < count).then_some(Ring { registers, base, count, head, tail })
    }
}
