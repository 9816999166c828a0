//! AHCI, and the part of ATA and ATAPI that goes through it, as they lie in registers and memory.
//!
//! Driver and device model share these definitions, so that each field has one place and one citation. "AHCI" is the
//! Serial ATA Advanced Host Controller Interface 1.3.1, "SATA" the Serial ATA specification 3.3, "ACS" the ATA Command Set
//! 4, "MMC" the MultiMedia Commands 6, "SPC" the SCSI Primary Commands 4. Values that a device or a driver supplies are
//! never enums: every bit pattern is a value of its type, and what it means is asked by comparing with the named
//! constants.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("AHCI structures are little-endian and are declared with the machine's integers");

pub mod atapi;
mod command;
mod fis;
mod identify;
mod log;
mod opcode;
pub mod pmp;
pub mod registers;
mod trim;

pub use command::{CommandHeader, HeaderFlags, PRDT_MAX_BYTES, PrdtEntry, TABLE_PRDT, table};
pub use fis::{
    DeviceToHost, FisType, HostToDevice, PmFlags, ReceivedFis, SetDeviceBits, device, ncq_count, received,
};
pub use identify::{Identify, ata_string};
pub use log::{GeneralPurposeLog, NcqErrorLog, NcqSendReceiveLog, SmartData};
pub use opcode::{AtaCommand, AtaError, AtaStatus, FeatureCode, SmartFeature};
pub use trim::{LbaRangeEntry, TRIM_BLOCK, TRIM_RANGES};
