//! The controller as a PCI function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use e1000_spec::chip::VENDOR;
use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    pci::PciIds,
    time::Time,
};

use crate::{
    config::Config,
    core::{Core, REGISTERS},
    handle::Handle,
    interrupt::VECTORS,
};

/// Registers.
const REGISTER_BAR: u8 = 0;
/// The MSI-X table and its pending bits (82574).
const MSIX_BAR: u8 = 3;
const MSIX_BYTES: u32 = 0x4000;
const MSIX_PENDING: u32 = 0x2000;

/// A modelled controller, to be put into a [`redox_driver_sys::model::Host`].
#[derive(Debug)]
pub struct E1000 {
    config: ConfigSpace,
    shared: Arc<Mutex<Core>>,
}

pub(crate) fn lock(shared: &Mutex<Core>) -> MutexGuard<'_, Core> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl E1000 {
    /// A controller, and the hand that stays on it.
    pub fn new(config: Config) -> (Self, Handle) {
        let ids = PciIds {
            vendor: VENDOR,
            device: config.chip.ids.first().copied().unwrap_or(0),
            subsystem_vendor: VENDOR,
            subsystem: 0,
            class: 0x02,
            subclass: 0x00,
            interface: 0x00,
            revision: 0,
        };
        let bytes = u32::try_from(REGISTERS).unwrap_or(0);
        let mut space = ConfigSpace::new(ids).with_memory_bar_32(REGISTER_BAR, bytes);
        if config.chip.is_express() {
            space = space.with_pci_express().with_memory_bar_32(MSIX_BAR, MSIX_BYTES);
            if config.messages {
                let vectors = u16::try_from(VECTORS).unwrap_or(1);
                space = space.with_msi(1).with_msix(vectors, MSIX_BAR, 0, MSIX_PENDING);
            }
        }
        let shared = Arc::new(Mutex::new(Core::new(config)));
        (E1000 { config: space, shared: shared.clone() }, Handle::new(shared))
    }
}

impl Device for E1000 {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64 {
        if bar == REGISTER_BAR { lock(&self.shared).read(bus, offset, len).into() } else { 0 }
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize, value: u64) {
        if bar == REGISTER_BAR {
            let [a, b, c, d, ..] = value.to_le_bytes();
            lock(&self.shared).write(bus, offset, len, u32::from_le_bytes([a, b, c, d]));
        }
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        lock(&self.shared).run(bus);
    }

    fn next_event(&self) -> Option<Time> {
        lock(&self.shared).next_event()
    }

    fn reset(&mut self) {
        lock(&self.shared).reset_function();
    }
}
