//! The chips and how they differ: data, so that one more is a few lines (Linux, unless said otherwise).

use crate::{
    registers::{RxConfig, TxConfig},
    set_up::{self, PhyStep, Step},
};

/// Realtek's vendor id.
pub const VENDOR: u16 = 0x10ec;
/// Its device ids with a gigabit.
pub const DEVICES: [u16; 2] = [0x8161, 0x8168];

/// How a packet's descriptor says what is to be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// In its first dword; IPv4 alone ([`Work1`](crate::descriptors::Work1)).
    First,
    /// With the place of the transport header; IPv6 as well ([`Work2`](crate::descriptors::Work2)).
    Second,
}

/// How the PHY's registers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhyAccess {
    /// PHYAR. Pages are chosen by register 31.
    Phyar,
    /// GPHY_OCP, where each page has addresses of its own.
    Ocp,
}

/// What lets frames of more than 1500 bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jumbo {
    /// Nothing has to.
    Always,
    /// Bit 0 of CONFIG4.
    Config4,
    /// Bit 2 of CONFIG3 and bit 1 of CONFIG4.
    Config3And4,
    /// Bit 2 of CONFIG3, bit 0 of CONFIG4, and MTPS.
    Config3And4AndMtps,
}

/// A version of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Its name.
    pub name: &'static str,
    /// Which of the bits of [`TxConfig::xid`] count.
    pub mask: u16,
    /// What they are.
    pub xid: u16,
    /// How checksums and cutting are asked for.
    pub offloads: Offloads,
    /// Longest packet.
    pub max_mtu: u16,
    /// What longer ones than usual need.
    pub jumbo: Jumbo,
    /// How its PHY is reached.
    pub phy: PhyAccess,
    /// MSI and MSI-X that work: Linux uses them from the 8168D on.
    pub messages: bool,
    /// The counters can be set to zero.
    pub tally_reset: bool,
    /// TCR says when the transmitter is empty, RCR.early_off and MTPS mean other things: from the E-VL on.
    pub modern: bool,
    /// MISC holds back what comes in, and MCU tells when the chip can be had: from the G on.
    pub gated: bool,
    /// RCR as it has to be, without what passes.
    pub rcr: RxConfig,
    /// PMCH as it has to be to have a PHY: bits to set.
    pub power_up: u8,
    /// A magic packet is waited for by ERI.FILTER instead of CONFIG3.
    pub wake_by_eri: bool,
    /// PME has to be switched on in CONFIG2.
    pub pme_signal: bool,
    /// The address that was stored is in ERI.ADDRESS, and not only in IDR.
    pub address_in_eri: bool,
    /// Packets of less than 60 bytes whose checksum it puts in, or all, have to be padded by the driver.
    pub pads_badly: bool,
    /// After a FIFO overflow it needs a reset.
    pub overflow_resets: bool,
    /// The table for groups does not work: all pass, or none.
    pub no_table: bool,
    /// What it has to be told.
    pub steps: &'static [Step],
    /// What its PHY has to be told.
    pub phy_steps: &'static [PhyStep],
}

/// Jumbo frames: so many KiB, less Ethernet header, tag and frame check sequence.
const fn jumbo(kib: u16) -> u16 {
    kib * 1024 - 22
}

const OTHER: RxConfig = RxConfig::new().with_burst(7);
const B: Chip = Chip {
    name: "RTL8168B",
    mask: 0x7cf,
    xid: 0x380,
    offloads: Offloads::First,
    max_mtu: jumbo(4),
    jumbo: Jumbo::Config4,
    phy: PhyAccess::Phyar,
    messages: false,
    tally_reset: false,
    modern: false,
    gated: false,
    rcr: OTHER.with_threshold(7),
    power_up: 0,
    wake_by_eri: false,
    pme_signal: false,
    address_in_eri: false,
    pads_badly: true,
    overflow_resets: false,
    no_table: false,
    steps: set_up::B,
    phy_steps: set_up::PHY_B_EF,
};
const C: Chip = Chip {
    name: "RTL8168C",
    xid: 0x3c0,
    offloads: Offloads::Second,
    max_mtu: jumbo(6),
    jumbo: Jumbo::Config3And4,
    tally_reset: true,
    rcr: OTHER.with_threshold(RxConfig::INT_128 | RxConfig::MULTI),
    pads_badly: false,
    steps: set_up::C_1,
    phy_steps: set_up::PHY_C_1,
    ..B
};
const CP: Chip = Chip { name: "RTL8168CP", tally_reset: false, ..C };
const D: Chip = Chip {
    name: "RTL8168D",
    mask: 0x7c8,
    xid: 0x280,
    max_mtu: jumbo(9),
    messages: true,
    rcr: OTHER.with_threshold(RxConfig::INT_128),
    power_up: 0x80,
    steps: &[],
    phy_steps: &[],
    ..C
};
const E: Chip =
    Chip { name: "RTL8168E", xid: 0x2c0, jumbo: Jumbo::Config3And4AndMtps, steps: set_up::E, ..D };
