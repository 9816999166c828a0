//! Commands (section 2.4): 16 bytes in the command buffer, opcode in bits 63:60.

use bitfield_struct::bitfield;
use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DeviceId, DomainId, SizedRange};

/// A command as it lies in the command buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Command {
    /// Bits 63:0, with the opcode in bits 63:60.
    pub low: u64,
    /// Bits 127:64.
    pub high: u64,
}

const _: () = assert!(size_of::<Command>() == 16);

/// What a [`Command`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// COMPLETION_WAIT: everything before it is done; then store and interrupt as its bits say.
    CompletionWait {
        /// What to do then, and where.
        wait: CompletionWait,
        /// What to store.
        data: u64,
    },
    /// INVALIDATE_DEVTAB_ENTRY: forget the device table entry.
    InvalidateDevtabEntry(DeviceId),
    /// INVALIDATE_IOMMU_PAGES: forget translations of a domain.
    InvalidateIommuPages {
        /// Whose.
        domain: DomainId,
        /// Guest address space, if the bits say so.
        pasid: u32,
        /// Which.
        range: InvalidatePagesRange,
    },
    /// INVALIDATE_IOTLB_PAGES: a device shall forget translations.
    InvalidateIotlbPages {
        /// Which device, and how.
        pages: InvalidateIotlbPages,
        /// Which translations.
        range: InvalidatePagesRange,
    },
    /// INVALIDATE_INTERRUPT_TABLE: forget the interrupt remapping table of a device.
    InvalidateInterruptTable(DeviceId),
    /// PREFETCH_IOMMU_PAGES: a hint.
    PrefetchIommuPages(DeviceId),
    /// COMPLETE_PPR_REQUEST: answer to a peripheral page request.
    CompletePprRequest(DeviceId),
    /// INVALIDATE_IOMMU_ALL: forget everything.
    InvalidateIommuAll,
    /// No command of the revision that is implemented here.
    Unknown(Opcode),
}

/// Bits 63:0 of COMPLETION_WAIT.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CompletionWait {
    /// s: store the data.
    pub store: bool,
    /// i: set ComWaitInt, and interrupt.
    pub interrupt: bool,
    /// f: let earlier translations of in-flight accesses finish ("flush queue").
    pub flush: bool,
    /// Bits 51:3 of the address to store to.
    #[bits(49)]
    pub store_to: u64,
    #[bits(8)]
    __: u8,
    #[bits(4)]
    pub opcode: u8,
}

/// Bits 63:0 of INVALIDATE_IOMMU_PAGES.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InvalidatePages {
    /// PASID, with GN.
    #[bits(20)]
    pub pasid: u32,
    #[bits(12)]
    __: u16,
    /// DomainID.
    pub domain: u16,
    #[bits(12)]
    __: u16,
    #[bits(4)]
    pub opcode: u8,
}

/// Bits 63:0 of INVALIDATE_IOTLB_PAGES.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InvalidateIotlbPages {
    /// DeviceID.
    pub device: u16,
    /// PASID, bits 15:8.
    pub pasid_15_8: u8,
    /// MaxPend: invalidations that the device can queue.
    pub max_pend: u8,
    /// QueueID: which queue counts against MaxPend.
    pub queue: u16,
    /// PASID, bits 7:0.
    pub pasid_7_0: u8,
    /// PASID, bits 19:16.
    #[bits(4)]
    pub pasid_19_16: u8,
    #[bits(4)]
    pub opcode: u8,
}

/// Bits 127:64 of INVALIDATE_IOMMU_PAGES and INVALIDATE_IOTLB_PAGES.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InvalidatePagesRange {
    /// S: the address encodes a size, see [`SizedRange`].
    pub sized: bool,
    /// PDE: also entries that lead to tables, not only pages. Not for IOTLBs.
    pub pde: bool,
    /// GN: addresses of guests.
    pub guest: bool,
    #[bits(1)]
    __: u8,
    /// Type: for IOTLBs.
    #[bits(2)]
    pub kind: u8,
    #[bits(6)]
    __: u8,
    /// Bits 63:12 of the address.
    #[bits(52)]
    pub frame: u64,
}

impl InvalidatePagesRange {
    /// Every translation.
    pub const ALL: Self = InvalidatePagesRange::new().with_sized(true).with_frame(0x7_ffff_ffff_ffff);

