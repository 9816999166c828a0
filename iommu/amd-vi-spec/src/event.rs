//! The event log (section 2.5): entries of 16 bytes.

use std::fmt;

use bitfield_struct::bitfield;
use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DeviceId, DomainId};

/// An entry as it lies in the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventLogEntry {
    /// Bits 63:0.
    pub flags: EventFlags,
    /// Bits 127:64: an address, or more of the event.
    pub address: u64,
}

const _: () = assert!(size_of::<EventLogEntry>() == 16);

/// Bits 63:0 of an event log entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventFlags {
    /// DeviceID.
    pub device: u16,
    /// PASID, bits 19:16, with GN.
    #[bits(4)]
    pub pasid_19_16: u8,
    #[bits(12)]
    __: u16,
    /// DomainID; PASID, bits 15:0, with GN.
    pub domain: u16,
    /// GN: the address is a guest's, and there is a PASID.
    pub guest: bool,
    /// NX: the device asked for execution.
    pub execute: bool,
    /// US: the device asked as user.
    pub user: bool,
    /// I: an interrupt, not a memory access.
    pub interrupt: bool,
    /// PR: the translation was present, but did not permit the access; 0: not present.
    pub present: bool,
    /// RW: a write.
    pub write: bool,
    /// PE: the device lacked permission.
    pub permission: bool,
    /// RZ: reserved bits were set, or a level is wrong.
    pub reserved: bool,
    /// TR: a translation request, not an access.
    pub translation: bool,
    /// Of hardware errors, a [`HardwareError`] (2 bits, above them 0); of INVALID_DEVICE_REQUEST, an [`InvalidRequest`].
    #[bits(3)]
    pub kind: u8,
    /// EventCode, an [`EventCode`].
    #[bits(4)]
    pub code: u8,
}

codes! {
    /// What an event log entry is about (section 2.5.1).
    pub struct EventCode: u8 {
        ILLEGAL_DEV_TABLE_ENTRY = 1, "ILLEGAL_DEV_TABLE_ENTRY";
        IO_PAGE_FAULT = 2, "IO_PAGE_FAULT";
        DEV_TAB_HARDWARE_ERROR = 3, "DEV_TAB_HARDWARE_ERROR";
        PAGE_TAB_HARDWARE_ERROR = 4, "PAGE_TAB_HARDWARE_ERROR";
        ILLEGAL_COMMAND_ERROR = 5, "ILLEGAL_COMMAND_ERROR";
        COMMAND_HARDWARE_ERROR = 6, "COMMAND_HARDWARE_ERROR";
        IOTLB_INV_TIMEOUT = 7, "IOTLB_INV_TIMEOUT";
        INVALID_DEVICE_REQUEST = 8, "INVALID_DEVICE_REQUEST";
        INVALID_PPR_REQUEST = 9, "INVALID_PPR_REQUEST";
        EVENT_COUNTER_ZERO = 10, "EVENT_COUNTER_ZERO";
        GUEST_EVENT_FAULT = 11, "GUEST_EVENT_FAULT";
        VIOMMU_HARDWARE_ERROR = 12, "VIOMMU_HARDWARE_ERROR";
        RMP_PAGE_FAULT = 13, "RMP_PAGE_FAULT";
        RMP_HARDWARE_ERROR = 14, "RMP_HARDWARE_ERROR";
    }
}

display_code!(EventCode);

/// What [`EventFlags::kind`] means for hardware errors.
pub struct HardwareError;

impl HardwareError {
    /// Master abort: nobody answered.
    pub const MASTER_ABORT: u8 = 1;
    /// Target abort.
    pub const TARGET_ABORT: u8 = 2;
    /// Data error: poison.
    pub const DATA_ERROR: u8 = 3;
}

/// What [`EventFlags::kind`] means for INVALID_DEVICE_REQUEST (section 2.5.9).
pub struct InvalidRequest;

