//! The command list and command tables (AHCI, section 4.2).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offsets in a command table (AHCI, section 4.2.3). The table is aligned to 128 bytes.
pub mod table {
    /// CFIS: the command FIS, up to 64 bytes.
    pub const CFIS: usize = 0x00;
    /// ACMD: the packet command, 12 or 16 bytes.
    pub const ACMD: usize = 0x40;
}

/// Where the PRDT begins in a command table.
pub const TABLE_PRDT: usize = 0x80;

/// Most bytes of one PRD.
pub const PRDT_MAX_BYTES: u32 = 4 << 20;

/// The first dword of a command header, without PRDTL (AHCI, section 4.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HeaderFlags {
    /// CFL: dwords of the command FIS, 2 to 16.
    #[bits(5)]
    pub cfl: u8,
    /// A: a packet command.
    pub atapi: bool,
    /// W: from memory to the device.
    pub write: bool,
    /// P: prefetchable.
    pub prefetch: bool,
    /// R: a part of a reset sequence.
    pub reset: bool,
    /// B: BIST.
    pub bist: bool,
    /// C: clear BSY when the FIS was accepted.
    pub clear_busy: bool,
    __: bool,
    /// PMP: port of the port multiplier.
    #[bits(4)]
    pub pm_port: u8,
}

/// Command header, 32 bytes (AHCI, section 4.2.2). A command list is 32 of them, aligned to 1024 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CommandHeader {
    /// What kind of command it is.
    pub flags: HeaderFlags,
    /// PRDTL: entries of the PRDT.
    pub prdtl: u16,
    /// PRDBC: bytes transferred; the controller's.
    pub prdbc: u32,
    /// CTBA: the command table.
    pub ctba: u64,
    /// Reserved.
    pub reserved: [u32; 4],
}

const _: () = assert!(size_of::<CommandHeader>() == 32);

/// Physical region descriptor, 16 bytes (AHCI, section 4.2.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PrdtEntry {
    /// DBA: address of the data, even.
    pub dba: u64,
    /// Reserved.
    pub reserved: u32,
    /// DBC in bits 21:0: bytes less one, odd; I in bit 31: interrupt when transferred.
    pub dbc: u32,
}

const _: () = assert!(size_of::<PrdtEntry>() == 16);

impl PrdtEntry {
    const DBC: u32 = PRDT_MAX_BYTES - 1;

    /// `bytes` bytes at `dba`: an even number from 2 to [`PRDT_MAX_BYTES`].
    pub const fn new(dba: u64, bytes: u32) -> Self {
        PrdtEntry { dba, reserved: 0, dbc: bytes.wrapping_sub(1) & Self::DBC }
    }

    /// How many bytes.
    pub const fn bytes(&self) -> u32 {
        (self.dbc & Self::DBC) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_laid_out_as_specified() {
        let flags = HeaderFlags::new().with_cfl(5).with_write(true).with_atapi(true).with_pm_port(3);
        assert_eq!(u16::from(flags), 0x3065);
        assert_eq!(PrdtEntry::new(0, 512).dbc, 511);
        assert_eq!(PrdtEntry::new(0, PRDT_MAX_BYTES).bytes(), PRDT_MAX_BYTES);
    }
}