const E_VL: Chip = Chip {
    name: "RTL8168E-VL",
    xid: 0x2c8,
    jumbo: Jumbo::Always,
    modern: true,
    rcr: C.rcr,
    power_up: 0,
    wake_by_eri: true,
    pme_signal: true,
    pads_badly: true,
    steps: set_up::E_VL,
    ..E
};
const F: Chip = Chip {
    name: "RTL8168F",
    mask: 0x7cf,
    xid: 0x480,
    pme_signal: false,
    address_in_eri: true,
    pads_badly: false,
    steps: set_up::F,
    ..E_VL
};
const G: Chip = Chip {
    name: "RTL8168G",
    xid: 0x4c0,
    phy: PhyAccess::Ocp,
    gated: true,
    rcr: OTHER.with_threshold(RxConfig::INT_128 | RxConfig::MULTI).with_early_off(true),
    power_up: 0xc0,
    pme_signal: true,
    steps: set_up::G_1,
    phy_steps: set_up::PHY_G,
    ..F
};
const H: Chip = Chip { name: "RTL8168H", xid: 0x541, steps: set_up::H, phy_steps: set_up::PHY_H, ..G };

/// The chips that the driver knows; the first that fits counts. Those with remote management (DP, EP, FP) are not among them.
pub const CHIPS: &[Chip] = &[
    H,
    Chip { xid: 0x540, ..H },
    Chip { name: "RTL8168GU", xid: 0x509, steps: set_up::G_2, phy_steps: &[], ..G },
    Chip { xid: 0x4c1, phy_steps: &[], ..G },
    G,
    Chip { name: "RTL8411", mask: 0x7c8, xid: 0x488, steps: set_up::RTL8411, ..F },
    Chip { xid: 0x481, ..F },
    Chip { no_table: true, ..F },
    E_VL,
    Chip { mask: 0x7cf, xid: 0x2c1, ..E },
    E,
    Chip { mask: 0x7cf, xid: 0x281, ..D },
    D,
    Chip { xid: 0x3c9, steps: set_up::B, phy_steps: set_up::PHY_CP_2, tally_reset: true, ..CP },
    Chip { xid: 0x3c8, steps: set_up::CP_1, phy_steps: set_up::PHY_CP_1, ..CP },
    Chip {
        mask: 0x7c8,
        xid: 0x3c8,
        steps: set_up::CP_3,
        phy_steps: set_up::PHY_CP_2,
        tally_reset: true,
        ..CP
    },
    C,
    Chip { xid: 0x3c2, steps: set_up::C_2, phy_steps: set_up::PHY_C_2, ..C },
    Chip { xid: 0x3c3, steps: set_up::C_2, phy_steps: set_up::PHY_C_3, ..C },
    Chip { mask: 0x7c8, xid: 0x3c0, steps: set_up::C_4, phy_steps: set_up::PHY_C_3, ..C },
    B,
    Chip { mask: 0x7c8, ..B },
    Chip {
        mask: 0x7c8,
        xid: 0x300,
        jumbo: Jumbo::Always,
        overflow_resets: true,
        phy_steps: set_up::PHY_B,
        ..B
    },
];

impl Chip {
    /// The one that TCR tells of.
    pub fn find(tcr: TxConfig) -> Option<&'static Chip> {
        CHIPS.iter().find(|chip| tcr.xid() & chip.mask == chip.xid)
    }

    /// The first one with this name.
    pub fn named(name: &str) -> Option<&'static Chip> {
        CHIPS.iter().find(|chip| chip.name == name)
    }

    /// Longest frame in bytes, with header, tag and frame check sequence.
    pub const fn max_frame(&self) -> u16 {
        self.max_mtu + 22
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(xid: u16) -> Option<&'static str> {
        Chip::find(TxConfig::new().with_ifg(3).with_burst(7).with_xid(xid)).map(|chip| chip.name)
    }

    #[test]
    fn each_chip_is_found_by_its_own_identifier() {
        for chip in CHIPS {
            assert_eq!(
                Chip::find(TxConfig::new().with_xid(chip.xid)).map(|found| found.name),
                Some(chip.name)
            );
            assert_eq!(chip.xid & !chip.mask, 0);
            assert_eq!(chip.mask & !TxConfig::XID, 0);
        }
        assert!(CHIPS.len() >= 12);
        let steps = |xid| Chip::find(TxConfig::new().with_xid(xid)).map(|chip| chip.steps);
        // Revisions: the lowest bits count for some.
        assert_ne!(steps(0x3c0), steps(0x3c2));
        assert_eq!(steps(0x3c5), Some(set_up::C_4));
        assert_eq!((name(0x2c8 | 3), name(0x300 | 1)), (Some("RTL8168E-VL"), Some("RTL8168B")));
        // An RTL8125B, an RTL8168EP, an RTL8169sc.
        assert_eq!([0x641, 0x502, 0x180].map(name), [None; 3]);
    }

    #[test]
    fn extended_registers_are_addressed_as_they_can_be() {
        for chip in CHIPS {
            for step in chip.steps {
                match *step {
                    Step::Eri { address, bytes, .. } => {
                        assert!(
                            chip.modern && address.is_multiple_of(4) && (1..16).contains(&bytes),
                            "{step:?}"
                        );
                    }
                    Step::Mac { address, .. } => assert!(chip.gated && address.is_multiple_of(2), "{step:?}"),
                    Step::Ephy { register, .. } => assert!(register < 32),
                    Step::Byte { .. } | Step::Dword { .. } => {}
                }
            }
            for step in chip.phy_steps {
                let reached = match chip.phy {
                    PhyAccess::Phyar => step.register < 31,
                    PhyAccess::Ocp => crate::indirect::Ocp::phy(step.page, step.register).is_some(),
                };
                assert!(reached, "{step:?}");
            }
        }
    }
}
