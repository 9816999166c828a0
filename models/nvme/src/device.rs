//! The controller as a PCI function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nvme_spec::registers::DOORBELLS;
use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    time::Time,
};

use crate::{config::Config, controller::Controller, handle::Handle};

/// Registers and doorbells.
const REGISTER_BAR: u8 = 0;
/// The MSI-X table and its pending bits.
const MSIX_BAR: u8 = 4;
const TABLE_ENTRY: u32 = 16;
const SMALLEST_BAR: u64 = 0x4000;

/// A modelled NVMe controller, to be put into a [`redox_driver_sys::model::Host`] or any other machine with a [`Bus`].
#[derive(Debug)]
pub struct Nvme {
    config: ConfigSpace,
    /// The MSI-X table is the machine's business; it only has to be there and keep what it is given.
    table: Vec<u8>,
    shared: Arc<Mutex<Controller>>,
}

pub(crate) fn lock(shared: &Mutex<Controller>) -> MutexGuard<'_, Controller> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nvme {
    /// A controller, and the hand that stays on it.
    pub fn new(config: Config) -> (Self, Handle) {
        let doorbells = (2 * (u64::from(config.queues) + 1)) << (2 + (config.doorbell_stride & 0xf));
        let registers = (DOORBELLS + doorbells).next_power_of_two().max(SMALLEST_BAR);
        let mut space =
            ConfigSpace::new(config.ids).with_memory_bar(REGISTER_BAR, registers).with_pci_express();
        let mut table = Vec::new();
        if config.msix_vectors > 0 {
            let vectors = config.msix_vectors.min(2048);
            let pending = u32::from(vectors) * TABLE_ENTRY;
            let len = u64::from(pending + 0x1000).next_power_of_two();
            space = space.with_memory_bar(MSIX_BAR, len).with_msix(
                vectors,
                MSIX_BAR,
                0,
                pending.next_multiple_of(8),
            );
            table = vec![0; usize::try_from(len).unwrap_or(0)];
        }
        if config.msi_vectors > 0 {
            space = space.with_msi(config.msi_vectors);
        }
        if !config.interrupt_pin {
            space = space.without_interrupt_pin();
        }
        let shared = Arc::new(Mutex::new(Controller::new(config)));
        (Nvme { config: space, table, shared: shared.clone() }, Handle::new(shared))
    }

    fn table(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.table.get_mut(start..start.checked_add(len)?)
    }
}

impl Device for Nvme {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, _bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64 {
        if bar == REGISTER_BAR {
            return lock(&self.shared).register_read(offset, len);
        }
        let mut value = [0; 8];
        if let Some(bytes) = self.table(offset, len) {
            for (target, source) in value.iter_mut().zip(bytes) {
                *target = *source;
            }
        }
        u64::from_le_bytes(value)
    }

    fn mmio_write(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize, value: u64) {
        if bar == REGISTER_BAR {
            lock(&self.shared).register_write(bus, offset, len, value);
        } else if let Some(bytes) = self.table(offset, len) {
            for (target, source) in bytes.iter_mut().zip(value.to_le_bytes()) {
                *target = source;
            }
        }
    }

    fn run(&mut self, bus: &mut dyn Bus) {
        lock(&self.shared).run(bus);
    }

    fn next_event(&self) -> Option<Time> {
        lock(&self.shared).next_event()
    }

    fn reset(&mut self) {
        self.table.fill(0);
        lock(&self.shared).reset_function(None);
    }
}
