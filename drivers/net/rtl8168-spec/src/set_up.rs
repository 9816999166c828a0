//! What each chip needs to be told before it works, in data: values that Realtek gave to others without a word (Linux's r8169).

use crate::{
    indirect::eri,
    registers::{CONFIG1, CONFIG3, CONFIG5, DBG, DLLPR, EEE_LED, MCU, MISC, MISC_1, PFM_EN, TX_10M_PS_EN},
};

/// A change of some bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An 8-bit register.
    Byte {
        /// Its offset.
        register: u64,
        /// Bits to clear.
        clear: u8,
        /// Bits to set.
        set: u8,
    },
    /// A 32-bit register.
    Dword {
        /// Its offset.
        register: u64,
        /// Bits to clear.
        clear: u32,
        /// Bits to set.
        set: u32,
    },
    /// An extended register.
    Eri {
        /// Its address.
        address: u16,
        /// Which of its bytes are written.
        bytes: u8,
        /// Bits to clear.
        clear: u32,
        /// Bits to set.
        set: u32,
    },
    /// One of the PCI Express PHY.
    Ephy {
        /// Its number.
        register: u8,
        /// Bits to clear.
        clear: u16,
        /// Bits to set.
        set: u16,
    },
    /// One of the MAC's on-chip peripherals.
    Mac {
        /// Its address.
        address: u16,
        /// Bits to clear.
        clear: u16,
        /// Bits to set.
        set: u16,
    },
}

/// A change of some bits of a register on a page of the PHY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyStep {
    /// Its page.
    pub page: u16,
    /// The register.
    pub register: u8,
    /// Bits to clear.
    pub clear: u16,
    /// Bits to set.
    pub set: u16,
}

const fn byte(register: u64, clear: u8, set: u8) -> Step {
    Step::Byte { register, clear, set }
}

const fn dword(register: u64, clear: u32, set: u32) -> Step {
    Step::Dword { register, clear, set }
}

const fn eri(address: u16, bytes: u8, clear: u32, set: u32) -> Step {
    Step::Eri { address, bytes, clear, set }
}

const fn eri_is(address: u16, bytes: u8, value: u32) -> Step {
    Step::Eri { address, bytes, clear: u32::MAX, set: value }
}

const fn ephy(register: u8, clear: u16, set: u16) -> Step {
    Step::Ephy { register, clear, set }
}

const fn mac(address: u16, clear: u16, set: u16) -> Step {
    Step::Mac { address, clear, set }
}

const fn phy(page: u16, register: u8, clear: u16, set: u16) -> PhyStep {
    PhyStep { page, register, clear, set }
}

const fn phy_is(page: u16, register: u8, value: u16) -> PhyStep {
    PhyStep { page, register, clear: u16::MAX, set: value }
}

const NO_BEACON: Step = byte(CONFIG3, 1 << 0, 0);
const SPEED_DOWN: Step = byte(CONFIG1, 0, 1 << 4);
const NO_SPI: Step = byte(CONFIG5, 1 << 3, 0);
const IN_BAND: Step = byte(MCU, 1 << 7, 0);
const EEE_LED_SLOW: Step = byte(EEE_LED, 0x07, 0);
const PWM: Step = dword(MISC, 0, 1 << 22);
const OPEN_GATE: Step = dword(MISC, 1 << 19, 0);
const NOT_READY_FOR_L23: Step = byte(CONFIG3, 1 << 1, 0);
/// The filter, off and on.
const FILTER: [Step; 2] =
    [eri(eri::FILTER, 0b0001, eri::FILTER_ON, 0), eri(eri::FILTER, 0b0001, 0, eri::FILTER_ON)];