    /// The translations in `range`.
    pub const fn of(range: SizedRange) -> Self {
        InvalidatePagesRange::new().with_sized(!range.is_page()).with_frame(range.encode() >> 12)
    }

    /// Which addresses it is about. `None`: all.
    pub const fn range(self) -> Option<SizedRange> {
        let address = self.frame() << 12;
        if !self.sized() {
            return SizedRange::containing(address, crate::PAGE_SHIFT);
        }
        let range = SizedRange::decode(address);
        if range.shift() >= 63 { None } else { Some(range) }
    }
}

codes! {
    /// Opcode of a command (section 2.4).
    pub struct Opcode: u8 {
        COMPLETION_WAIT = 1, "COMPLETION_WAIT";
        INVALIDATE_DEVTAB_ENTRY = 2, "INVALIDATE_DEVTAB_ENTRY";
        INVALIDATE_IOMMU_PAGES = 3, "INVALIDATE_IOMMU_PAGES";
        INVALIDATE_IOTLB_PAGES = 4, "INVALIDATE_IOTLB_PAGES";
        INVALIDATE_INTERRUPT_TABLE = 5, "INVALIDATE_INTERRUPT_TABLE";
        PREFETCH_IOMMU_PAGES = 6, "PREFETCH_IOMMU_PAGES";
        COMPLETE_PPR_REQUEST = 7, "COMPLETE_PPR_REQUEST";
        INVALIDATE_IOMMU_ALL = 8, "INVALIDATE_IOMMU_ALL";
    }
}

display_code!(Opcode);

impl Command {
    const fn of(opcode: Opcode, low: u64) -> Self {
        Command { low: low | (opcode.0 as u64) << 60, high: 0 }
    }

    /// Stores `data` at `address`, a multiple of 8, when everything before is done; `interrupt`s then as well.
    pub const fn completion_wait(address: u64, data: u64, interrupt: bool) -> Self {
        let wait = CompletionWait::new()
            .with_store(true)
            .with_interrupt(interrupt)
            .with_store_to(address >> 3 & ((1 << 49) - 1))
            .with_opcode(Opcode::COMPLETION_WAIT.0);
        Command { low: wait.into_bits(), high: data }
    }

    /// Forgets the device table entry of `device`.
    pub const fn invalidate_devtab_entry(device: DeviceId) -> Self {
        Self::of(Opcode::INVALIDATE_DEVTAB_ENTRY, device.0 as u64)
    }

    /// Forgets the translations of `domain` that `range` names; with `tables`, what led to them as well, which is needed when
    /// tables were taken away or replaced.
    pub const fn invalidate_iommu_pages(domain: DomainId, range: InvalidatePagesRange, tables: bool) -> Self {
        let pages =
            InvalidatePages::new().with_domain(domain.0).with_opcode(Opcode::INVALIDATE_IOMMU_PAGES.0);
        Command { low: pages.into_bits(), high: range.with_pde(tables).into_bits() }
    }

    /// Forgets the interrupt remapping table of `device`.
    pub const fn invalidate_interrupt_table(device: DeviceId) -> Self {
        Self::of(Opcode::INVALIDATE_INTERRUPT_TABLE, device.0 as u64)
    }

    /// Forgets everything.
    pub const fn invalidate_iommu_all() -> Self {
        Self::of(Opcode::INVALIDATE_IOMMU_ALL, 0)
    }

    /// The opcode.
    pub const fn opcode(self) -> Opcode {
        Opcode((self.low >> 60) as u8)
    }

