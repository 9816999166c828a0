//! What can be wrong with an IVRS. Offsets are in bytes from the start of the table.

use std::fmt;

use super::BlockType;
use crate::DeviceId;

/// The table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IvrsError {
    /// The bytes end before the table does.
    #[error("IVRS: {wanted} bytes wanted at offset {offset:#x}, {left} are left")]
    Truncated {
        /// Where they are wanted.
        offset: usize,
        /// How many.
        wanted: usize,
        /// How many are there.
        left: usize,
    },
    /// It is another table.
    #[error("IVRS: signature is {0:02x?}")]
    Signature([u8; 4]),
    /// The length in the header is less than the header, or more than there is.
    #[error("IVRS: length in the header is {length}, of {available} bytes")]
    Length {
        /// What the header says.
        length: u32,
        /// What there is.
        available: usize,
    },
    /// The bytes do not sum up to zero.
    #[error("IVRS: bytes sum up to {0:#04x} instead of 0")]
    Checksum(u8),
    /// A block is shorter than its header, or longer than the table.
    #[error("IVRS: block of type {kind} at offset {offset:#x} has length {length}")]
    BlockLength {
        /// Where the block starts.
        offset: usize,
        /// Its type.
        kind: BlockType,
        /// What it says.
        length: usize,
    },
    /// A device entry is longer than its block.
    #[error(
        "IVRS: device entry of type {kind:#04x} at offset {offset:#x} has length {length}, {left} bytes are left"
    )]
    EntryLength {
        /// Where the entry starts.
        offset: usize,
        /// Its type.
        kind: u8,
        /// Its length by its type.
        length: usize,
        /// What is left of the block.
        left: usize,
    },
    /// The registers of an IOMMU are nowhere.
    #[error("IVRS: block at offset {offset:#x} has base address {base:#x}")]
    BaseAddress {
        /// Where the block starts.
        offset: usize,
        /// What it says.
        base: u64,
    },
    /// A range of memory ends beyond the address space.
    #[error("IVRS: memory block at offset {offset:#x} starts at {start:#x} and has length {length:#x}")]
    MemoryRange {
        /// Where the block starts.
        offset: usize,
        /// Start of the memory.
        start: u64,
        /// Its length.
        length: u64,
    },
}

/// Something that was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// A block of a type that is unknown.
    Block {
        /// Where it starts.
        offset: usize,
        /// Its type.
        kind: BlockType,
        /// Its length in bytes.
        length: usize,
    },
    /// A device entry of a type that is unknown, or that the type of the block does not have.
    Entry {
        /// Where it starts.
        offset: usize,
        /// Its type.
        kind: u8,
        /// Its length in bytes.
        length: usize,
    },
    /// The start of a range that is not followed by its end.
    RangeWithoutEnd {
        /// Where the entry starts.
        offset: usize,
        /// The first device.
        first: DeviceId,
    },
    /// The end of a range that did not start, or that ends before it starts.
    RangeWithoutStart {
        /// Where the entry starts.
        offset: usize,
        /// The last device.
        last: DeviceId,
    },
    /// The format of an ACPI device's unique id is unknown, or its length is another than the format's.
    UidFormat {
        /// Where the entry starts.
        offset: usize,
        /// The format.
        format: u8,
        /// The length in bytes.
        length: u8,
    },
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { offset, kind, length } => {
                write!(f, "block of type {kind} at offset {offset:#x}, {length} bytes")
            }
            Self::Entry { offset, kind, length } => {
                write!(f, "device entry of type {kind:#04x} at offset {offset:#x}, {length} bytes")
            }
            Self::RangeWithoutEnd { offset, first } => {
                write!(f, "device range from {first} at offset {offset:#x} has no end")
            }
            Self::RangeWithoutStart { offset, last } => {
                write!(f, "device range to {last} at offset {offset:#x} has no start")
            }
            Self::UidFormat { offset, format, length } => {
                write!(f, "unique id of format {format} and {length} bytes at offset {offset:#x}")
            }
        }
    }
}
