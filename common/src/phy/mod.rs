//! Ethernet PHYs behind MDIO: the registers of IEEE 802.3 and, in data, what chips do beside them.
//!
//! A driver implements [`Mdio`] and has a [`Phy`] negotiate or keep to a mode, and tell how the link is. Nothing here waits for a
//! link: that comes when a cable does.

mod modes;
mod quirks;
pub mod registers;

use std::{fmt, time::Duration};

pub use modes::{Duplex, FlowControl, Modes};
pub use quirks::{ActualMode, Change, KNOWN, Quirks};
use redox_driver_sys::time::Clock;
use registers::{
    Ability, Control, Eee, ExtendedStatus, GigabitControl, GigabitStatus, Status, mmd, register,
};

/// A reset takes at most half a second (22.2.4.1.1).
const RESET_TIMEOUT: Duration = Duration::from_millis(500);
const RESET_POLL: Duration = Duration::from_millis(1);

/// The management interface of a device. Reading or writing a register takes a bounded time.
pub trait Mdio {
    /// Why a register could not be reached.
    type Error;

    /// Reads `register` of the PHY at `address`.
    ///
    /// # Errors
    /// The interface did not answer in time, or reports a failure.
    fn read(&mut self, address: u8, register: u8) -> Result<u16, Self::Error>;

    /// Writes `register` of the PHY at `address`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn write(&mut self, address: u8, register: u8, value: u16) -> Result<(), Self::Error>;
}

/// Why a PHY did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhyError<E> {
    /// A register could not be reached.
    #[error("MDIO: {0}")]
    Mdio(E),
    /// Nobody answers at any address that was tried.
    #[error("no PHY answers")]
    Missing,
    /// It does not come out of its reset.
    #[error("{0} does not end its reset within {RESET_TIMEOUT:?}")]
    Stuck(&'static str),
    /// It, or the standard, has no such mode.
    #[error("{0} has no mode {1:?}")]
    Unsupported(&'static str, Modes),
}

/// How a link is to come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// By negotiation of one of these modes.
    Negotiate {
        /// What is advertised, less what the PHY cannot do.
        modes: Modes,
        /// What is advertised about pause frames.
        flow_control: FlowControl,
    },
    /// In exactly this mode, of 10 or 100 Mb/s, without negotiation. (1000BASE-T has to negotiate who is the master: advertise
    /// only that.)
    Force(Modes),
}

impl Default for Wish {
    fn default() -> Self {
        Wish::Negotiate { modes: Modes::all(), flow_control: FlowControl { receive: true, transmit: true } }
    }
}

/// A link that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Megabits per second.
    pub speed: u32,
    /// Both ways at once or not.
    pub duplex: Duplex,
    /// What was agreed on about pause frames.
    pub flow_control: FlowControl,
    /// The cable did not carry the better speed that had been agreed on.
    pub downshifted: bool,
}

/// How the link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// `None`: down, or negotiating.
    pub up: Option<Negotiated>,
    /// It was down since it was asked for last, if only for a moment.
    pub dropped: bool,
}

/// A PHY. It keeps what it was told, for [`set_up`](Self::set_up) after a reset.
#[derive(Clone, Debug)]
pub struct Phy {
    address: u8,
    id: u32,
    quirks: Quirks,
    supported: Modes,
    wish: Wish,
    eee: bool,
}

impl fmt::Display for Phy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:08x}) at {}", self.quirks.name, self.id, self.address)
    }
}

