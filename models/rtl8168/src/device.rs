//! The controller as a PCI function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    pci::PciIds,
    time::Time,
};
use rtl8168_spec::{
    chip::{DEVICES, VENDOR},
    registers::{BAR, MSIX_BAR},
};

use crate::{config::Config, core::Core, handle::Handle};

/// Bytes of the BAR with registers.
const REGISTERS: u64 = 0x1000;
/// The MSI-X table and its pending bits.
const MSIX_BYTES: u64 = 0x4000;
const MSIX_PENDING: u32 = 0x800;
const VECTORS: u16 = 4;

/// A modelled controller, to be put into a [`redox_driver_sys::model::Host`].
#[derive(Debug)]
pub struct Rtl8168 {
    config: ConfigSpace,
    shared: Arc<Mutex<Core>>,
}

pub(crate) fn lock(shared: &Mutex<Core>) -> MutexGuard<'_, Core> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rtl8168 {
    /// A controller, and the hand that stays on it.
    pub fn new(config: Config) -> (Self, Handle) {
        let [_, device] = DEVICES;
        let ids = PciIds {
            vendor: VENDOR,
            device,
            subsystem_vendor: VENDOR,
            subsystem: 0x0123,
            class: 0x02,
            subclass: 0x00,
            interface: 0x00,
            revision: 0x02,
        };
        let mut space = ConfigSpace::new(ids).with_memory_bar(BAR, REGISTERS).with_pci_express();
        if config.messages && config.chip.messages {
            space = space.with_memory_bar(MSIX_BAR, MSIX_BYTES).with_msi(1).with_msix(
                VECTORS,
                MSIX_BAR,
                0,
                MSIX_PENDING,
            );
        }
        let shared = Arc::new(Mutex::new(Core::new(config)));
        (Rtl8168 { config: space, shared: shared.clone() }, Handle::new(shared))
    }
}

impl Device for Rtl8168 {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64 {
        if bar == BAR { lock(&self.shared).read(bus, offset, len).into() } else { 0 }
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize, value: u64) {
        if bar == BAR {
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