pub(crate) const B: &[Step] = &[NO_BEACON];
pub(crate) const CP_1: &[Step] = &[
    ephy(0x01, 0, 0x0001),
    ephy(0x02, 0x0800, 0x1000),
    ephy(0x03, 0, 0x0042),
    ephy(0x06, 0x0080, 0),
    ephy(0x07, 0, 0x2000),
    SPEED_DOWN,
    NO_BEACON,
];
pub(crate) const CP_3: &[Step] = &[NO_BEACON, byte(DBG, 0xff, 0x20)];
pub(crate) const C_1: &[Step] = &[
    byte(DBG, 0xff, 0x1e),
    ephy(0x02, 0x0800, 0x1000),
    ephy(0x03, 0, 0x0002),
    ephy(0x06, 0x0080, 0),
    SPEED_DOWN,
    NO_BEACON,
];
pub(crate) const C_2: &[Step] = &[ephy(0x01, 0, 0x0001), ephy(0x03, 0x0400, 0x0020), SPEED_DOWN, NO_BEACON];
pub(crate) const C_4: &[Step] = &[SPEED_DOWN, NO_BEACON];
pub(crate) const E: &[Step] = &[
    ephy(0x00, 0x0200, 0x0100),
    ephy(0x00, 0, 0x0004),
    ephy(0x06, 0x0002, 0x0001),
    ephy(0x06, 0, 0x0030),
    ephy(0x07, 0, 0x2000),
    ephy(0x00, 0, 0x0020),
    ephy(0x03, 0x5800, 0x2000),
    ephy(0x03, 0, 0x0001),
    ephy(0x01, 0x0800, 0x1000),
    ephy(0x07, 0, 0x4000),
    ephy(0x1e, 0, 0x2000),
    ephy(0x19, 0xffff, 0xfe6c),
    ephy(0x0a, 0, 0x0040),
    dword(MISC, 0, 1 << 29),
    dword(MISC, 1 << 29, 0),
    NO_SPI,
];
pub(crate) const E_VL: &[Step] = &[
    ephy(0x09, 0, 0x0080),
    ephy(0x19, 0, 0x0224),
    ephy(0x00, 0, 0x0004),
    ephy(0x0c, 0x3df0, 0x0200),
    eri_is(0xc0, 0b0011, 0),
    eri_is(0xb8, 0b0011, 0),
    eri_is(eri::RX_FIFO, 0b1111, 0x0010_0002),
    eri_is(eri::TX_FIFO, 0b1111, 0x0010_0006),
    eri_is(eri::PAUSE_LOW, 0b1111, 0x50),
    eri_is(eri::PAUSE_HIGH, 0b1111, 0x07ff_0060),
    eri(0x1b0, 0b0001, 0, 1 << 4),
    eri(0xd4, 0b0011, 0xff00, 0x0c00),
    IN_BAND,
    EEE_LED_SLOW,
    eri(0x1b0, 0b1111, 0, 3),
    byte(DLLPR, 0, PFM_EN),
    PWM,
    NO_SPI,
];

macro_rules! f {
    ($led:expr, $($step:expr),* $(,)?) => {
        &[
            eri_is(0xc0, 0b0011, 0),
            eri_is(0xb8, 0b0011, 0),
            eri_is(eri::RX_FIFO, 0b1111, 0x0010_0002),
            eri_is(eri::TX_FIFO, 0b1111, 0x0010_0006),
            FILTER[0],
            FILTER[1],
            eri(0x1b0, 0b0001, 0, 1 << 4),
            eri(0x1d0, 0b0001, 0, 1 << 4),
            eri_is(eri::PAUSE_LOW, 0b1111, 0x50),
            eri_is(eri::PAUSE_HIGH, 0b1111, 0x60),
            IN_BAND,
            byte(DLLPR, 0, PFM_EN),
            PWM,
            NO_SPI,
            $led,
            eri(0x1b0, 0b1111, 0, 3),
            $($step,)*
        ]
    };
}

