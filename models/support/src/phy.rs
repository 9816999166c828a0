//! A twisted-pair PHY with a cable in it, or not: the registers of IEEE 802.3 clauses 22, 28 and 40 and EEE's of clause 45.
//!
//! Time is what its owner says it is, so that negotiation takes as long as it does.

use std::time::Duration;

use common::phy::registers::{
    Ability, Control, Eee, ExtendedStatus, GigabitControl, GigabitStatus, Status, mmd, register,
};

/// What is at the other end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partner {
    /// One that negotiates, and what it advertises.
    Negotiates {
        /// Modes up to 100 Mb/s, and pause frames.
        ability: Ability,
        /// Modes of 1000 Mb/s, as this end sees them.
        gigabit: GigabitStatus,
        /// Energy-efficient Ethernet.
        eee: Eee,
    },
    /// One that is set to 10 or 100 Mb/s and does not negotiate: half duplex is found out by listening (28.2.3.1).
    Silent {
        /// 100 Mb/s, or else 10.
        hundred: bool,
    },
}

impl Partner {
    /// A switch that can do everything.
    pub const SWITCH: Partner = Partner::Negotiates {
        ability: Ability::all(),
        gigabit: GigabitStatus::PARTNER_FULL.union(GigabitStatus::PARTNER_HALF),
        eee: Eee::all(),
    };
}

/// What a PHY can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyConfig {
    /// Registers 2 and 3.
    pub id: u32,
    /// Whether it can do 1000BASE-T.
    pub gigabit: bool,
    /// What of EEE it can do; empty: it has no registers of clause 45.
    pub eee: Eee,
    /// How long negotiation takes.
    pub negotiation: Duration,
    /// How long a reset takes.
    pub reset: Duration,
}

impl Default for PhyConfig {
    fn default() -> Self {
        PhyConfig {
            id: 0x0141_0c20,
            gigabit: true,
            eee: Eee::empty(),
            negotiation: Duration::from_millis(1500),
            reset: Duration::from_micros(500),
        }
    }
}

/// What the two ends came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhyLink {
    /// Megabits per second.
    pub speed: u32,
    /// Both ways at once.
    pub full_duplex: bool,
}

/// From the best to the worst: speed, full duplex, and the bit in [`Ability`] if it is one.
const MODES: [(u32, bool, Ability); 6] = [
    (1000, true, Ability::empty()),
    (1000, false, Ability::empty()),
    (100, true, Ability::T100_FULL),
    (100, false, Ability::T100_HALF),
    (10, true, Ability::T10_FULL),
    (10, false, Ability::T10_HALF),
];

/// A PHY.
#[derive(Clone, Debug)]
pub struct PhyModel {
    config: PhyConfig,
    registers: [u16; 32],
    eee_advertised: Eee,
    mmd_address: u16,
    partner: Option<Partner>,
    /// The cable carries no more than this many megabits per second.
    carries: u32,
    /// When the negotiation that is under way ends.
    negotiated_at: Option<Duration>,
    reset_until: Duration,
    link: Option<PhyLink>,
    /// The link was down since the status was read.
    was_down: bool,
    changed: bool,
}

impl PhyModel {
    /// A PHY after power-up, without a cable.
    pub fn new(config: PhyConfig) -> Self {
        let mut phy = PhyModel {
            config,
            registers: [0; 32],
            eee_advertised: Eee::empty(),
            mmd_address: 0,
            partner: None,
            carries: u32::MAX,
            negotiated_at: None,
            reset_until: Duration::ZERO,
            link: None,
            was_down: true,
            changed: false,
        };
        phy.set_defaults(Duration::ZERO);
        phy
    }

    /// Plugs a cable in, with `partner` at its other end, or pulls it.
    pub fn set_partner(&mut self, partner: Option<Partner>, now: Duration) {
        self.run(now);
        self.partner = partner;
        self.start(now);
    }

    /// Makes the cable so bad that it carries at most `speed` megabits per second, from the next negotiation on. A PHY that was told how
    /// goes down in its speed; another one gets no link.
    pub fn set_cable(&mut self, speed: u32) {
        self.carries = speed;
    }

    /// What the two ends came to, if they are through.
    pub fn link(&mut self, now: Duration) -> Option<PhyLink> {
        self.run(now);
        self.link
    }

