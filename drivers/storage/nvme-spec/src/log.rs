//! Log pages.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::entry::CompletionStatus;

/// Critical Warning of the SMART log (section 5.14.1.2).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CriticalWarning {
    /// Spare is below its threshold.
    pub spare: bool,
    /// A temperature is beyond a threshold.
    pub temperature: bool,
    /// Reliability is degraded.
    pub reliability: bool,
    /// The medium is read only.
    pub read_only: bool,
    /// The backup of volatile memory failed.
    pub backup_failed: bool,
    /// The persistent memory region is unreliable.
    pub pmr_unreliable: bool,
    #[bits(2)]
    __: u8,
}

/// SMART / Health Information, 512 bytes (section 5.14.1.2). 128-bit counters are two 64-bit halves, low first.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct SmartLog {
    /// What is wrong.
    pub critical_warning: CriticalWarning,
    /// Composite temperature in kelvin.
    pub temperature: u16,
    /// Spare that is left, in percent.
    pub available_spare: u8,
    /// Spare at which to warn, in percent.
    pub available_spare_threshold: u8,
    /// Life that is used, in percent; may exceed 100.
    pub percentage_used: u8,
    /// Endurance group critical warning summary.
    pub endurance_group_warning: u8,
    /// Reserved.
    pub reserved7: [u8; 25],
    /// Data read, in units of 1000 × 512 bytes.
    pub data_units_read: [u64; 2],
    /// Data written, in units of 1000 × 512 bytes.
    pub data_units_written: [u64; 2],
    /// Read and compare commands.
    pub host_reads: [u64; 2],
    /// Write commands.
    pub host_writes: [u64; 2],
    /// Minutes that the controller was busy.
    pub busy_minutes: [u64; 2],
    /// Power cycles.
    pub power_cycles: [u64; 2],
    /// Hours that power was on.
    pub power_on_hours: [u64; 2],
    /// Power losses without a shutdown.
    pub unsafe_shutdowns: [u64; 2],
    /// Unrecovered media and data integrity errors.
    pub media_errors: [u64; 2],
    /// Entries ever made in the error information log.
    pub error_log_entries: [u64; 2],
    /// Minutes over WCTEMP.
    pub warning_temperature_minutes: u32,
    /// Minutes over CCTEMP.
    pub critical_temperature_minutes: u32,
    /// Sensors 1 to 8 in kelvin; 0: none.
    pub sensors: [u16; 8],
    /// Reserved or thermal management counters.
    pub reserved216: [u8; 296],
}

const _: () = assert!(size_of::<SmartLog>() == 512);

impl SmartLog {
    /// A 128-bit counter, saturated to 64 bits.
    pub const fn saturated([low, high]: [u64; 2]) -> u64 {
        if high == 0 { low } else { u64::MAX }
    }
}

/// Entry of the Error Information log, 64 bytes (section 5.14.1.1). Newest first; a zero count marks an empty entry.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ErrorLogEntry {
    /// Number of this error, from 1.
    pub error_count: u64,
    /// Submission queue of the command.
    pub sqid: u16,
    /// Command identifier.
    pub cid: u16,
    /// Its status, as in its completion.
    pub status: CompletionStatus,
    /// Byte (bits 7:0) and bit (bits 10:8) of the command that the error is about; all ones: none.
    pub parameter_location: u16,
    /// First logical block with the error.
    pub lba: u64,
    /// Namespace.
    pub nsid: u32,
    /// Vendor specific log page with more; 0: none.
    pub vendor_info: u8,
    /// Transport type.
    pub transport_type: u8,
    /// Reserved.
    pub reserved30: [u8; 2],
    /// Command specific information.
    pub command_specific: u64,
    /// Transport specific information.
    pub transport_specific: u16,
    /// Reserved.
    pub reserved42: [u8; 22],
}

const _: () = assert!(size_of::<ErrorLogEntry>() == 64);

/// Firmware Slot Information, 512 bytes (section 5.14.1.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareSlotLog {
    /// AFI: running slot in bits 2:0, slot after the next reset in bits 6:4 (0: the same).
    pub active: u8,
    /// Reserved.
    pub reserved1: [u8; 7],
    /// Revision in each slot, ASCII; zeroes: empty.
    pub slots: [[u8; 8]; 7],
    /// Reserved.
    pub reserved64: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareSlotLog>() == 512);