impl Phy {
    /// The first PHY that answers at one of `addresses`, with its quirks if they are among `known`.
    ///
    /// # Errors
    /// [`PhyError::Missing`] when there is none; [`PhyError::Mdio`].
    pub fn find<M: Mdio>(
        mdio: &mut M,
        addresses: impl IntoIterator<Item = u8>,
        known: &[Quirks],
    ) -> Result<Phy, PhyError<M::Error>> {
        for address in addresses {
            let mut read = |register| mdio.read(address, register).map_err(PhyError::Mdio);
            let id = u32::from(read(register::ID1)?) << 16 | u32::from(read(register::ID2)?);
            // Nobody drives the wire, or a register block that is not there.
            if id == u32::MAX || id == 0 {
                continue;
            }
            let status = Status::from_bits_retain(read(register::STATUS)?);
            let extended = if status.contains(Status::EXTENDED) {
                // Some (QEMU's 82540EM) say that there is one, and give an error for it.
                read(register::EXTENDED_STATUS)
                    .map_or(ExtendedStatus::all(), ExtendedStatus::from_bits_retain)
            } else {
                ExtendedStatus::empty()
            };
            let supported = Modes::supported(status, extended);
            let quirks = Quirks::find(known, id);
            return Ok(Phy { address, id, quirks, supported, wish: Wish::default(), eee: true });
        }
        Err(PhyError::Missing)
    }

    /// Its identifier: registers 2 and 3.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// What is special about it.
    pub const fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// What it can do.
    pub const fn supported(&self) -> Modes {
        self.supported
    }

    /// How the link is to come about.
    pub const fn wish(&self) -> Wish {
        self.wish
    }

    /// Changes how the link is to come about, from the next [`set_up`](Self::set_up) or [`renegotiate`](Self::renegotiate) on.
    ///
    /// # Errors
    /// [`PhyError::Unsupported`] when nothing of it is possible.
    pub fn wish_for<E>(&mut self, wish: Wish) -> Result<(), PhyError<E>> {
        let possible = match wish {
            Wish::Negotiate { modes, .. } => modes.intersects(self.supported),
            Wish::Force(mode) => {
                let gigabit = Modes::T1000_FULL | Modes::T1000_HALF;
                mode.bits().is_power_of_two() && (self.supported - gigabit).contains(mode)
            }
        };
        if !possible {
            let (Wish::Negotiate { modes, .. } | Wish::Force(modes)) = wish;
            return Err(PhyError::Unsupported(self.quirks.name, modes));
        }
        self.wish = wish;
        Ok(())
    }

    /// Whether energy-efficient Ethernet is advertised, from the next negotiation on.
    pub const fn set_eee(&mut self, advertise: bool) {
        self.eee = advertise;
    }

    /// Resets the PHY, sets it up with its quirks, and has the link come about as wished for. Does not wait for the link.
    ///
    /// # Errors
    /// [`PhyError::Stuck`] when the reset does not end; [`PhyError::Mdio`].
    pub fn set_up<M: Mdio>(&self, mdio: &mut M, clock: &Clock) -> Result<(), PhyError<M::Error>> {
        self.reset(mdio, clock)?;
        let (first, second) = (self.quirks.after_reset, self.quirks.downshift);
        for change in first.iter().chain(second) {
            let old = self.read(mdio, change.register)?;
            self.write(mdio, change.register, old & !change.mask | change.value)?;
        }
        if self.quirks.reset_after_changes {
            self.reset(mdio, clock)?;
        }
        self.renegotiate(mdio)
    }

    /// Has the link come about anew, as wished for.
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn renegotiate<M: Mdio>(&self, mdio: &mut M) -> Result<(), PhyError<M::Error>> {
        match self.wish {
            Wish::Negotiate { modes, flow_control } => {
                let modes = modes & self.supported;
                self.write(mdio, register::ADVERTISEMENT, (modes.ability() | flow_control.ability()).bits())?;
                if self.can_gigabit() {
                    let keep = !(GigabitControl::FULL | GigabitControl::HALF).bits();
                    let old = self.read(mdio, register::GIGABIT_CONTROL)? & keep;
                    self.write(mdio, register::GIGABIT_CONTROL, old | modes.gigabit().bits())?;
                }
                self.advertise_eee(mdio)?;
                self.write(mdio, register::CONTROL, (Control::AUTONEGOTIATION | Control::RESTART).bits())
            }
            Wish::Force(mode) => {
                let mut control = Control::empty();
                control.set(Control::SPEED_100, mode.intersects(Modes::T100_FULL | Modes::T100_HALF));
                control.set(Control::FULL_DUPLEX, mode.intersects(Modes::T100_FULL | Modes::T10_FULL));
                self.write(mdio, register::CONTROL, control.bits())
            }
        }
    }

