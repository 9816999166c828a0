//! What a driver must not do.

use std::fmt;

/// Something the specification forbids the driver. A real device may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was accessed in a width that it does not have, or does not exist.
    Register {
        /// Offset in the BAR.
        offset: u64,
        /// Width in bytes.
        len: usize,
    },
    /// A field that is read-only was written.
    ReadOnlyWrite {
        /// Offset in the BAR.
        offset: u64,
    },
    /// A step of the initialization came at the wrong time.
    Order {
        /// Which step.
        what: &'static str,
    },
    /// A feature was accepted that is not offered, or that depends on another one.
    Feature {
        /// The bits.
        bits: u64,
    },
    /// A queue was given a size or an address that it cannot have.
    QueueSetup {
        /// The queue.
        queue: u16,
        /// What is wrong.
        what: &'static str,
    },
    /// A notification of a queue that is not in use, or with wrong data.
    Notification {
        /// The value written.
        value: u32,
    },
    /// A chain or ring is not as it must be.
    Ring {
        /// The queue.
        queue: u16,
        /// What is wrong.
        what: &'static str,
    },
    /// A request is not as the type of the device wants it.
    Request {
        /// The queue.
        queue: u16,
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Register { offset, len } => {
                write!(f, "register {offset:#x} cannot be accessed by {len} bytes")
            }
            Violation::ReadOnlyWrite { offset } => write!(f, "register {offset:#x} cannot be written"),
            Violation::Order { what } => write!(f, "{what} at the wrong time"),
            Violation::Feature { bits } => write!(f, "features {bits:#x} cannot be accepted"),
            Violation::QueueSetup { queue, what } => write!(f, "queue {queue}: {what}"),
            Violation::Notification { value } => write!(f, "notification {value:#x}"),
            Violation::Ring { queue, what } | Violation::Request { queue, what } => {
                write!(f, "queue {queue}: {what}")
            }
        }
    }
}
