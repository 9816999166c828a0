//! AMD's IOMMU (AMD-Vi) as it lies in registers, in memory and in the firmware's IVRS table.
//!
//! Daemon and device model share these definitions, so that each field has one place and one citation. Sections are those
//! of the AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, revision 3.x. Values that a device,
//! a driver or firmware supplies are never enums: every bit pattern is a value of its type, and what it means is asked by
//! comparing with the named constants, or by decoding into an enum that has a variant for the rest.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("the IOMMU's structures are little-endian and are declared with the machine's integers");

mod command;
mod control;
mod device_table;
mod event;
mod features;
mod ids;
mod interrupt;
pub mod ivrs;
pub mod page_table;
pub mod registers;
mod sized;

pub use command::{
    Command, CompletionWait, InvalidateIotlbPages, InvalidatePages, InvalidatePagesRange, Opcode, Operation,
};
pub use control::Control;
pub use device_table::{
    DeviceTableEntry, DteAttributes, DteDomain, DteInterrupt, DtePaging, InterruptControl, PagingMode,
};
pub use event::{Event, EventCode, EventFlags, EventLogEntry, HardwareError, InvalidRequest};
pub use features::{ExtendedFeatures, ExtendedFeatures2};
pub use ids::{DeviceId, DomainId};
pub use interrupt::{InterruptType, Irte32, Irte128, IrteHigh, IrteLow};
pub use page_table::PageEntry;
pub use sized::SizedRange;

/// log2 of the smallest page.
pub const PAGE_SHIFT: u32 = 12;
/// The smallest page in bytes, and the unit of every table.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bits of a physical address that tables and registers can hold.
pub const PHYSICAL_BITS: u32 = 52;
/// Addresses of interrupt messages. A write there is no access to memory: interrupt remapping treats it (section 2.2.5).
pub const INTERRUPT_ADDRESSES: std::ops::RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;
