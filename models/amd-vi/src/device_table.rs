//! The device table (section 2.2.2).

use amd_vi_spec::{DeviceId, DeviceTableEntry, DomainId, EventCode, EventFlags, HardwareError, PAGE_SIZE};
use redox_driver_sys::model::Bus;

use crate::{core::Core, fault::LifecycleFault, violation::Violation};

const ENTRY: usize = size_of::<DeviceTableEntry>();

impl Core {
    /// The entry of a device, as it was when it was looked up first. `None`: there is none, and an event says so.
    pub(crate) fn device_entry(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        flags: EventFlags,
        address: u64,
    ) -> Option<DeviceTableEntry> {
        if let Some(entry) = self.caches.device(device) {
            return Some(entry);
        }
        let Some(place) = self.place_of(device) else {
            self.log_access(bus, EventCode::ILLEGAL_DEV_TABLE_ENTRY, device, flags, address);
            return None;
        };
        let mut bytes = [0; ENTRY];
        let broken = self.broken(LifecycleFault::DeviceTableError);
        if broken || bus.dma_read(place, &mut bytes).is_err() {
            let flags = flags.with_kind(HardwareError::MASTER_ABORT);
            self.log_access(bus, EventCode::DEV_TAB_HARDWARE_ERROR, device, flags, place);
            return None;
        }
        let entry: DeviceTableEntry = zerocopy::transmute!(bytes);
        self.note_domain(device, &entry);
        self.caches.remember_device(device, entry);
        Some(entry)
    }

    /// Where the entry of a device is; `None`: beyond the table.
    fn place_of(&self, device: DeviceId) -> Option<u64> {
        // The upper bits of the DeviceID choose the segment, the others the entry in it.
        let bits = u32::from(self.control.dev_tbl_seg_en().min(self.config.features.dev_tbl_seg_sup()));
        let id = u64::from(device.0);
        let segment = usize::try_from(id >> (16 - bits)).ok()?;
        let index = id & ((1 << (16 - bits)) - 1);
        let table = self.device_tables.get(segment)?;
        let length = (u64::from(table.size()) + 1) * PAGE_SIZE;
        let offset = index * ENTRY as u64;
        (offset + ENTRY as u64 <= length).then(|| table.address() + offset)
    }

    /// Devices with the same domain share what is cached of the page table: it must be the same one.
    fn note_domain(&mut self, device: DeviceId, entry: &DeviceTableEntry) {
        let table = |entry: &DeviceTableEntry| {
            let paging = entry.paging;
            let translated = paging.valid() && paging.translation_valid() && paging.mode() != 0;
            (translated && !entry.is_illegal()).then(|| (paging.table(), paging.mode()))
        };
        if entry.paging.valid() && entry.is_illegal() {
            self.violate(Violation::DeviceTableEntry(device));
        }
        let domain = DomainId(entry.domain.domain_id());
        let Some(own) = table(entry) else { return };
        let differs = self.caches.devices().any(|other| {
            other.domain.domain_id() == domain.0 && table(other).is_some_and(|other| other != own)
        });
        if differs {
            self.violate(Violation::Domain(domain));
        }
    }
}
