//! Registers behind registers: one dword says which and what, and its highest bit when it is done.
//!
//! Reading: written with the bit clear, which is set once the data is there. Writing: written with the bit set, which is cleared once it
//! is done. The MAC's own OCP registers are done at once.

use bitfield_struct::bitfield;

/// PHYAR and EPHYAR (8168B section 2.16; Linux).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Access {
    /// The data.
    #[bits(16)]
    pub data: u16,
    /// Which register.
    #[bits(5)]
    pub register: u8,
    #[bits(10)]
    __: u16,
    /// Write, or done reading.
    pub flag: bool,
}

/// OCPDR and GPHY_OCP (Linux).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ocp {
    /// The data.
    #[bits(16)]
    pub data: u16,
    /// The address, halved.
    #[bits(15)]
    pub half: u16,
    /// Write, or done reading.
    pub flag: bool,
}

impl Ocp {
    /// The address of the PHY's standard registers, two bytes each.
    pub const PHY: u16 = 0xa400;

    /// At an address, which is even.
    pub const fn at(address: u16) -> Self {
        Ocp::new().with_half(address >> 1)
    }

    /// The address.
    pub const fn address(self) -> u16 {
        self.half() << 1
    }

    /// Where a register of a page of the PHY is. Page 0 has the standard's; other pages have 8 registers from 16 on.
    pub const fn phy(page: u16, register: u8) -> Option<u16> {
        match (page, register) {
            (0, 0..=31) => Some(Self::PHY + 2 * register as u16),
            (1..=0xfff, 16..=23) => Some((page << 4) + 2 * (register as u16 - 16)),
            _ => None,
        }
    }
}

/// ERIAR (Linux).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Eriar {
    /// Where, a multiple of 4.
    #[bits(12)]
    pub address: u16,
    /// Which of the four bytes.
    #[bits(4)]
    pub bytes: u8,
    /// 0: the extended MAC's.
    #[bits(2)]
    pub space: u8,
    #[bits(13)]
    __: u16,
    /// Write, or done reading.
    pub flag: bool,
}

/// CSIAR (Linux).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csiar {
    /// Where, a multiple of 4.
    #[bits(12)]
    pub address: u16,
    /// Which of the four bytes.
    #[bits(4)]
    pub bytes: u8,
    /// Of which function.
    #[bits(3)]
    pub function: u8,
    #[bits(12)]
    __: u16,
    /// Write, or done reading.
    pub flag: bool,
}

redox_driver_sys::register_values!(Access: u32, Ocp: u32, Eriar: u32, Csiar: u32);

/// Extended registers that driver and model name (Linux).
pub mod eri {
    /// FIFO for what comes: static and dynamic size.
    pub const RX_FIFO: u16 = 0xc8;
    /// Fill at which the partner may go on.
    pub const PAUSE_LOW: u16 = 0xcc;
    /// Fill at which it is asked to pause.
    pub const PAUSE_HIGH: u16 = 0xd0;
    /// Bit 0: the packet filter; bit 16: a magic packet wakes the machine up.
    pub const FILTER: u16 = 0xdc;
    /// [`FILTER`]: on.
    pub const FILTER_ON: u32 = 1;
    /// [`FILTER`]: a magic packet wakes the machine up.
    pub const WAKE_MAGIC: u32 = 1 << 16;
    /// The station's address as it was stored, 6 bytes.
    pub const ADDRESS: u16 = 0xe0;
    /// FIFO for what is sent: static and dynamic size.
    pub const TX_FIFO: u16 = 0xe8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_phy_have_addresses() {
        assert_eq!(Ocp::phy(0, 1), Some(0xa402));
        assert_eq!(Ocp::phy(0xa43, 16), Some(0xa430));
        assert_eq!(Ocp::phy(0xc42, 19), Some(0xc426));
        assert_eq!(Ocp::phy(0xa43, 1), None);
        assert_eq!(Ocp::at(0xa402).into_bits(), 0xa402 << 15);
    }
}
