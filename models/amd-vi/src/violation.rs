//! What a driver must not do.

use std::fmt;

use amd_vi_spec::{Command, DeviceId, DomainId};

/// Something the specification forbids the driver. A real IOMMU may do anything then; the model notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A register was accessed in a width that it does not have, or does not exist.
    Register {
        /// Offset in bytes.
        offset: u64,
        /// Width in bytes.
        len: usize,
    },
    /// A register that is read-only was written.
    ReadOnlyWrite {
        /// Offset in bytes.
        offset: u64,
    },
    /// A register was changed while what it is about was in use.
    InUse {
        /// Offset in bytes.
        offset: u64,
    },
    /// A register was given a value that it cannot have.
    Value {
        /// Offset in bytes.
        offset: u64,
        /// The value.
        value: u64,
    },
    /// A feature was switched on that is not there.
    Feature {
        /// Which.
        what: &'static str,
    },
    /// A command that is not one, or has reserved bits set.
    Command(Command),
    /// A device table entry with reserved bits or values.
    DeviceTableEntry(DeviceId),
    /// Something in a page table that cannot be, met while translating an address.
    PageTable {
        /// For which domain.
        domain: DomainId,
        /// For which address.
        address: u64,
    },
    /// A page of a size that takes several entries, and they differ.
    Replicas {
        /// For which domain.
        domain: DomainId,
        /// For which address.
        address: u64,
    },
    /// Devices with the same domain have different page tables.
    Domain(DomainId),
    /// An interrupt remapping table entry with reserved bits or values.
    InterruptEntry {
        /// Of which device.
        device: DeviceId,
        /// Which.
        index: u16,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Register { offset, len } => {
                write!(f, "register {offset:#x} cannot be accessed by {len} bytes")
            }
            Violation::ReadOnlyWrite { offset } => write!(f, "register {offset:#x} cannot be written"),
            Violation::InUse { offset } => write!(f, "register {offset:#x} was changed while in use"),
            Violation::Value { offset, value } => write!(f, "register {offset:#x} cannot be {value:#x}"),
            Violation::Feature { what } => write!(f, "there is no {what}"),
            Violation::Command(Command { low, high }) => write!(f, "command {low:#x} {high:#x}"),
            Violation::DeviceTableEntry(device) => write!(f, "device table entry of {device}"),
            Violation::PageTable { domain, address } => {
                write!(f, "page table of domain {domain} at {address:#x}")
            }
            Violation::Replicas { domain, address } => {
                write!(f, "entries of one page differ: domain {domain} at {address:#x}")
            }
            Violation::Domain(domain) => write!(f, "domain {domain} has two page tables"),
            Violation::InterruptEntry { device, index } => write!(f, "interrupt {index} of {device}"),
        }
    }
}