pub(crate) const F: &[Step] = f!(
    EEE_LED_SLOW,
    ephy(0x06, 0x00c0, 0x0020),
    ephy(0x08, 0x0001, 0x0002),
    ephy(0x09, 0, 0x0080),
    ephy(0x19, 0, 0x0224),
    ephy(0x00, 0, 0x0004),
    ephy(0x0c, 0x3df0, 0x0200),
    eri(0xd4, 0b0011, 0xff00, 0x0c00),
);
/// The RTL8411 has another LED there.
pub(crate) const RTL8411: &[Step] = f!(
    byte(EEE_LED, 0, 0),
    NOT_READY_FOR_L23,
    ephy(0x06, 0x00c0, 0x0020),
    ephy(0x0f, 0xffff, 0x5200),
    ephy(0x19, 0, 0x0224),
    ephy(0x00, 0, 0x0004),
    ephy(0x0c, 0x3df0, 0x0200),
    eri(0xd4, 0b0011, 0, 0x0c00),
);

macro_rules! g {
    ($($step:expr),* $(,)?) => {
        &[
            eri_is(eri::RX_FIFO, 0b1111, 0x0008_0002),
            eri_is(eri::TX_FIFO, 0b1111, 0x0010_0006),
            eri_is(eri::PAUSE_LOW, 0b0001, 0x38),
            eri_is(eri::PAUSE_HIGH, 0b0001, 0x48),
            FILTER[0],
            FILTER[1],
            eri_is(0x2f8, 0b0011, 0x1d8f),
            OPEN_GATE,
            eri_is(0xc0, 0b0011, 0),
            eri_is(0xb8, 0b0011, 0),
            EEE_LED_SLOW,
            eri(0x1b0, 0b1111, 0, 3),
            eri(0x2fc, 0b0001, 6, 1),
            eri(0x1b0, 0b0011, 1 << 12, 0),
            NOT_READY_FOR_L23,
            $($step,)*
        ]
    };
}

pub(crate) const G_1: &[Step] =
    g!(ephy(0x00, 0x0008, 0), ephy(0x0c, 0x3ff0, 0x0820), ephy(0x1e, 0, 0x0001), ephy(0x19, 0x8000, 0),);
pub(crate) const G_2: &[Step] = g!(
    ephy(0x00, 0x0008, 0),
    ephy(0x0c, 0x3ff0, 0x0820),
    ephy(0x19, 0xffff, 0x7c00),
    ephy(0x1e, 0xffff, 0x20eb),
    ephy(0x0d, 0xffff, 0x1666),
    ephy(0x00, 0xffff, 0x10a3),
    ephy(0x06, 0xffff, 0xf050),
    ephy(0x04, 0, 0x0010),
    ephy(0x1d, 0x4000, 0),
);
pub(crate) const H: &[Step] = &[
    ephy(0x1e, 0x0800, 0x0001),
    ephy(0x1d, 0, 0x0800),
    ephy(0x05, 0xffff, 0x2089),
    ephy(0x06, 0xffff, 0x5881),
    ephy(0x04, 0xffff, 0x854a),
    ephy(0x01, 0xffff, 0x068b),
    eri_is(eri::RX_FIFO, 0b1111, 0x0008_0002),
    eri_is(eri::TX_FIFO, 0b1111, 0x0010_0006),
    eri_is(eri::PAUSE_LOW, 0b0001, 0x38),
    eri_is(eri::PAUSE_HIGH, 0b0001, 0x48),
    FILTER[0],
    FILTER[1],
    eri(eri::FILTER, 0b1111, 0, 1 << 4),
    eri(0xd4, 0b1111, 0, 0x1f00),
    eri_is(0x5f0, 0b0011, 0x4f87),
    OPEN_GATE,
    eri_is(0xc0, 0b0011, 0),
    eri_is(0xb8, 0b0011, 0),
    EEE_LED_SLOW,
    eri(0x1b0, 0b1111, 0, 3),
    byte(DLLPR, PFM_EN, 0),
    byte(MISC_1, 1 << 6, 0),
    byte(DLLPR, TX_10M_PS_EN, 0),
    eri(0x1b0, 0b0011, 1 << 12, 0),
    NOT_READY_FOR_L23,
    mac(0xe056, 0x00f0, 0x0070),
    mac(0xe052, 0x6000, 0x8008),
    mac(0xe0d6, 0x01ff, 0x017f),
    mac(0xd420, 0x0fff, 0x047f),
    mac(0xe63e, 0xffff, 0x0001),
    mac(0xe63e, 0xffff, 0x0000),
    mac(0xc094, 0xffff, 0x0000),
    mac(0xc09e, 0xffff, 0x0000),
];

