//! NVM Express as it lies in registers and memory.
//!
//! Driver and device model share these definitions, so that each field has one place and one citation. Sections are
//! those of the NVM Express Base Specification 1.4 unless another document is named; fields that came with 2.0 say so.
//! Values that a device or a driver supplies are never enums: every bit pattern is a value of its type, and what it
//! means is asked by comparing with the named constants.
#![forbid(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("NVMe structures are little-endian and are declared with the machine's integers");

mod command;
mod data;
mod entry;
mod event;
mod feature;
mod identify;
mod log;
mod memory;
mod opcode;
mod power;
pub mod registers;
mod status;
mod text;

pub use command::{
    AbortCdw10, CreateCqCdw11, CreateQueueCdw10, CreateSqCdw11, DsmCdw10, DsmCdw11, FeatureCdw10,
    IdentifyCdw10, LogCdw10, LogCdw11, ReadWriteCdw12, WriteZeroesCdw12,
};
pub use data::{DsmRange, SglDescriptor, SglType};
pub use entry::{Cdw0, CompletionEntry, CompletionStatus, SubmissionEntry};
pub use event::{AsyncEvent, ErrorEvent, EventType, NoticeEvent, SmartEvent};
pub use feature::{
    Arbitration, AsyncEventConfig, FeatureSelect, HostMemoryBuffer, InterruptCoalescing,
    InterruptVectorConfig, NumberOfQueues, PowerManagement, TemperatureThreshold, Timestamp,
    VolatileWriteCache,
};
pub use identify::{
    Cns, Deallocation, FormattedLba, IdentifierType, IdentifyController, IdentifyNamespace, LbaFormat,
    NamespaceFeatures, NamespaceIdentifier, NamespaceIdentifiers, NamespaceList, OptionalAdminCommands,
    OptionalNvmCommands, QueueEntrySize, SglSupport, WriteCache,
};
pub use log::{CriticalWarning, ErrorLogEntry, FirmwareSlotLog, SmartLog};
pub use memory::{HmbDescriptor, PAGE_SHIFT, PAGE_SIZE};
pub use opcode::{AdminOpcode, FeatureId, LogPage, NvmOpcode};
pub use power::{ApstEntry, ApstTable, PowerFlags, PowerStateDescriptor};
pub use status::{Status, StatusCodeType};
pub use text::ascii;

/// Namespace id that names every namespace (section 6.1.2).
pub const ALL_NAMESPACES: u32 = u32::MAX;
