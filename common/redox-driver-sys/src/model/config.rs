//! A model's configuration space.

use crate::{
    irq::InterruptKind,
    pci::{PciIds, header},
};

const LEN: usize = 256;

/// Configuration space with a type 0 header: what a model shows of itself and which bits a driver may change.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; LEN],
    writable: [u8; LEN],
    bars: [u64; 6],
    end_of_list: usize,
    next_free: usize,
    pci_express: Option<usize>,
    msi: Option<usize>,
    msix: Option<usize>,
}

impl ConfigSpace {
    /// A function with these ids, no BAR and no capability.
    pub fn new(ids: PciIds) -> Self {
        let mut space = ConfigSpace {
            bytes: [0; LEN],
            writable: [0; LEN],
            bars: [0; 6],
            end_of_list: usize::from(header::CAPABILITIES),
            next_free: 0x40,
            pci_express: None,
            msi: None,
            msix: None,
        };
        space.set(header::VENDOR_ID.into(), &ids.vendor.to_le_bytes());
        space.set(header::DEVICE_ID.into(), &ids.device.to_le_bytes());
        space.set(header::REVISION_ID.into(), &[ids.revision, ids.interface, ids.subclass, ids.class]);
        space.set(header::SUBSYSTEM_VENDOR_ID.into(), &ids.subsystem_vendor.to_le_bytes());
        space.set(header::SUBSYSTEM_ID.into(), &ids.subsystem.to_le_bytes());
        space.set(header::INTERRUPT_PIN.into(), &[1]);
        // I/O space, memory space, bus master; INTx disable. Cache line size and interrupt line are scratch bytes.
        space.allow(header::COMMAND.into(), &[0x07, 0x04]);
        space.allow(0x0c, &[0xff]);
        space.allow(0x3c, &[0xff]);
        space
    }

    /// Adds a 64-bit memory BAR of `len` bytes, a power of two, in registers `bar` and `bar + 1`.
    #[must_use]
    pub fn with_memory_bar(mut self, bar: u8, len: u64) -> Self {
        assert!(bar < 5 && len.is_power_of_two() && len >= 16, "a model declares a BAR that cannot exist");
        let at = usize::from(header::BAR0) + 4 * usize::from(bar);
        self.set(at, &[0b0100]);
        self.allow(at, &(!(len - 1) & !0xf).to_le_bytes());
        self.bars[usize::from(bar)] = len;
        self
    }

    /// Adds a 32-bit memory BAR of `len` bytes, a power of two, in register `bar`.
    #[must_use]
    pub fn with_memory_bar_32(mut self, bar: u8, len: u32) -> Self {
        assert!(bar < 6 && len.is_power_of_two() && len >= 16, "a model declares a BAR that cannot exist");
        let at = usize::from(header::BAR0) + 4 * usize::from(bar);
        self.allow(at, &(!(len - 1) & !0xf).to_le_bytes());
        self.bars[usize::from(bar)] = len.into();
        self
    }

    /// Adds MSI-X with `vectors` vectors and its table and pending bits in `bar`.
    #[must_use]
    pub fn with_msix(mut self, vectors: u16, bar: u8, table_offset: u32, pba_offset: u32) -> Self {
        assert!((1..=2048).contains(&vectors), "a model declares {vectors} MSI-X vectors");
        let at = self.add_capability(0x11, 12);
        self.set(at + 2, &(vectors - 1).to_le_bytes());
        self.set(at + 4, &(table_offset | u32::from(bar)).to_le_bytes());
        self.set(at + 8, &(pba_offset | u32::from(bar)).to_le_bytes());
        self.allow(at + 2, &0xc000u16.to_le_bytes());
        self.msix = Some(at);
        self
    }

