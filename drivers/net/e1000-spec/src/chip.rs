//! The chips and how they differ: data, so that one more is a few lines.

use crate::registers::{GCR, GCR2, TARC0, TARC1};

/// Intel's vendor id.
pub const VENDOR: u16 = 0x8086;

/// The two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 8254x, on PCI or PCI-X.
    Pci,
    /// 82574, on PCI Express (Linux: e1000e).
    Express,
}

/// How words of the EEPROM are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvmAccess {
    /// Bit by bit on a Microwire bus through EECD, without asking for it first (82544; 8254x section 5.5.1).
    Microwire {
        /// Bits of an address.
        address_bits: u8,
    },
    /// By the EERD register.
    Eerd {
        /// Lowest bit of the address.
        address_shift: u8,
        /// The bit that says that the data is there.
        done: u32,
    },
}

/// Bits of a register that have to be other than their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The register.
    pub register: u64,
    /// Bits to set.
    pub set: u32,
    /// Bits to clear.
    pub clear: u32,
}

/// A kind of controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Its name.
    pub name: &'static str,
    /// Its device ids.
    pub ids: &'static [u16],
    /// Its family.
    pub generation: Generation,
    /// How its EEPROM is read.
    pub nvm: NvmAccess,
    /// Extended receive descriptors, and RSS with them.
    pub extended_rx: bool,
    /// Pairs of queues.
    pub queues: u16,
    /// MSI-X, with a vector for each queue and one for the rest.
    pub msix: bool,
    /// MSI that works. The 8254x offer it, and lose messages: Linux leaves it alone, too.
    pub msi: bool,
    /// ITR, RADV and TADV (8254x section 13.4.18: not in the 82544).
    pub throttle: bool,
    /// The device cuts IPv6 packets as well.
    pub tso6: bool,
    /// Longest frame in bytes, with header and frame check sequence.
    pub max_frame: u16,
    /// Packet buffer in KiB, both ways together.
    pub packet_buffer: u16,
    /// Hash filter and address registers.
    pub receive_addresses: u8,
    /// The last 4 bytes of a packet that is cut need a descriptor of their own: one that is written back too early does no harm
    /// then.
    pub tso_sentinel: bool,
    /// Management firmware shares the MDIO interface and has to be asked (82574 section 10.2.2.8).
    pub shares_mdio: bool,
    /// What its errata ask for.
    pub fixes: &'static [Fix],
}

const PCI: Chip = Chip {
    name: "82540EM",
    ids: &[0x100e, 0x1015, 0x1016, 0x1017, 0x101e],
    generation: Generation::Pci,
    nvm: NvmAccess::Eerd { address_shift: 8, done: 1 << 4 },
    extended_rx: false,
    queues: 1,
    msix: false,
    msi: false,
    throttle: true,
    tso6: false,
    max_frame: 16_128,
    packet_buffer: 64,
    receive_addresses: 15,
    tso_sentinel: true,
    shares_mdio: false,
    fixes: &[],
};

/// The chips that the driver knows.
pub const CHIPS: &[Chip] = &[
    PCI,
    Chip { name: "82545EM", ids: &[0x100f], ..PCI },
    Chip {
        name: "82544",
        // EI and GC with copper.
        ids: &[0x1008, 0x100c, 0x100d],
        nvm: NvmAccess::Microwire { address_bits: 6 },
        throttle: false,
        ..PCI
    },
    Chip {
        name: "82574L",
        ids: &[0x10d3, 0x10f6],
        generation: Generation::Express,
        nvm: NvmAccess::Eerd { address_shift: 2, done: 1 << 1 },
        extended_rx: true,
        queues: 2,
        msix: true,
        msi: true,
        tso6: true,
        max_frame: 9_234,
        packet_buffer: 40,
        tso_sentinel: false,
        shares_mdio: true,
        fixes: &[
            // 82574 specification update: a completion that comes late hangs the device otherwise.
            Fix { register: GCR, set: 1 << 22, clear: 0 },
            Fix { register: GCR2, set: 1, clear: 0 },
            // 82574 section 10.2.5.9: reserved bits 30:27 are to be 0, and the request limits of both queues even.
            Fix { register: TARC0, set: 0, clear: 0xf << 27 },
            Fix { register: TARC1, set: 0, clear: 0xf << 27 },
        ],
        ..PCI
    },
];

impl Chip {
    /// The chip with this device id.
    pub fn find(device: u16) -> Option<&'static Chip> {
        CHIPS.iter().find(|chip| chip.ids.contains(&device))
    }

    /// Whether it is an 82574.
    pub const fn is_express(&self) -> bool {
        matches!(self.generation, Generation::Express)
    }

    /// Longest payload of a frame, without header (14), VLAN tag (4) and frame check sequence (4).
    pub const fn max_mtu(&self) -> u16 {
        self.max_frame - 22
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_chip() {
        for (at, chip) in CHIPS.iter().enumerate() {
            assert!(chip.ids.iter().all(|&id| Chip::find(id) == Some(chip)), "{}", chip.name);
            assert!(CHIPS[at + 1..].iter().all(|other| other.name != chip.name));
        }
        assert_eq!(Chip::find(0x1234), None);
        assert!(CHIPS.iter().all(|chip| chip.max_mtu() >= 9000));
    }
}
