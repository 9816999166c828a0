//! What becomes of an interrupt message (section 2.2.5).

use amd_vi_spec::{
    DeviceId, DeviceTableEntry, EventCode, EventFlags, HardwareError, InterruptControl, InterruptType,
    InvalidRequest, Irte32, Irte128, IrteHigh, IrteLow,
};
use redox_driver_sys::model::Bus;

use crate::{core::Core, violation::Violation};

/// An interrupt that arrived at a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Which device sent it.
    pub device: DeviceId,
    /// APIC id or logical id.
    pub destination: u32,
    /// Whether the destination is logical.
    pub logical: bool,
    /// Vector.
    pub vector: u8,
    /// Delivery mode: fixed (0), arbitrated (1), SMI (2), NMI (4), INIT (5), external (7).
    pub mode: u8,
}

/// Delivery modes that a message's data can have in bits 10:8, beside fixed and arbitrated.
const NMI: u8 = 4;
const INIT: u8 = 5;
const EXTERNAL: u8 = 7;
/// Entries of a table are named by bits 8:0 of the data: the bits above tell the delivery mode.
const INDEX: u32 = 0x1ff;

impl Core {
    /// An interrupt of a device, as a write of `data` to `address`. `None`: blocked.
    pub(crate) fn message(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        address: u64,
        data: u32,
    ) -> Option<Delivered> {
        if self.removed {
            return None;
        }
        let delivered = if self.control.iommu_en() {
            self.remap(bus, device, address, data)
        } else {
            Some(unmapped(device, address, data))
        };
        match delivered {
            Some(delivered) => self.deliver(delivered),
            None => self.statistics.blocked += 1,
        }
        delivered
    }

    fn remap(&mut self, bus: &mut dyn Bus, device: DeviceId, address: u64, data: u32) -> Option<Delivered> {
        let flags = EventFlags::new().with_interrupt(true).with_write(true);
        let entry = self.device_entry(bus, device, flags, address)?;
        let message = unmapped(device, address, data);
        if !entry.interrupt.valid() {
            return Some(message);
        }
        if entry.has_illegal_interrupts() {
            self.violate(Violation::DeviceTableEntry(device));
            self.log_access(bus, EventCode::ILLEGAL_DEV_TABLE_ENTRY, device, flags, address);
            return None;
        }
        let interrupt = entry.interrupt;
        let passes = match message.mode {
            InterruptType::FIXED | InterruptType::ARBITRATED => match interrupt.control() {
                InterruptControl::PASS => true,
                InterruptControl::REMAP => return self.look_up_interrupt(bus, device, &entry, address, data),
                _ => false,
            },
            NMI => interrupt.nmi_pass(),
            INIT => interrupt.init_pass(),
            EXTERNAL => interrupt.eint_pass(),
            _ => {
                let flags = flags.with_kind(InvalidRequest::INTERRUPT);
                self.log_access(bus, EventCode::INVALID_DEVICE_REQUEST, device, flags, address);
                return None;
            }
        };
        if !passes {
            self.interrupt_fault(bus, device, &entry, flags, address, false);
        }
        passes.then_some(message)
    }

    fn look_up_interrupt(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        entry: &DeviceTableEntry,
        address: u64,
        data: u32,
    ) -> Option<Delivered> {
        let flags = EventFlags::new().with_interrupt(true).with_write(true);
        let index = u16::try_from(data & INDEX).unwrap_or(0);
        if u32::from(index) >= 1 << entry.interrupt.table_len() {
            self.interrupt_fault(bus, device, entry, flags, address, false);
            return None;
        }
        let irte = match self.caches.interrupt(device, index).filter(|_| !self.control.irt_cache_dis()) {
            Some(irte) => irte,
            None => self.fetch_interrupt(bus, device, entry, index)?,
        };
        let low = irte.low;
        if !low.remap_en() {
            self.interrupt_fault(bus, device, entry, flags, address, low.suppress_fault());
            return None;
        }
        let reserved = irte.high.reserved8() != 0 || irte.high.reserved52() != 0;
        if reserved || low.guest_mode() || low.int_type() > InterruptType::ARBITRATED {
            self.violate(Violation::InterruptEntry { device, index });
            let flags = flags.with_present(true).with_reserved(true);
            self.interrupt_fault(bus, device, entry, flags, address, low.suppress_fault());
            return None;
        }
        Some(Delivered {
            device,
            destination: irte.destination(self.control.xt_en()),
            logical: low.logical(),
            vector: irte.high.vector(),
            mode: low.int_type(),
        })
    }

    /// Reads an entry of either format.
    fn fetch_interrupt(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        entry: &DeviceTableEntry,
        index: u16,
    ) -> Option<Irte128> {
        let size = if self.control.ga_en() { 16 } else { 4 };
        let place = entry.interrupt.table() + u64::from(index) * size;
        let mut bytes = [0; 16];
        let wanted = bytes.get_mut(..usize::try_from(size).unwrap_or(16))?;
        if bus.dma_read(place, wanted).is_err() {
            let flags = EventFlags::new().with_interrupt(true).with_kind(HardwareError::MASTER_ABORT);
            let flags = flags.with_domain(entry.domain.domain_id());
            self.log_access(bus, EventCode::PAGE_TAB_HARDWARE_ERROR, device, flags, place);
            return None;
        }
        let irte = if self.control.ga_en() {
            zerocopy::transmute!(bytes)
        } else {
            let [a, b, c, d, ..] = bytes;
            widened(Irte32::from(u32::from_le_bytes([a, b, c, d])))
        };
        self.caches.remember_interrupt(device, index, irte);
        Some(irte)
    }

    fn interrupt_fault(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        entry: &DeviceTableEntry,
        flags: EventFlags,
        address: u64,
        suppressed: bool,
    ) {
        if !suppressed && !entry.interrupt.ignore_unmapped() {
            let flags = flags.with_domain(entry.domain.domain_id());
            self.log_access(bus, EventCode::IO_PAGE_FAULT, device, flags, address);
        }
    }
}

/// A 32-bit entry in the fields of a 128-bit one; its reserved bits as reserved ones.
fn widened(entry: Irte32) -> Irte128 {
    let low = IrteLow::new()
        .with_remap_en(entry.remap_en())
        .with_suppress_fault(entry.suppress_fault())
        .with_int_type(entry.int_type())
        .with_request_eoi(entry.request_eoi())
        .with_logical(entry.logical())
        .with_guest_mode(entry.guest_mode())
        .with_destination(entry.destination().into());
    let reserved = u8::from(entry.reserved24() != 0);
    Irte128 { low, high: IrteHigh::new().with_vector(entry.vector()).with_reserved8(reserved) }
}

/// What a message says without being remapped.
fn unmapped(device: DeviceId, address: u64, data: u32) -> Delivered {
    let [vector, mode, ..] = data.to_le_bytes();
    let destination = u32::try_from(address >> 12 & 0xff).unwrap_or(0);
    Delivered { device, destination, logical: address & 4 != 0, vector, mode: mode & 7 }
}