    /// Whether the link came, went or changed since it was asked for last.
    pub fn take_change(&mut self, now: Duration) -> bool {
        self.run(now);
        std::mem::take(&mut self.changed)
    }

    /// When something happens by itself.
    pub fn next_event(&self) -> Option<Duration> {
        self.negotiated_at
    }

    /// Reads a register.
    pub fn read(&mut self, number: u8, now: Duration) -> u16 {
        self.run(now);
        let value = self.registers[usize::from(number & 31)];
        match number {
            register::CONTROL if now < self.reset_until => value | Control::RESET.bits(),
            register::STATUS => self.read_status(),
            #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
            register::ID1 => (self.config.id >> 16) as u16,
            #[allow(clippy::cast_possible_truncation, reason = "the lower half")]
            register::ID2 => self.config.id as u16,
            register::EXTENDED_STATUS if self.config.gigabit => ExtendedStatus::all().bits(),
            register::MMD_DATA => self.mmd().unwrap_or(u16::MAX),
            _ => value,
        }
    }

    /// Writes a register.
    pub fn write(&mut self, number: u8, value: u16, now: Duration) {
        self.run(now);
        if now < self.reset_until {
            return;
        }
        match number {
            register::CONTROL => self.control(Control::from_bits_retain(value), now),
            register::STATUS
            | register::ID1
            | register::ID2
            | register::PARTNER
            | register::EXPANSION
            | register::GIGABIT_STATUS
            | register::EXTENDED_STATUS => {}
            register::MMD_DATA if self.registers[13] & mmd::DATA == 0 => self.mmd_address = value,
            register::MMD_DATA => {
                let device = self.mmd_device();
                if (device, self.mmd_address) == mmd::EEE_ADVERTISEMENT {
                    self.eee_advertised = Eee::from_bits_truncate(value) & self.config.eee;
                }
            }
            _ => self.registers[usize::from(number & 31)] = value,
        }
    }

    fn control(&mut self, control: Control, now: Duration) {
        if control.contains(Control::RESET) {
            self.set_defaults(now);
            self.reset_until = now + self.config.reset;
            return;
        }
        let old = Control::from_bits_retain(self.registers[0]);
        self.registers[0] = (control - Control::RESTART).bits();
        if control.contains(Control::RESTART) || old != control - Control::RESTART {
            self.start(now);
        }
    }

    /// What a reset does. Registers of the vendor keep what they were told: it becomes effective.
    fn set_defaults(&mut self, now: Duration) {
        self.registers[0] = Control::AUTONEGOTIATION.bits();
        self.registers[4] =
            (Ability::all() - Ability::ACKNOWLEDGE - Ability::PAUSE - Ability::ASYMMETRIC_PAUSE).bits();
        self.registers[9] =
            if self.config.gigabit { (GigabitControl::FULL | GigabitControl::HALF).bits() } else { 0 };
        self.eee_advertised = self.config.eee;
        self.start(now);
    }

    /// The link, if there was one, is gone, and comes about anew.
    fn start(&mut self, now: Duration) {
        if self.link.take().is_some() {
            self.was_down = true;
            self.changed = true;
        }
        for number in [register::PARTNER, register::EXPANSION, register::GIGABIT_STATUS] {
            self.registers[usize::from(number)] = 0;
        }
        let asleep =
            Control::from_bits_retain(self.registers[0]).intersects(Control::POWER_DOWN | Control::ISOLATE);
        self.negotiated_at = self.partner.filter(|_| !asleep).map(|_| now + self.config.negotiation);
    }

    fn run(&mut self, now: Duration) {
        let Some(at) = self.negotiated_at.filter(|&at| at <= now) else { return };
        self.negotiated_at = None;
        let Some(partner) = self.partner else { return };
        let control = Control::from_bits_retain(self.registers[0]);
        self.link = if control.contains(Control::AUTONEGOTIATION) {
            self.negotiate(partner)
        } else {
            let speed = if control.contains(Control::SPEED_100) { 100 } else { 10 };
            Some(PhyLink { speed, full_duplex: control.contains(Control::FULL_DUPLEX) })
        };
        match self.link {
            Some(_) => self.changed = true,
            // They try again and again.
            None => self.negotiated_at = Some(at.max(now) + self.config.negotiation),
        }
        self.vendor_status();
    }

