//! What a driver must not do.

use std::fmt;

/// Something the specification forbids the host. A real controller may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was written that is read only, or does not exist.
    ReadOnlyWrite {
        /// Offset of the register.
        offset: u64,
    },
    /// A register was accessed in a width that it does not have.
    RegisterWidth {
        /// Offset of the access.
        offset: u64,
        /// Its width in bytes.
        len: usize,
    },
    /// A doorbell was written while the controller was not ready.
    DoorbellNotReady {
        /// Offset of the doorbell.
        offset: u64,
    },
    /// A doorbell of a queue that does not exist was written.
    DoorbellUnknown {
        /// Offset of the doorbell.
        offset: u64,
    },
    /// A doorbell was given a value out of range, unchanged, or beyond what the queue holds.
    DoorbellValue {
        /// Offset of the doorbell.
        offset: u64,
        /// The value.
        value: u32,
    },
    /// CC.EN was set before CSTS.RDY had become 0.
    EnabledTooEarly,
    /// AQA, ASQ or ACQ was written while CC.EN was set.
    AdminQueueWhileEnabled {
        /// Offset of the register.
        offset: u64,
    },
    /// MPS, CSS or AMS was changed while CC.EN was set.
    ConfigurationWhileEnabled,
    /// CC.EN was set with a configuration that the controller does not support.
    Configuration {
        /// Which part.
        what: &'static str,
    },
    /// The interrupt mask registers were used with MSI-X.
    MaskWithMsix,
    /// A command was given the identifier of another that is outstanding.
    CommandId {
        /// Submission queue.
        sqid: u16,
        /// The identifier.
        cid: u16,
    },
    /// The host changed the host memory buffer while the controller owned it, or did not return what it promised to.
    HostMemoryChanged {
        /// Address of the page.
        address: u64,
    },
    /// The host took the host memory buffer away while the controller owned it.
    HostMemoryGone {
        /// Address of the page.
        address: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::ReadOnlyWrite { offset } => write!(f, "register {offset:#x} cannot be written"),
            Violation::RegisterWidth { offset, len } => {
                write!(f, "register {offset:#x} cannot be accessed by {len} bytes")
            }
            Violation::DoorbellNotReady { offset } => {
                write!(f, "doorbell {offset:#x} written while the controller is not ready")
            }
            Violation::DoorbellUnknown { offset } => write!(f, "doorbell {offset:#x} belongs to no queue"),
            Violation::DoorbellValue { offset, value } => {
                write!(f, "doorbell {offset:#x} cannot be given {value:#x}")
            }
            Violation::EnabledTooEarly => f.write_str("CC.EN set before CSTS.RDY was cleared"),
            Violation::AdminQueueWhileEnabled { offset } => {
                write!(f, "admin queue register {offset:#x} written while CC.EN is set")
            }
            Violation::ConfigurationWhileEnabled => f.write_str("CC changed while CC.EN is set"),
            Violation::Configuration { what } => write!(f, "enabled with unsupported {what}"),
            Violation::MaskWithMsix => f.write_str("INTMS or INTMC used with MSI-X"),
            Violation::CommandId { sqid, cid } => {
                write!(f, "command identifier {cid:#06x} is outstanding on submission queue {sqid}")
            }
            Violation::HostMemoryChanged { address } => {
                write!(f, "host memory buffer changed by the host at {address:#x}")
            }
            Violation::HostMemoryGone { address } => {
                write!(f, "host memory buffer taken away by the host at {address:#x}")
            }
        }
    }
}
