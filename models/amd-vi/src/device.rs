//! The unit as a device of its machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amd_vi_spec::registers::REGISTERS_LEN;
use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    pci::PciIds,
    time::Time,
};

use crate::core::Core;

/// A modelled IOMMU. BAR 0 is its registers, though the real one has them where firmware says.
pub struct AmdVi {
    config: ConfigSpace,
    core: Arc<Mutex<Core>>,
}

pub(crate) fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AmdVi {
    pub(crate) fn new(core: Arc<Mutex<Core>>) -> Self {
        // System peripheral, IOMMU.
        let ids = PciIds {
            vendor: 0x1022,
            device: 0x1481,
            subsystem_vendor: 0x1022,
            subsystem: 0x1481,
            class: 0x08,
            subclass: 0x06,
            interface: 0,
            revision: 0,
        };
        AmdVi { config: ConfigSpace::new(ids).with_memory_bar(0, REGISTERS_LEN), core }
    }
}

impl Device for AmdVi {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, _bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize) -> u64 {
        lock(&self.core).register_read(offset, len)
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize, value: u64) {
        lock(&self.core).register_write(bus, offset, len, value);
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        lock(&self.core).run_commands(bus);
    }

    fn next_event(&self) -> Option<Time> {
        lock(&self.core).command_due
    }

    fn reset(&mut self) {
        lock(&self.core).reset();
    }
}
