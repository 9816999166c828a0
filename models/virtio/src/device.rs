//! The device as a PCI function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redox_driver_sys::{
    model::{Bus, ConfigSpace, Device},
    pci::PciIds,
    time::Time,
};
use virtio_spec::pci::{MODERN, VENDOR, capability, common, structure};

use crate::{
    config::TransportConfig,
    core::Core,
    device_type::DeviceType,
    handle::Handle,
    registers::{BAR_LEN, COMMON_AT, DEVICE_AT, ISR_AT, NOTIFY_AT, NOTIFY_LEN},
};

/// The MSI-X table and its pending bits, and the structures of the transport: where QEMU has them.
const MSIX_BAR: u8 = 1;
const STRUCTURE_BAR: u8 = 4;
const TABLE_ENTRY: u32 = 16;

/// A modelled virtio device, to be put into a [`redox_driver_sys::model::Host`] or any other machine with a [`Bus`].
pub struct Virtio<T> {
    config: ConfigSpace,
    /// The MSI-X table is the machine's business; it only has to be there and keep what it is given.
    table: Vec<u8>,
    shared: Arc<Mutex<Core<T>>>,
}

pub(crate) fn lock<T>(shared: &Mutex<Core<T>>) -> MutexGuard<'_, Core<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: DeviceType> Virtio<T> {
    /// A device of a type, and the hand that stays on it.
    pub fn new(config: TransportConfig, device: T) -> (Self, Handle<T>) {
        let (class, subclass) = T::CLASS;
        let id = if config.transitional { T::TRANSITIONAL } else { MODERN + T::TYPE };
        let ids = PciIds {
            vendor: VENDOR,
            device: id,
            subsystem_vendor: VENDOR,
            subsystem: if config.transitional { T::TYPE } else { 0x1100 },
            class,
            subclass,
            interface: 0,
            revision: u8::from(!config.transitional),
        };
        let mut space = ConfigSpace::new(ids).with_memory_bar(STRUCTURE_BAR, BAR_LEN).with_pci_express();
        if config.modern {
            space = with_structures(space, config.notify_multiplier, device.configuration().len());
        }
        let mut table = Vec::new();
        if config.msix_vectors > 0 {
            let vectors = config.msix_vectors.min(2048);
            let pending = u32::from(vectors) * TABLE_ENTRY;
            let len = u64::from(pending + 0x1000).next_power_of_two();
            let pending = pending.next_multiple_of(8);
            space = space.with_memory_bar(MSIX_BAR, len).with_msix(vectors, MSIX_BAR, 0, pending);
            table = vec![0; usize::try_from(len).unwrap_or(0)];
        }
        if !config.interrupt_pin {
            space = space.without_interrupt_pin();
        }
        let shared = Arc::new(Mutex::new(Core::new(config, device)));
        (Virtio { config: space, table, shared: shared.clone() }, Handle::new(shared))
    }

    fn table(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.table.get_mut(start..start.checked_add(len)?)
    }
}

/// The capabilities that say where the structures are (section 4.1.4).
fn with_structures(space: ConfigSpace, multiplier: u32, device_len: usize) -> ConfigSpace {
    let device_len = u64::try_from(device_len).unwrap_or(0);
    let structures = [
        (structure::COMMON, COMMON_AT, common::LEN_WITH_RESET),
        (structure::ISR, ISR_AT, 1),
        (structure::DEVICE, DEVICE_AT, device_len),
        (structure::NOTIFY, NOTIFY_AT, NOTIFY_LEN),
    ];
    structures.into_iter().fold(space, |space, (kind, offset, len)| {
        space.with_vendor_capability(&structure_capability(kind, STRUCTURE_BAR, offset, len, multiplier))
    })
}

/// A `virtio_pci_cap`, less its first two bytes.
#[allow(clippy::cast_possible_truncation, reason = "a BAR is short")]
fn structure_capability(kind: u8, bar: u8, offset: u64, len: u64, multiplier: u32) -> Vec<u8> {
    let notify = kind == structure::NOTIFY;
    let bytes = if notify { capability::NOTIFY_LEN } else { capability::LEN };
    let mut body = vec![bytes, kind, bar, 0, 0, 0];
    body.extend((offset as u32).to_le_bytes());
    body.extend((len as u32).to_le_bytes());
    if notify {
        body.extend(multiplier.to_le_bytes());
    }
    body
}

impl<T: DeviceType> Device for Virtio<T> {
    fn config(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn mmio_read(&mut self, bus: &mut dyn Bus, bar: u8, offset: u64, len: usize) -> u64 {
        if bar == STRUCTURE_BAR {
            return lock(&self.shared).register_read(bus, offset, len);
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
        if bar == STRUCTURE_BAR {
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
        let mut core = lock(&self.shared);
        core.forget();
        core.interrupts.reset();
        core.reset_at = None;
    }
}
