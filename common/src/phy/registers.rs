//! The management registers that every PHY has (IEEE 802.3 clauses 22, 28 and 40), and those of others behind them (clause 45 through
//! annex 22D).

use bitflags::bitflags;

/// Numbers of registers (table 22-6).
pub mod register {
    /// Control.
    pub const CONTROL: u8 = 0;
    /// Status.
    pub const STATUS: u8 = 1;
    /// The upper half of the identifier.
    pub const ID1: u8 = 2;
    /// The lower half of the identifier.
    pub const ID2: u8 = 3;
    /// Auto-negotiation: what this end advertises.
    pub const ADVERTISEMENT: u8 = 4;
    /// Auto-negotiation: what the partner can.
    pub const PARTNER: u8 = 5;
    /// Auto-negotiation: how it went.
    pub const EXPANSION: u8 = 6;
    /// 1000BASE-T: what this end advertises (clause 40.5.1.1).
    pub const GIGABIT_CONTROL: u8 = 9;
    /// 1000BASE-T: what the partner can.
    pub const GIGABIT_STATUS: u8 = 10;
    /// Access to clause 45 registers: device and function (annex 22D).
    pub const MMD_CONTROL: u8 = 13;
    /// Access to clause 45 registers: address or data.
    pub const MMD_DATA: u8 = 14;
    /// What is possible at 1000 Mb/s (22.2.4.4).
    pub const EXTENDED_STATUS: u8 = 15;
}

/// Registers of clause 45: device and number.
pub mod mmd {
    /// What energy-efficient Ethernet can do (3.20).
    pub const EEE_ABILITY: (u8, u16) = (3, 20);
    /// What of it is advertised (7.60).
    pub const EEE_ADVERTISEMENT: (u8, u16) = (7, 60);
    /// What of it the partner advertises (7.61).
    pub const EEE_PARTNER: (u8, u16) = (7, 61);
    /// Function bits of [`MMD_CONTROL`](super::register::MMD_CONTROL): data, without counting on.
    pub const DATA: u16 = 0x4000;
}

bitflags! {
    /// Control (22.2.4.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Control: u16 {
        /// Clears itself when the reset is done, within half a second.
        const RESET = 1 << 15;
        /// Sends back what it is given.
        const LOOPBACK = 1 << 14;
        /// Low bit of the forced speed: 100 Mb/s.
        const SPEED_100 = 1 << 13;
        /// Negotiates.
        const AUTONEGOTIATION = 1 << 12;
        /// Asleep but for management.
        const POWER_DOWN = 1 << 11;
        /// Cut off from the MAC.
        const ISOLATE = 1 << 10;
        /// Negotiates anew. Clears itself.
        const RESTART = 1 << 9;
        /// Forced full duplex.
        const FULL_DUPLEX = 1 << 8;
        /// High bit of the forced speed: 1000 Mb/s.
        const SPEED_1000 = 1 << 6;
    }

    /// Status (22.2.4.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u16 {
        /// 100BASE-X full duplex.
        const T100_FULL = 1 << 14;
        /// 100BASE-X half duplex.
        const T100_HALF = 1 << 13;
        /// 10 Mb/s full duplex.
        const T10_FULL = 1 << 12;
        /// 10 Mb/s half duplex.
        const T10_HALF = 1 << 11;
        /// There is an extended status register.
        const EXTENDED = 1 << 8;
        /// Negotiation is over.
        const NEGOTIATED = 1 << 5;
        /// It can negotiate.
        const CAN_NEGOTIATE = 1 << 3;
        /// The link is up. Once it was down, this stays off until it has been read.
        const LINK = 1 << 2;
    }

    /// What one end can, as it says by auto-negotiation (28.2.4.1.3, annex 28B).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Ability: u16 {
        /// The selector of IEEE 802.3.
        const SELECTOR = 1;
        /// 10BASE-T half duplex.
        const T10_HALF = 1 << 5;
        /// 10BASE-T full duplex.
        const T10_FULL = 1 << 6;
        /// 100BASE-TX half duplex.
        const T100_HALF = 1 << 7;
        /// 100BASE-TX full duplex.
        const T100_FULL = 1 << 8;
        /// Symmetric PAUSE.
        const PAUSE = 1 << 10;
        /// PAUSE towards the partner only, or both with [`PAUSE`](Self::PAUSE).
        const ASYMMETRIC_PAUSE = 1 << 11;
        /// What was sent has been received.
        const ACKNOWLEDGE = 1 << 14;
    }

    /// 1000BASE-T control (40.5.1.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct GigabitControl: u16 {
        /// Full duplex is advertised.
        const FULL = 1 << 9;
        /// Half duplex is advertised.
        const HALF = 1 << 8;
    }

    /// 1000BASE-T status (40.5.1.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct GigabitStatus: u16 {
        /// The two ends did not agree on who is the master.
        const MASTER_FAULT = 1 << 15;
        /// The own receiver is well.
        const LOCAL_OK = 1 << 13;
        /// The partner's is.
        const REMOTE_OK = 1 << 12;
        /// The partner can do full duplex.
        const PARTNER_FULL = 1 << 11;
        /// The partner can do half duplex.
        const PARTNER_HALF = 1 << 10;
    }

    /// Extended status (22.2.4.4).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ExtendedStatus: u16 {
        /// 1000BASE-T full duplex.
        const T1000_FULL = 1 << 13;
        /// 1000BASE-T half duplex.
        const T1000_HALF = 1 << 12;
    }

    /// Energy-efficient Ethernet (45.2.3.10, 45.2.7.13).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Eee: u16 {
        /// At 100 Mb/s.
        const T100 = 1 << 1;
        /// At 1000 Mb/s.
        const T1000 = 1 << 2;
    }
}