    /// How the link is now.
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn status<M: Mdio>(&self, mdio: &mut M) -> Result<LinkStatus, PhyError<M::Error>> {
        // The first look tells of the past (22.2.4.2.13), the second one of now.
        let dropped = !self.read_status(mdio)?.contains(Status::LINK);
        let status = self.read_status(mdio)?;
        let control = Control::from_bits_retain(self.read(mdio, register::CONTROL)?);
        let negotiates = control.contains(Control::AUTONEGOTIATION);
        let settled = !negotiates || status.contains(Status::NEGOTIATED);
        if !status.contains(Status::LINK) || !settled {
            return Ok(LinkStatus { up: None, dropped });
        }
        let agreed = if negotiates { self.agreed(mdio)? } else { forced(control) };
        let up = self.as_it_is(mdio, agreed)?;
        Ok(LinkStatus { up, dropped })
    }

    /// Whether both ends save energy between packets.
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn eee_agreed<M: Mdio>(&self, mdio: &mut M) -> Result<bool, PhyError<M::Error>> {
        if self.quirks.no_mmd || matches!(self.wish, Wish::Force(_)) {
            return Ok(false);
        }
        let own = self.read_eee(mdio, mmd::EEE_ADVERTISEMENT)?;
        let partner = self.read_eee(mdio, mmd::EEE_PARTNER)?;
        Ok(own.intersects(partner))
    }

    /// Puts the PHY to sleep, without a link, or wakes it up; then it has to be [set up](Self::set_up).
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn power_down<M: Mdio>(&self, mdio: &mut M, down: bool) -> Result<(), PhyError<M::Error>> {
        let mut control = Control::from_bits_retain(self.read(mdio, register::CONTROL)?);
        control.set(Control::POWER_DOWN, down);
        self.write(mdio, register::CONTROL, control.bits())
    }

    /// Reads a register of clause 45, by its device and number (annex 22D).
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn read_mmd<M: Mdio>(
        &self,
        mdio: &mut M,
        (device, number): (u8, u16),
    ) -> Result<u16, PhyError<M::Error>> {
        self.point_mmd(mdio, device, number)?;
        self.read(mdio, register::MMD_DATA)
    }

    /// Writes a register of clause 45, by its device and number (annex 22D).
    ///
    /// # Errors
    /// [`PhyError::Mdio`].
    pub fn write_mmd<M: Mdio>(
        &self,
        mdio: &mut M,
        (device, number): (u8, u16),
        value: u16,
    ) -> Result<(), PhyError<M::Error>> {
        self.point_mmd(mdio, device, number)?;
        self.write(mdio, register::MMD_DATA, value)
    }

    fn point_mmd<M: Mdio>(&self, mdio: &mut M, device: u8, number: u16) -> Result<(), PhyError<M::Error>> {
        self.write(mdio, register::MMD_CONTROL, device.into())?;
        self.write(mdio, register::MMD_DATA, number)?;
        self.write(mdio, register::MMD_CONTROL, mmd::DATA | u16::from(device))
    }

    fn can_gigabit(&self) -> bool {
        self.supported.intersects(Modes::T1000_FULL | Modes::T1000_HALF)
    }

    fn reset<M: Mdio>(&self, mdio: &mut M, clock: &Clock) -> Result<(), PhyError<M::Error>> {
        self.write(mdio, register::CONTROL, Control::RESET.bits())?;
        let deadline = clock.deadline(RESET_TIMEOUT);
        loop {
            let late = deadline.passed(clock);
            if self.read(mdio, register::CONTROL)? & Control::RESET.bits() == 0 {
                return Ok(());
            }
            if late {
                return Err(PhyError::Stuck(self.quirks.name));
            }
            clock.sleep(RESET_POLL);
        }
    }