pub(crate) const PHY_B: &[PhyStep] = &[phy(1, 0x16, 0, 1), phy_is(1, 0x10, 0xf41b)];
pub(crate) const PHY_B_EF: &[PhyStep] = &[phy_is(1, 0x10, 0xf41b)];
pub(crate) const PHY_CP_1: &[PhyStep] = &[phy_is(0, 0x1d, 0x0f00), phy_is(2, 0x0c, 0x1ec8)];
pub(crate) const PHY_CP_2: &[PhyStep] =
    &[phy(0, 0x14, 0, 1 << 5), phy(0, 0x0d, 0, 1 << 5), phy_is(1, 0x1d, 0x3d98)];
pub(crate) const PHY_C_1: &[PhyStep] = &[
    phy_is(1, 0x12, 0x2300),
    phy_is(2, 0x00, 0x88d4),
    phy_is(2, 0x01, 0x82b1),
    phy_is(2, 0x03, 0x7002),
    phy_is(2, 0x08, 0x9e30),
    phy_is(2, 0x09, 0x01f0),
    phy_is(2, 0x0a, 0x5500),
    phy_is(2, 0x0c, 0x00c8),
    phy_is(3, 0x12, 0xc096),
    phy_is(3, 0x16, 0x000a),
    phy(0, 0x14, 0, 1 << 5),
    phy(0, 0x0d, 0, 1 << 5),
];
pub(crate) const PHY_C_2: &[PhyStep] = &[
    phy_is(1, 0x12, 0x2300),
    phy_is(1, 0x03, 0x802f),
    phy_is(1, 0x02, 0x4f02),
    phy_is(1, 0x01, 0x0409),
    phy_is(1, 0x00, 0xf099),
    phy_is(1, 0x04, 0x9800),
    phy_is(1, 0x04, 0x9000),
    phy_is(1, 0x1d, 0x3d98),
    phy_is(2, 0x0c, 0x7eb8),
    phy_is(2, 0x06, 0x0761),
    phy_is(3, 0x16, 0x0f0a),
    phy(0, 0x16, 0, 1 << 0),
    phy(0, 0x14, 0, 1 << 5),
    phy(0, 0x0d, 0, 1 << 5),
];
pub(crate) const PHY_C_3: &[PhyStep] = &[
    phy_is(1, 0x12, 0x2300),
    phy_is(1, 0x1d, 0x3d98),
    phy_is(2, 0x0c, 0x7eb8),
    phy_is(2, 0x06, 0x5461),
    phy_is(3, 0x16, 0x0f0a),
    phy(0, 0x16, 0, 1 << 0),
    phy(0, 0x14, 0, 1 << 5),
    phy(0, 0x0d, 0, 1 << 5),
];
/// PHY automatic speed down, and sleep that wakes up too late off.
pub(crate) const PHY_G: &[PhyStep] = &[phy(0xa44, 0x11, 0, 1 << 3 | 1 << 2), phy(0xa43, 0x10, 1 << 2, 0)];
/// 10 Mb/s on, a power saving mode and sleep that wakes up too late off.
pub(crate) const PHY_H: &[PhyStep] = &[
    phy(0xa42, 0x16, 0, 1 << 1),
    phy(0xa44, 0x11, 0, 1 << 11),
    phy(0xa44, 0x11, 1 << 7, 0),
    phy(0xa43, 0x10, 1 << 2, 0),
];