    /// Adds 64-bit MSI with `vectors` vectors, a power of two up to 32.
    #[must_use]
    pub fn with_msi(mut self, vectors: u8) -> Self {
        assert!(vectors.is_power_of_two() && vectors <= 32, "a model declares {vectors} MSI vectors");
        let at = self.add_capability(0x05, 14);
        #[allow(clippy::cast_possible_truncation, reason = "at most 5")]
        self.set(at + 2, &[(vectors.ilog2() as u8) << 1 | 1 << 7]);
        self.allow(at + 2, &[0x71]);
        self.allow(at + 4, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        self.msi = Some(at);
        self
    }

    /// Adds a PCI Express endpoint capability with function level reset.
    #[must_use]
    pub fn with_pci_express(mut self) -> Self {
        let at = self.add_capability(0x10, 0x3c);
        self.set(at + 2, &[0x02]);
        self.set(at + 4, &(1u32 << 28).to_le_bytes());
        self.allow(at + 8, &[0xff, 0x7f]);
        self.pci_express = Some(at);
        self
    }

    /// Adds a vendor-specific capability; `body` is what follows its id and the pointer to the next one.
    #[must_use]
    pub fn with_vendor_capability(mut self, body: &[u8]) -> Self {
        let at = self.add_capability(0x09, 2 + body.len());
        self.set(at + 2, body);
        self
    }

    /// Takes the interrupt pin away.
    #[must_use]
    pub fn without_interrupt_pin(mut self) -> Self {
        self.set(header::INTERRUPT_PIN.into(), &[0]);
        self
    }

    fn add_capability(&mut self, id: u8, len: usize) -> usize {
        let at = self.next_free;
        assert!(at + len <= LEN, "a model's capabilities do not fit in configuration space");
        self.next_free = (at + len).next_multiple_of(4);
        #[allow(clippy::cast_possible_truncation, reason = "below 256")]
        self.set(self.end_of_list, &[at as u8]);
        self.set(at, &[id, 0]);
        self.end_of_list = at + 1;
        self.set(header::STATUS.into(), &[1 << 4]);
        at
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Reads `len` (1, 2 or 4) bytes; all ones beyond the end.
    pub fn read(&self, offset: u16, len: u16) -> u32 {
        let start = usize::from(offset);
        let mut value = [0xff; 4];
        if let Some(bytes) = self.bytes.get(start..start + usize::from(len)) {
            value = [0; 4];
            value[..bytes.len()].copy_from_slice(bytes);
        }
        u32::from_le_bytes(value)
    }

    /// Writes `len` (1, 2 or 4) bytes; read-only bits keep their value. Returns whether this starts a function level
    /// reset.
    pub fn write(&mut self, offset: u16, len: u16, value: u32) -> bool {
        for (at, byte) in (usize::from(offset)..LEN).zip(value.to_le_bytes()).take(usize::from(len)) {
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | byte & mask;
            // Initiate Function Level Reset: bit 15 of Device Control (PCI Express 3.0, section 7.8.4).
            if self.pci_express.is_some_and(|express| at == express + 9) && byte & 0x80 != 0 {
                return true;
            }
        }
        false
    }

    /// Length of memory BAR `bar` in bytes, 0 if there is none.
    pub fn bar_len(&self, bar: u8) -> u64 {
        self.bars.get(usize::from(bar)).copied().unwrap_or(0)
    }

    /// Whether the function may start transactions.
    pub fn bus_master(&self) -> bool {
        self.bytes[usize::from(header::COMMAND)] & 0x04 != 0
    }

    /// Puts the writable bits into their state after a reset.
    pub fn reset(&mut self) {
        for (byte, mask) in self.bytes.iter_mut().zip(self.writable) {
            *byte &= !mask;
        }
    }

    /// How many interrupts of `kind` the function has.
    pub fn vectors(&self, kind: InterruptKind) -> u16 {
        let control = |at: usize| u16::from_le_bytes([self.bytes[at + 2], self.bytes[at + 3]]);
        match kind {
            InterruptKind::MsiX => self.msix.map_or(0, |at| (control(at) & 0x7ff) + 1),
            InterruptKind::Msi => self.msi.map_or(0, |at| 1 << (control(at) >> 1 & 0b111)),
            InterruptKind::Intx => u16::from(self.bytes[usize::from(header::INTERRUPT_PIN)] != 0),
        }
    }

    /// Whether the function has MSI-X, or MSI, that could be switched on.
    pub(super) fn messages(&self, msix: bool) -> bool {
        if msix { self.msix.is_some() } else { self.msi.is_some() }
    }
}