    fn read_eee<M: Mdio>(&self, mdio: &mut M, register: (u8, u16)) -> Result<Eee, PhyError<M::Error>> {
        let bits = self.read_mmd(mdio, register)?;
        // All ones where there are no such registers.
        Ok(if bits == u16::MAX { Eee::empty() } else { Eee::from_bits_truncate(bits) })
    }

    fn advertise_eee<M: Mdio>(&self, mdio: &mut M) -> Result<(), PhyError<M::Error>> {
        if self.quirks.no_mmd {
            return Ok(());
        }
        let ability = self.read_eee(mdio, mmd::EEE_ABILITY)?;
        if ability.is_empty() {
            return Ok(());
        }
        let advertised = if self.eee { ability } else { Eee::empty() };
        self.write_mmd(mdio, mmd::EEE_ADVERTISEMENT, advertised.bits())
    }

    /// What both ends have said that they can, at its best.
    fn agreed<M: Mdio>(&self, mdio: &mut M) -> Result<Option<Negotiated>, PhyError<M::Error>> {
        let own = Ability::from_bits_retain(self.read(mdio, register::ADVERTISEMENT)?);
        let partner = Ability::from_bits_retain(self.read(mdio, register::PARTNER)?);
        let (control, status) = if self.can_gigabit() {
            (self.read(mdio, register::GIGABIT_CONTROL)?, self.read(mdio, register::GIGABIT_STATUS)?)
        } else {
            (0, 0)
        };
        let own_modes = Modes::advertised(own, GigabitControl::from_bits_retain(control));
        let partner_modes = Modes::of_partner(partner, GigabitStatus::from_bits_retain(status));
        let best = (own_modes & partner_modes).best();
        let flow_control = FlowControl::resolve(own, partner);
        Ok(best.map(|(speed, duplex)| Negotiated { speed, duplex, flow_control, downshifted: false }))
    }

    /// Corrects what was agreed on by what the PHY says about the link itself.
    fn as_it_is<M: Mdio>(
        &self,
        mdio: &mut M,
        agreed: Option<Negotiated>,
    ) -> Result<Option<Negotiated>, PhyError<M::Error>> {
        let actual = match self.quirks.actual {
            Some(actual) => actual.read(self.read(mdio, actual.register)?),
            None => None,
        };
        let mut link = agreed;
        if let Some((mode, downshifted)) = actual
            && let Some((speed, duplex)) = mode.best()
        {
            let flow_control = agreed.map(|link| link.flow_control).unwrap_or_default();
            link = Some(Negotiated { speed, duplex, flow_control, downshifted });
        }
        if let Some(link) = link.as_mut().filter(|link| link.duplex == Duplex::Half) {
            // Pause frames are for full duplex alone.
            link.flow_control = FlowControl::default();
        }
        Ok(link)
    }

    fn read_status<M: Mdio>(&self, mdio: &mut M) -> Result<Status, PhyError<M::Error>> {
        Ok(Status::from_bits_retain(self.read(mdio, register::STATUS)?))
    }

    fn read<M: Mdio>(&self, mdio: &mut M, register: u8) -> Result<u16, PhyError<M::Error>> {
        mdio.read(self.address, register).map_err(PhyError::Mdio)
    }

    fn write<M: Mdio>(&self, mdio: &mut M, register: u8, value: u16) -> Result<(), PhyError<M::Error>> {
        mdio.write(self.address, register, value).map_err(PhyError::Mdio)
    }
}

/// What the control register forces; there is nothing to agree on.
fn forced(control: Control) -> Option<Negotiated> {
    let speed = if control.contains(Control::SPEED_100) { 100 } else { 10 };
    let duplex = if control.contains(Control::FULL_DUPLEX) { Duplex::Full } else { Duplex::Half };
    Some(Negotiated { speed, duplex, flow_control: FlowControl::default(), downshifted: false })
}
