//! Interrupt remapping tables (section 2.2.5). The index into the table of a device is bits 10:0 of its message's data.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An entry of 32 bits: of a unit whose [`Control::ga_en`](crate::Control::ga_en) is 0.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Irte32 {
    /// RemapEn: the entry is valid; if not, the interrupt is blocked.
    pub remap_en: bool,
    /// SupIOPF: a blocked interrupt makes no event.
    pub suppress_fault: bool,
    /// IntType: an [`InterruptType`].
    #[bits(3)]
    pub int_type: u8,
    /// RqEoi: an end of interrupt is requested.
    pub request_eoi: bool,
    /// DM: the destination is logical.
    pub logical: bool,
    /// GuestMode; reserved in this format.
    pub guest_mode: bool,
    /// Destination: APIC id or logical id.
    pub destination: u8,
    /// Vector.
    pub vector: u8,
    #[bits(8)]
    pub reserved24: u8,
}

/// An entry of 128 bits: of a unit whose [`Control::ga_en`](crate::Control::ga_en) is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Irte128 {
    /// Bits 63:0.
    pub low: IrteLow,
    /// Bits 127:64.
    pub high: IrteHigh,
}

const _: () = assert!(size_of::<Irte32>() == 4 && size_of::<Irte128>() == 16);

/// Bits 63:0 of an [`Irte128`] with GuestMode = 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrteLow {
    /// RemapEn: the entry is valid; if not, the interrupt is blocked.
    pub remap_en: bool,
    /// SupIOPF: a blocked interrupt makes no event.
    pub suppress_fault: bool,
    /// IntType: an [`InterruptType`].
    #[bits(3)]
    pub int_type: u8,
    /// RqEoi: an end of interrupt is requested.
    pub request_eoi: bool,
    /// DM: the destination is logical.
    pub logical: bool,
    /// GuestMode: the interrupt is for a virtual APIC, and the entry has other fields.
    pub guest_mode: bool,
    /// Destination, bits 23:0. Without XTEn only bits 7:0 count.
    #[bits(24)]
    pub destination: u32,
    /// GATag; for guest mode.
    pub ga_tag: u32,
}

/// Bits 127:64 of an [`Irte128`] with GuestMode = 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IrteHigh {
    /// Vector.
    pub vector: u8,
    #[bits(4)]
    pub reserved8: u8,
    /// Guest APIC table root pointer; for guest mode.
    #[bits(40)]
    pub ga_root: u64,
    #[bits(4)]
    pub reserved52: u8,
    /// Destination, bits 31:24, with XTEn.
    pub destination: u8,
}

impl Irte128 {
    /// The destination with `bits` (8: xAPIC, 32: x2APIC) bits.
    pub const fn destination(&self, x2apic: bool) -> u32 {
        let low = self.low.destination();
        if x2apic { low | (self.high.destination() as u32) << 24 } else { low & 0xff }
    }

    /// Sets all 32 bits of the destination.
    #[must_use]
    pub const fn with_destination(self, destination: u32) -> Self {
        let [low @ .., high] = destination.to_le_bytes();
        let low = u32::from_le_bytes([low[0], low[1], low[2], 0]);
        Irte128 { low: self.low.with_destination(low), high: self.high.with_destination(high) }
    }
}

/// What [`Irte32::int_type`] and [`IrteLow::int_type`] mean (table of IntType).
pub struct InterruptType;

impl InterruptType {
    /// Fixed.
    pub const FIXED: u8 = 0;
    /// Arbitrated: lowest priority.
    pub const ARBITRATED: u8 = 1;
}

#[cfg(test)]
mod tests {
    use zerocopy::transmute;

    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let entry =
            Irte32::new().with_remap_en(true).with_logical(true).with_destination(0x12).with_vector(0x34);
        assert_eq!(u32::from(entry), 0x0034_1241);
        let low = IrteLow::new().with_remap_en(true).with_int_type(InterruptType::ARBITRATED);
        let entry = Irte128 { low, high: IrteHigh::new().with_vector(0x34) }.with_destination(0x1234_5678);
        let words: [u64; 2] = transmute!(entry);
        assert_eq!(words, [0x3456_7805, 0x1200_0000_0000_0034]);
        assert_eq!((entry.destination(true), entry.destination(false)), (0x1234_5678, 0x78));
    }
}