impl InvalidRequest {
    /// Read, or non-posted write, in the range of interrupts or beyond any address.
    pub const READ: u8 = 0;
    /// Pretranslated access of a device that may not.
    pub const PRETRANSLATED: u8 = 1;
    /// Port I/O of a device that may not.
    pub const PORT_IO: u8 = 2;
    /// System management of a device that may not.
    pub const SYSTEM_MANAGEMENT: u8 = 3;
    /// Interrupt message that is malformed or for the reserved part of the range.
    pub const INTERRUPT: u8 = 4;
    /// Write in the range of interrupts that is no interrupt, or a translation request there.
    pub const UPSTREAM: u8 = 5;
}

impl EventLogEntry {
    /// What the entry is about.
    pub const fn code(self) -> EventCode {
        EventCode(self.flags.code())
    }

    /// What the entry says.
    pub fn event(self) -> Event {
        let Self { flags, address } = self;
        let device = DeviceId(flags.device());
        match self.code() {
            EventCode::ILLEGAL_DEV_TABLE_ENTRY => Event::IllegalDevTableEntry { device, address, flags },
            EventCode::IO_PAGE_FAULT => {
                Event::IoPageFault { device, domain: DomainId(flags.domain()), address, flags }
            }
            EventCode::DEV_TAB_HARDWARE_ERROR => Event::DevTabHardwareError { device, address, flags },
            EventCode::PAGE_TAB_HARDWARE_ERROR => {
                Event::PageTabHardwareError { device, domain: DomainId(flags.domain()), address, flags }
            }
            EventCode::ILLEGAL_COMMAND_ERROR => Event::IllegalCommandError { address },
            EventCode::COMMAND_HARDWARE_ERROR => {
                Event::CommandHardwareError { address, error: flags.kind() & 3 }
            }
            EventCode::IOTLB_INV_TIMEOUT => Event::IotlbInvTimeout { device, address },
            EventCode::INVALID_DEVICE_REQUEST => {
                Event::InvalidDeviceRequest { device, address, request: flags.kind(), flags }
            }
            _ => Event::Other(self),
        }
    }
}

/// An event. `flags` has the bits that the specification defines for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A device accessed something, and its device table entry is not one.
    IllegalDevTableEntry {
        /// The device.
        device: DeviceId,
        /// What it accessed.
        address: u64,
        /// How.
        flags: EventFlags,
    },
    /// A device accessed what it may not; with [`EventFlags::interrupt`], an interrupt that is not mapped.
    IoPageFault {
        /// The device.
        device: DeviceId,
        /// Its domain.
        domain: DomainId,
        /// What it accessed.
        address: u64,
        /// How.
        flags: EventFlags,
    },
    /// The device table could not be read.
    DevTabHardwareError {
        /// The device whose entry it was.
        device: DeviceId,
        /// Where the entry is.
        address: u64,
        /// What happened.
        flags: EventFlags,
    },
    /// A page table or interrupt remapping table could not be read.
    PageTabHardwareError {
        /// The device that needed it.
        device: DeviceId,
        /// Its domain.
        domain: DomainId,
        /// Where the entry is.
        address: u64,
        /// What happened.
        flags: EventFlags,
    },
    /// There was no command that makes sense; commands are no longer executed.
    IllegalCommandError {
        /// Where it is in memory.
        address: u64,
    },
    /// A command could not be read; commands are no longer executed.
    CommandHardwareError {
        /// Where it is in memory.
        address: u64,
        /// A [`HardwareError`].
        error: u8,
    },
    /// A device did not answer an invalidation of its IOTLB in time.
    IotlbInvTimeout {
        /// The device.
        device: DeviceId,
        /// Where the command is in memory.
        address: u64,
    },
    /// A device asked for something that no device table entry could permit.
    InvalidDeviceRequest {
        /// The device.
        device: DeviceId,
        /// What it accessed.
        address: u64,
        /// An [`InvalidRequest`].
        request: u8,
        /// How.
        flags: EventFlags,
    },
    /// Another one, or a code that has no meaning.
    Other(EventLogEntry),
}

