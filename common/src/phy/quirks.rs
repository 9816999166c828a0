//! What PHYs do differently, or in addition: data, so that a chip is a line.

use super::modes::{Duplex, Modes};

/// A change of some bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The register.
    pub register: u8,
    /// Which bits.
    pub mask: u16,
    /// What they become.
    pub value: u16,
}

/// Where a PHY says at what speed the link really is, which is lower than what was negotiated after a downshift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActualMode {
    /// The register.
    pub register: u8,
    /// The bit that says that the others mean something.
    pub resolved: u16,
    /// Lowest bit of the two for the speed: 0, 1, 2 for 10, 100, 1000 Mb/s.
    pub speed_shift: u32,
    /// The bit for full duplex.
    pub full_duplex: u16,
    /// The bit that says that it has gone down.
    pub downshifted: u16,
}

/// What is special about a kind of PHY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Its name, for logs.
    pub name: &'static str,
    /// The identifier in registers 2 and 3, and which of its bits count.
    pub id: (u32, u32),
    /// What to set after a reset.
    pub after_reset: &'static [Change],
    /// How the PHY is told to try a lower speed when the cable does not carry 1000 Mb/s; it does so by itself or not at all if there is
    /// nothing here.
    pub downshift: &'static [Change],
    /// Whether the changes above become effective with a reset only.
    pub reset_after_changes: bool,
    /// Where it says how the link really is.
    pub actual: Option<ActualMode>,
    /// No registers of clause 45, so no EEE.
    pub no_mmd: bool,
}

impl Quirks {
    /// A PHY like the standard's.
    pub const NONE: Quirks = Quirks {
        name: "PHY",
        id: (0, 0),
        after_reset: &[],
        downshift: &[],
        reset_after_changes: false,
        actual: None,
        no_mmd: false,
    };

    /// The first of `known` that is for a PHY with this identifier, or nothing special.
    pub fn find(known: &[Quirks], id: u32) -> Quirks {
        known.iter().find(|quirks| quirks.id.0 == id & quirks.id.1).copied().unwrap_or(Quirks::NONE)
    }
}

/// Marvell's PHY-specific status register.
const MARVELL_STATUS: ActualMode = ActualMode {
    register: 17,
    resolved: 1 << 11,
    speed_shift: 14,
    full_duplex: 1 << 13,
    downshifted: 1 << 5,
};

/// PHYs that several drivers meet. The lowest four bits of an identifier are the revision.
pub const KNOWN: &[Quirks] = &[
    // Beside Intel's 82540, 82544, 82545 and 82546.
    Quirks {
        name: "Marvell 88E1011",
        id: (0x0141_0c20, 0xffff_fff0),
        // Extended PHY-specific control: master and slave try each speed once before the next lower one.
        downshift: &[Change { register: 20, mask: 0x0f00, value: 0x0100 }],
        reset_after_changes: true,
        actual: Some(MARVELL_STATUS),
        no_mmd: true,
        ..Quirks::NONE
    },
    // In Intel's 82574 and 82583.
    Quirks {
        name: "Marvell 88E1149",
        id: (0x0141_0cb0, 0xffff_fff0),
        downshift: &[Change { register: 16, mask: 1 << 11, value: 1 << 11 }],
        reset_after_changes: true,
        actual: Some(MARVELL_STATUS),
        no_mmd: true,
        ..Quirks::NONE
    },
];

impl ActualMode {
    /// What the register's value says, if it means something.
    pub(super) fn read(&self, value: u16) -> Option<(Modes, bool)> {
        let speed = match value >> self.speed_shift & 3 {
            0 => 10,
            1 => 100,
            2 => 1000,
            _ => return None,
        };
        let duplex = if value & self.full_duplex == 0 { Duplex::Half } else { Duplex::Full };
        let mode = Modes::of(speed, duplex).filter(|_| value & self.resolved != 0)?;
        Some((mode, value & self.downshifted != 0))
    }
}
