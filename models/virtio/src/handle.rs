//! The hand that a test keeps on the device.

use std::sync::{Arc, Mutex};

use virtio_spec::Features;

use crate::{
    core::Core,
    device::lock,
    device_type::DeviceType,
    fault::{FaultPlan, Faults},
    statistics::Statistics,
    violation::Violation,
};

/// Looks into a device and changes it from outside, wherever it is. Clones are the same.
///
/// What happens here takes effect when the device runs next: when time passes or a register is accessed.
pub struct Handle<T>(Arc<Mutex<Core<T>>>);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

impl<T: DeviceType> Handle<T> {
    pub(crate) fn new(shared: Arc<Mutex<Core<T>>>) -> Self {
        Handle(shared)
    }

    /// What was counted.
    pub fn statistics(&self) -> Statistics {
        let core = lock(&self.0);
        Statistics { interrupts: core.interrupts.sent(), ..core.statistics }
    }

    /// What the driver did that it must not, and forgets it.
    pub fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut lock(&self.0).violations)
    }

    /// Installs a fault plan in place of the last one.
    pub fn set_faults(&self, plan: FaultPlan) {
        lock(&self.0).faults = Faults::new(plan);
    }

    /// What was negotiated.
    pub fn accepted(&self) -> Features {
        lock(&self.0).accepted
    }

    /// Whether the driver has set DRIVER_OK.
    pub fn is_started(&self) -> bool {
        lock(&self.0).status.driver_ok()
    }

    /// Requests that were fetched and not carried out.
    pub fn outstanding(&self) -> usize {
        lock(&self.0).requests.len()
    }

    /// The device cannot go on: DEVICE_NEEDS_RESET.
    pub fn need_reset(&self) {
        lock(&self.0).need_reset();
    }

    /// Pulls the device out, or plugs it in again: then it is as after a reset. Registers read as all ones meanwhile.
    pub fn set_removed(&self, removed: bool) {
        let mut core = lock(&self.0);
        core.forget();
        core.interrupts.reset();
        core.removed = removed;
    }

    /// Works on what is special to the type of the device.
    pub(crate) fn device<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut lock(&self.0).device)
    }

    /// As [`device`](Self::device); the configuration has changed afterwards.
    pub(crate) fn reconfigure<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut core = lock(&self.0);
        let result = work(&mut core.device);
        core.configuration_changed();
        result
    }

    /// The device is as after a reset.
    pub(crate) fn forget(&self) {
        let mut core = lock(&self.0);
        core.forget();
        core.interrupts.reset();
    }
}