impl Event {
    /// The device that it is about, if it is about one.
    pub const fn device(&self) -> Option<DeviceId> {
        match self {
            Self::IllegalDevTableEntry { device, .. }
            | Self::IoPageFault { device, .. }
            | Self::DevTabHardwareError { device, .. }
            | Self::PageTabHardwareError { device, .. }
            | Self::IotlbInvTimeout { device, .. }
            | Self::InvalidDeviceRequest { device, .. } => Some(*device),
            Self::IllegalCommandError { .. } | Self::CommandHardwareError { .. } | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = |flags: &EventFlags| match (flags.interrupt(), flags.write()) {
            (true, _) => "interrupt",
            (false, true) => "write",
            (false, false) => "read",
        };
        match self {
            Self::IllegalDevTableEntry { device, address, flags } => {
                write!(f, "ILLEGAL_DEV_TABLE_ENTRY: {device}, {} at {address:#x}", what(flags))
            }
            Self::IoPageFault { device, domain, address, flags } => {
                let why = match (flags.reserved(), flags.present()) {
                    (true, _) => "reserved bits in a table",
                    (false, true) => "not permitted",
                    (false, false) => "not mapped",
                };
                write!(
                    f,
                    "IO_PAGE_FAULT: {device} in domain {domain}, {} at {address:#x}: {why}",
                    what(flags)
                )
            }
            Self::DevTabHardwareError { device, address, flags } => {
                write!(
                    f,
                    "DEV_TAB_HARDWARE_ERROR: {device}, entry at {address:#x}, type {}",
                    flags.kind() & 3
                )
            }
            Self::PageTabHardwareError { device, domain, address, flags } => {
                let kind = flags.kind() & 3;
                write!(
                    f,
                    "PAGE_TAB_HARDWARE_ERROR: {device} in domain {domain}, entry at {address:#x}, type {kind}"
                )
            }
            Self::IllegalCommandError { address } => {
                write!(f, "ILLEGAL_COMMAND_ERROR: command at {address:#x}")
            }
            Self::CommandHardwareError { address, error } => {
                write!(f, "COMMAND_HARDWARE_ERROR: command at {address:#x}, type {error}")
            }
            Self::IotlbInvTimeout { device, address } => {
                write!(f, "IOTLB_INV_TIMEOUT: {device}, command at {address:#x}")
            }
            Self::InvalidDeviceRequest { device, address, request, flags } => {
                write!(f, "INVALID_DEVICE_REQUEST: {device}, {} at {address:#x}, type {request}", what(flags))
            }
            Self::Other(entry) => {
                write!(f, "{}: {:#018x} {:#018x}", entry.code(), u64::from(entry.flags), entry.address)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        // A write of 00:04.0 in domain 5 that was not mapped.
        let entry = EventLogEntry { flags: EventFlags::from(0x2020_0005_0000_0020), address: 0xdead_b000 };
        let Event::IoPageFault { device, domain, address, flags } = entry.event() else {
            panic!("{entry:?}")
        };
        assert_eq!((device, domain, address), (DeviceId::new(0, 4, 0), DomainId(5), 0xdead_b000));
        assert!(flags.write() && !flags.present() && !flags.interrupt() && !flags.reserved());
        assert_eq!(
            entry.event().to_string(),
            "IO_PAGE_FAULT: 00:04.0 in domain 5, write at 0xdeadb000: not mapped"
        );
        let bit = |flags: EventFlags| u64::from(flags).trailing_zeros();
        assert_eq!(bit(EventFlags::new().with_guest(true)), 48);
        assert_eq!(bit(EventFlags::new().with_interrupt(true)), 51);
        assert_eq!(bit(EventFlags::new().with_translation(true)), 56);
        assert_eq!(bit(EventFlags::new().with_kind(1)), 57);
    }

    #[test]
    fn every_entry_is_an_event() {
        for code in 0..16u8 {
            let entry = EventLogEntry { flags: EventFlags::new().with_code(code).with_kind(7), address: 1 };
            let event = entry.event();
            assert_eq!(matches!(event, Event::Other(_)), !(1..=8).contains(&code));
            assert_eq!(event.device().is_some(), [1, 2, 3, 4, 7, 8].contains(&code));
            assert!(!event.to_string().is_empty());
        }
        assert_eq!(EventCode(15).to_string(), "unknown (0x0f)");
    }
}