    fn negotiate(&mut self, partner: Partner) -> Option<PhyLink> {
        let own = Ability::from_bits_retain(self.registers[4]);
        let own_gigabit = GigabitControl::from_bits_retain(self.registers[9]);
        let (ability, gigabit) = match partner {
            Partner::Negotiates { ability, gigabit, .. } => {
                self.registers[6] = 1;
                (ability | Ability::ACKNOWLEDGE, gigabit)
            }
            Partner::Silent { hundred: true } => (Ability::T100_HALF, GigabitStatus::empty()),
            Partner::Silent { hundred: false } => (Ability::T10_HALF, GigabitStatus::empty()),
        };
        self.registers[5] = ability.bits();
        if self.config.gigabit {
            let well = GigabitStatus::LOCAL_OK | GigabitStatus::REMOTE_OK;
            self.registers[10] = (gigabit | well).bits();
        }
        let common = |&(speed, full_duplex, bit): &(u32, bool, Ability)| {
            if speed < 1000 {
                return (own & ability).contains(bit);
            }
            let (control, status) = if full_duplex {
                (GigabitControl::FULL, GigabitStatus::PARTNER_FULL)
            } else {
                (GigabitControl::HALF, GigabitStatus::PARTNER_HALF)
            };
            self.config.gigabit && own_gigabit.contains(control) && gigabit.contains(status)
        };
        let mut agreed = MODES.iter().filter(|mode| common(mode));
        let best = agreed.next()?;
        let mode = if best.0 <= self.carries {
            best
        } else if self.downshifts() {
            agreed.find(|mode| mode.0 <= self.carries)?
        } else {
            return None;
        };
        Some(PhyLink { speed: mode.0, full_duplex: mode.1 })
    }

    /// Marvell's: whether the PHY was told to try lower speeds.
    fn downshifts(&self) -> bool {
        match self.config.id & !0xf {
            0x0141_0c20 => self.registers[20] & 0x0300 != 0,
            0x0141_0cb0 => self.registers[16] & 1 << 11 != 0,
            _ => true,
        }
    }

    /// Marvell's PHY-specific status.
    fn vendor_status(&mut self) {
        if self.config.id >> 16 != 0x0141 {
            return;
        }
        self.registers[17] = self.link.map_or(0, |link| {
            let speed = match link.speed {
                1000 => 2 << 14,
                100 => 1 << 14,
                _ => 0,
            };
            let both = Ability::from_bits_retain(self.registers[4] & self.registers[5]);
            let better = both.intersects(Ability::T100_FULL) && link.speed < 100
                || self.registers[10] & GigabitStatus::PARTNER_FULL.bits() != 0
                    && self.registers[9] & GigabitControl::FULL.bits() != 0
                    && link.speed < 1000;
            let negotiates = self.registers[0] & Control::AUTONEGOTIATION.bits() != 0;
            speed
                | u16::from(link.full_duplex) << 13
                | 1 << 11
                | 1 << 10
                | u16::from(better && negotiates) << 5
        });
    }

    fn read_status(&mut self) -> u16 {
        let mut status = Status::T100_FULL
            | Status::T100_HALF
            | Status::T10_FULL
            | Status::T10_HALF
            | Status::CAN_NEGOTIATE;
        status.set(Status::EXTENDED, self.config.gigabit);
        let negotiates = self.registers[0] & Control::AUTONEGOTIATION.bits() != 0;
        status.set(Status::NEGOTIATED, negotiates && self.link.is_some());
        status.set(Status::LINK, self.link.is_some() && !self.was_down);
        self.was_down = self.link.is_none();
        status.bits()
    }

    fn mmd_device(&self) -> u8 {
        (self.registers[13] & 31).to_le_bytes()[0]
    }

    fn mmd(&self) -> Option<u16> {
        if self.config.eee.is_empty() {
            return None;
        }
        let partner = match self.partner.filter(|_| self.link.is_some()) {
            Some(Partner::Negotiates { eee, .. }) => eee,
            _ => Eee::empty(),
        };
        if self.registers[13] & mmd::DATA == 0 {
            return Some(self.mmd_address);
        }
        match (self.mmd_device(), self.mmd_address) {
            mmd::EEE_ABILITY => Some(self.config.eee.bits()),
            mmd::EEE_ADVERTISEMENT => Some(self.eee_advertised.bits()),
            mmd::EEE_PARTNER => Some(partner.bits()),
            _ => Some(0),
        }
    }
}