    /// What the command asks for.
    pub const fn operation(self) -> Operation {
        let device = DeviceId((self.low & 0xffff) as u16);
        match self.opcode() {
            Opcode::COMPLETION_WAIT => {
                Operation::CompletionWait { wait: CompletionWait::from_bits(self.low), data: self.high }
            }
            Opcode::INVALIDATE_DEVTAB_ENTRY => Operation::InvalidateDevtabEntry(device),
            Opcode::INVALIDATE_IOMMU_PAGES => {
                let pages = InvalidatePages::from_bits(self.low);
                Operation::InvalidateIommuPages {
                    domain: DomainId(pages.domain()),
                    pasid: pages.pasid(),
                    range: InvalidatePagesRange::from_bits(self.high),
                }
            }
            Opcode::INVALIDATE_IOTLB_PAGES => Operation::InvalidateIotlbPages {
                pages: InvalidateIotlbPages::from_bits(self.low),
                range: InvalidatePagesRange::from_bits(self.high),
            },
            Opcode::INVALIDATE_INTERRUPT_TABLE => Operation::InvalidateInterruptTable(device),
            Opcode::PREFETCH_IOMMU_PAGES => Operation::PrefetchIommuPages(device),
            Opcode::COMPLETE_PPR_REQUEST => Operation::CompletePprRequest(device),
            Opcode::INVALIDATE_IOMMU_ALL => Operation::InvalidateIommuAll,
            other => Operation::Unknown(other),
        }
    }

    /// Bits that the specification reserves in a command with this opcode: they must be 0.
    pub const fn reserved_bits(self) -> Command {
        // The opcode and what is defined beside it.
        let (low, high) = match self.opcode() {
            Opcode::COMPLETION_WAIT => (0x000f_ffff_ffff_ffff, u64::MAX),
            Opcode::INVALIDATE_DEVTAB_ENTRY | Opcode::INVALIDATE_INTERRUPT_TABLE => (0xffff, 0),
            Opcode::INVALIDATE_IOMMU_PAGES => (0x0000_ffff_000f_ffff, !0xff8),
            Opcode::INVALIDATE_IOTLB_PAGES => (u64::MAX, !0xfca),
            Opcode::INVALIDATE_IOMMU_ALL => (0, 0),
            _ => (u64::MAX, u64::MAX),
        };
        Command { low: self.low & !(low | 0xf << 60), high: self.high & !high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let wait = Command::completion_wait(0xf_1234_5678_9ab8, 7, true);
        assert_eq!((wait.low, wait.high), (0x100f_1234_5678_9abb, 7));
        let entry = Command::invalidate_devtab_entry(DeviceId(0x1234));
        assert_eq!((entry.low, entry.high), (0x2000_0000_0000_1234, 0));
        let range = InvalidatePagesRange::of(SizedRange::containing(0x12_3456_0000, 16).unwrap());
        let pages = Command::invalidate_iommu_pages(DomainId(0x1234), range, true);
        assert_eq!((pages.low, pages.high), (0x3000_1234_0000_0000, 0x12_3456_7003));
        let one = InvalidatePagesRange::of(SizedRange::containing(0x5000, 12).unwrap());
        assert_eq!(Command::invalidate_iommu_pages(DomainId(1), one, false).high, 0x5000);
        let all = Command::invalidate_iommu_pages(DomainId(1), InvalidatePagesRange::ALL, false);
        assert_eq!(all.high, 0x7fff_ffff_ffff_f001);
        assert_eq!(Command::invalidate_interrupt_table(DeviceId(1)).low, 0x5000_0000_0000_0001);
        assert_eq!(Command::invalidate_iommu_all(), Command { low: 8 << 60, high: 0 });
    }

    #[test]
    fn what_was_made_is_read() {
        let range = InvalidatePagesRange::of(SizedRange::containing(0x4000_0000, 30).unwrap());
        let Operation::InvalidateIommuPages { domain, range, .. } =
            Command::invalidate_iommu_pages(DomainId(5), range, false).operation()
        else {
            panic!("another operation")
        };
        assert_eq!(domain, DomainId(5));
        assert_eq!(range.range(), SizedRange::containing(0x4000_0000, 30));
        assert_eq!(InvalidatePagesRange::ALL.range(), None);
        assert_eq!(Command { low: 15 << 60, high: 0 }.operation(), Operation::Unknown(Opcode(15)));
        for command in [
            Command::completion_wait(u64::MAX, u64::MAX, true),
            Command::invalidate_devtab_entry(DeviceId(u16::MAX)),
            Command::invalidate_iommu_pages(DomainId(u16::MAX), InvalidatePagesRange::ALL, true),
            Command::invalidate_interrupt_table(DeviceId(u16::MAX)),
            Command::invalidate_iommu_all(),
        ] {
            assert_eq!(command.reserved_bits(), Command::default(), "{command:x?}");
        }
        assert_ne!(Command { low: 8 << 60 | 1, high: 0 }.reserved_bits(), Command::default());
    }
}
