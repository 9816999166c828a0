//! The hand that a test keeps on a unit.

use std::sync::{Arc, Mutex};

use amd_vi_spec::{Control, registers::Status};

use crate::{
    core::Core,
    device::lock,
    fault::{FaultPlan, Faults},
    interrupt::Delivered,
    statistics::Statistics,
    violation::Violation,
};

/// Looks into a unit and changes it from outside. Clones are the same.
#[derive(Clone, Debug)]
pub struct Handle(pub(crate) Arc<Mutex<Core>>);

impl Handle {
    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        lock(&self.0).statistics
    }

    /// What the driver did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// The interrupts that arrived at processors, oldest first, and forgets them.
    pub fn take_delivered(&self) -> Vec<Delivered> {
        lock(&self.0).delivered.drain(..).collect()
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).faults = Faults::new(plan);
    }

    /// The control register.
    pub fn control(&self) -> Control {
        lock(&self.0).control
    }

    /// The status register.
    pub fn status(&self) -> Status {
        lock(&self.0).status
    }

    /// Takes the unit away, or brings it back as it was: registers read as all ones meanwhile, and nothing passes.
    pub fn set_removed(&self, removed: bool) {
        lock(&self.0).removed = removed;
    }

    /// The power goes and comes back: registers and caches are as at first.
    pub fn power_cycle(&self) {
        lock(&self.0).reset();
    }
}
