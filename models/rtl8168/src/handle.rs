//! The hand that a test keeps on the controller.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use model_support::phy::Partner;
use rtl8168_spec::tally::Tally;

use crate::{
    core::Core,
    device::lock,
    fault::{FaultPlan, Faults},
    statistics::Statistics,
    violation::Violation,
};

/// Looks into a controller, and is the other end of its wire. Clones are the same.
///
/// What happens here takes effect when the controller runs next: when time passes or a register is accessed.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Mutex<Core>>);

impl Handle {
    pub(crate) fn new(shared: Arc<Mutex<Core>>) -> Self {
        Handle(shared)
    }

    /// Sends a frame, without its frame check sequence, to the controller. It is lost when the link is down.
    pub fn send(&self, frame: &[u8]) {
        lock(&self.0).rx.send(frame);
    }

    /// The frames that the controller sent since the last call, without their frame check sequence.
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        lock(&self.0).sent.drain(..).collect()
    }

    /// Plugs a cable in at `now`, with `partner` at its other end, or pulls it.
    pub fn set_partner(&self, partner: Option<Partner>, now: Duration) {
        let mut core = lock(&self.0);
        core.partner = partner;
        core.flap = None;
        core.phy.set_partner(partner, now);
        core.poked = true;
    }

    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        lock(&self.0).statistics
    }

    /// The device's own counters.
    pub fn tally(&self) -> Tally {
        lock(&self.0).tally
    }

    /// What the driver did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).faults = Faults::new(plan);
    }

    /// 8 bits of the registers that keep what they are given, without what reading does.
    pub fn register8(&self, offset: u64) -> u8 {
        lock(&self.0).get8(offset)
    }

    /// 16 bits of them.
    pub fn register16(&self, offset: u64) -> u16 {
        lock(&self.0).get16(offset)
    }

    /// 32 bits of them.
    pub fn register32(&self, offset: u64) -> u32 {
        lock(&self.0).get32(offset)
    }

    /// The command register.
    pub fn command(&self) -> u8 {
        lock(&self.0).cr
    }

    /// The events that may interrupt (IMR).
    pub fn interrupt_mask(&self) -> u16 {
        lock(&self.0).interrupts.imr
    }

    /// A register of the PHY's standard page at `now`, with what reading it does.
    pub fn phy_register(&self, number: u8, now: Duration) -> u16 {
        lock(&self.0).phy.read(number, now)
    }

    /// A register of another page of the PHY.
    pub fn phy_page(&self, page: u16, register: u8) -> u16 {
        let core = lock(&self.0);
        core.indirect.phy_page(core.config.chip.phy, page, register)
    }

    /// An extended register (ERI).
    pub fn extended(&self, address: u16) -> u32 {
        lock(&self.0).indirect.extended(address)
    }

    /// A register of the PCI Express PHY.
    pub fn ephy(&self, register: u8) -> u16 {
        lock(&self.0).indirect.ephy(register)
    }

    /// A register of the MAC's on-chip peripherals.
    pub fn mac(&self, address: u16) -> u16 {
        lock(&self.0).indirect.mac(address)
    }

    /// Pulls the controller out: registers read as all ones. Plugged in again, it is as after power-up.
    pub fn set_removed(&self, removed: bool) {
        let mut core = lock(&self.0);
        core.reset_function();
        core.removed = removed;
    }
}
