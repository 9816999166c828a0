//! The hand that a test keeps on the controller.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use model_support::phy::Partner;

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
        lock(&self.0).wire.push_back(frame.to_vec());
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

    /// What the driver did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).faults = Faults::new(plan);
    }

    /// Changes a word of the EEPROM, but not its checksum.
    pub fn set_nvm(&self, address: u16, word: u16) {
        if let Some(old) = lock(&self.0).management.nvm.get_mut(usize::from(address)) {
            *old = word;
        }
    }

    /// A register as it is, without what reading it does. Those of interrupts, EEPROM and PHY are elsewhere.
    pub fn register(&self, offset: u64) -> u32 {
        lock(&self.0).get(offset)
    }

    /// The causes that may interrupt (IMS).
    pub fn interrupt_mask(&self) -> u32 {
        lock(&self.0).interrupts.ims
    }

    /// A register of the PHY at `now`, with what reading it does.
    pub fn phy_register(&self, number: u8, now: Duration) -> u16 {
        lock(&self.0).phy.read(number, now)
    }

    /// Pulls the controller out: registers read as all ones. Plugged in again, it is as after a reset.
    pub fn set_removed(&self, removed: bool) {
        let mut core = lock(&self.0);
        core.reset_function();
        core.removed = removed;
    }
}
