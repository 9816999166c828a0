//! The controller as a PCI function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahci_spec::registers::{ABAR, PORT_BYTES, PORTS};
use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    time::Time,
};

use crate::{config::Config, handle::Handle, hba::Hba};

/// A modelled AHCI controller, to be put into a [`redox_driver_sys::model::Host`] or any other machine with a [`Bus`].
#[derive(Debug)]
pub struct Ahci {
    config: ConfigSpace,
    shared: Arc<Mutex<Hba>>,
}

pub(crate) fn lock(shared: &Mutex<Hba>) -> MutexGuard<'_, Hba> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ahci {
    /// A controller, and the hand that stays on it.
    pub fn new(config: Config) -> (Self, Handle) {
        let ports = u64::from(32 - config.ports.leading_zeros());
        let len = u32::try_from(PORTS + ports * PORT_BYTES).unwrap_or(0).next_power_of_two().max(0x1000);
        let mut space = ConfigSpace::new(config.ids).with_memory_bar_32(ABAR, len).with_pci_express();
        if config.msi_vectors > 0 {
            space = space.with_msi(config.msi_vectors);
        }
        if !config.interrupt_pin {
            space = space.without_interrupt_pin();
        }
        let shared = Arc::new(Mutex::new(Hba::new(config)));
        (Ahci { config: space, shared: shared.clone() }, Handle::new(shared))
    }
}

impl Device for Ahci {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, _bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize) -> u64 {
        lock(&self.shared).register_read(offset, len)
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, _bar: u8, offset: u64, len: usize, value: u64) {
        lock(&self.shared).register_write(bus, offset, len, value);
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        lock(&self.shared).run(bus);
    }

    fn next_event(&self) -> Option<Time> {
        lock(&self.shared).next_event()
    }

    fn reset(&mut self) {
        lock(&self.shared).power_on_reset();
    }
}
