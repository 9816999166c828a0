//! What two ends of a cable can agree on.

use bitflags::bitflags;

use super::registers::{Ability, ExtendedStatus, GigabitControl, GigabitStatus, Status};

bitflags! {
    /// Speeds in megabits per second, with their duplex.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Modes: u8 {
        /// 10, half duplex.
        const T10_HALF = 1 << 0;
        /// 10, full duplex.
        const T10_FULL = 1 << 1;
        /// 100, half duplex.
        const T100_HALF = 1 << 2;
        /// 100, full duplex.
        const T100_FULL = 1 << 3;
        /// 1000, half duplex.
        const T1000_HALF = 1 << 4;
        /// 1000, full duplex.
        const T1000_FULL = 1 << 5;
    }
}

/// Whether both ends may send at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duplex {
    /// One at a time.
    Half,
    /// Both.
    Full,
}

/// Which pause frames are sent and obeyed (annex 31B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowControl {
    /// Pause frames are obeyed.
    pub receive: bool,
    /// Pause frames are sent when memory runs out.
    pub transmit: bool,
}

/// From the best to the worst (annex 28B.3).
const PRIORITY: [(Modes, u32, Duplex); 6] = [
    (Modes::T1000_FULL, 1000, Duplex::Full),
    (Modes::T1000_HALF, 1000, Duplex::Half),
    (Modes::T100_FULL, 100, Duplex::Full),
    (Modes::T100_HALF, 100, Duplex::Half),
    (Modes::T10_FULL, 10, Duplex::Full),
    (Modes::T10_HALF, 10, Duplex::Half),
];

/// Modes and what stands for them in the bits of a register.
type Bits = [(Modes, u16); 4];
const ABILITY: Bits = [
    (Modes::T10_HALF, Ability::T10_HALF.bits()),
    (Modes::T10_FULL, Ability::T10_FULL.bits()),
    (Modes::T100_HALF, Ability::T100_HALF.bits()),
    (Modes::T100_FULL, Ability::T100_FULL.bits()),
];
const STATUS: Bits = [
    (Modes::T10_HALF, Status::T10_HALF.bits()),
    (Modes::T10_FULL, Status::T10_FULL.bits()),
    (Modes::T100_HALF, Status::T100_HALF.bits()),
    (Modes::T100_FULL, Status::T100_FULL.bits()),
];

fn modes<const N: usize>(bits: u16, table: [(Modes, u16); N]) -> Modes {
    table.into_iter().filter(|(_, bit)| bits & bit != 0).map(|(mode, _)| mode).collect()
}

impl Modes {
    /// The best of them: speed and duplex.
    pub fn best(self) -> Option<(u32, Duplex)> {
        PRIORITY.into_iter().find(|(mode, ..)| self.contains(*mode)).map(|(_, speed, duplex)| (speed, duplex))
    }

    /// The mode with this speed and duplex.
    pub fn of(speed: u32, duplex: Duplex) -> Option<Modes> {
        PRIORITY.into_iter().find(|(_, s, d)| (*s, *d) == (speed, duplex)).map(|(mode, ..)| mode)
    }

    pub(super) fn supported(status: Status, extended: ExtendedStatus) -> Modes {
        let gigabit = [
            (Modes::T1000_HALF, ExtendedStatus::T1000_HALF.bits()),
            (Modes::T1000_FULL, ExtendedStatus::T1000_FULL.bits()),
        ];
        modes(status.bits(), STATUS) | modes(extended.bits(), gigabit)
    }

    pub(super) fn of_partner(ability: Ability, gigabit: GigabitStatus) -> Modes {
        let table = [
            (Modes::T1000_HALF, GigabitStatus::PARTNER_HALF.bits()),
            (Modes::T1000_FULL, GigabitStatus::PARTNER_FULL.bits()),
        ];
        modes(ability.bits(), ABILITY) | modes(gigabit.bits(), table)
    }

    pub(super) fn advertised(ability: Ability, gigabit: GigabitControl) -> Modes {
        let table = [
            (Modes::T1000_HALF, GigabitControl::HALF.bits()),
            (Modes::T1000_FULL, GigabitControl::FULL.bits()),
        ];
        modes(ability.bits(), ABILITY) | modes(gigabit.bits(), table)
    }

    pub(super) fn ability(self) -> Ability {
        let bits = ABILITY.into_iter().filter(|(mode, _)| self.contains(*mode));
        Ability::SELECTOR | Ability::from_bits_retain(bits.fold(0, |all, (_, bit)| all | bit))
    }

    pub(super) fn gigabit(self) -> GigabitControl {
        let mut control = GigabitControl::empty();
        control.set(GigabitControl::FULL, self.contains(Modes::T1000_FULL));
        control.set(GigabitControl::HALF, self.contains(Modes::T1000_HALF));
        control
    }
}

impl FlowControl {
    /// How the wish is advertised (table 28B-2). Who only wants to receive must say both, and may get both.
    pub(super) fn ability(self) -> Ability {
        match (self.receive, self.transmit) {
            (false, false) => Ability::empty(),
            (false, true) => Ability::ASYMMETRIC_PAUSE,
            (true, false) => Ability::PAUSE | Ability::ASYMMETRIC_PAUSE,
            (true, true) => Ability::PAUSE,
        }
    }

    /// What two ends that say this have agreed on (table 28B-3).
    pub(super) fn resolve(own: Ability, partner: Ability) -> FlowControl {
        let both = own & partner;
        if both.contains(Ability::PAUSE) {
            return FlowControl { receive: true, transmit: true };
        }
        let asymmetric = both.contains(Ability::ASYMMETRIC_PAUSE);
        FlowControl {
            receive: asymmetric && own.contains(Ability::PAUSE),
            transmit: asymmetric && partner.contains(Ability::PAUSE),
        }
    }
}
