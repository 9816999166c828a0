//! Partition tables: what is on a disk, and windows that requests cannot leave.
//!
//! [`read`] finds the partitions of a disk behind any [`BlockReader`], [`parse`] those of an image in memory. A table
//! is a client's data and may be damaged, truncated or made to deceive: what it says is checked against the disk, a
//! bounded number of blocks is read, and no partition that is handed out reaches beyond the disk, overlaps another, or
//! covers the table itself. What was left out is said in [`PartitionTable::warnings`].

mod claims;
mod device;
mod error;
mod gpt;
mod mbr;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod window;

use std::fmt;

use uuid::Uuid;

pub use device::read_from;
pub use error::{GptDamage, PartitionError, Warning};
pub use gpt::MAX_ENTRIES;
pub use mbr::MAX_LOGICAL;
pub use reader::{BlockReader, Image, MAX_READ};
pub use window::Window;

use mbr::BootRecord;
use reader::Disk;

/// The format of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// The disk has no partition table that is known here.
    None,
    /// A master boot record.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

/// By what a table identifies its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskIdentifier {
    /// The disk signature of a master boot record.
    Mbr(u32),
    /// The disk GUID.
    Gpt(Uuid),
}

impl fmt::Display for DiskIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskIdentifier::Mbr(signature) => write!(f, "{signature:08x}"),
            DiskIdentifier::Gpt(guid) => guid.fmt(f),
        }
    }
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionType {
    /// The type byte of a master boot record.
    Mbr(u8),
    /// The partition type GUID.
    Gpt(Uuid),
}

impl fmt::Display for PartitionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionType::Mbr(kind) => write!(f, "{kind:#04x}"),
            PartitionType::Gpt(guid) => guid.fmt(f),
        }
    }
}

/// By what a partition is found again. Displayed as Linux's PARTUUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionId {
    /// A master boot record has nothing better than the disk's signature and the number.
    Mbr {
        /// The disk signature.
        disk: u32,
        /// The partition's number.
        number: u32,
    },
    /// The unique partition GUID.
    Gpt(Uuid),
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionId::Mbr { disk, number } => write!(f, "{disk:08x}-{number:02x}"),
            PartitionId::Gpt(guid) => guid.fmt(f),
        }
    }
}

/// One partition. It is not empty, lies within the disk and overlaps no other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1, as Linux counts: a GPT's by the place in the table, a master boot record's 1 to 4 for primary and from
    /// 5 for logical ones. Numbers may be missing.
    pub number: u32,
    /// Which blocks of the disk it has.
    pub window: Window,
    /// What it is for.
    pub kind: PartitionType,
    /// By what it is found again.
    pub id: PartitionId,
    /// The name; empty where there is none. Anything may be in it: not to be used as a path or shown unescaped.
    pub name: String,
}

impl Partition {
    /// Its first block on the disk.
    pub const fn start(&self) -> u64 {
        self.window.start()
    }

    /// How many blocks it has.
    pub const fn blocks(&self) -> u64 {
        self.window.blocks()
    }
}

/// The partitions of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// In which format they are noted.
    pub kind: TableKind,
    /// By what the table identifies the disk.
    pub disk: Option<DiskIdentifier>,
    /// In the order of their numbers.
    pub partitions: Vec<Partition>,
    /// What is wrong with the table, and what was left out for it.
    pub warnings: Vec<Warning>,
}

impl PartitionTable {
    const fn none() -> Self {
        PartitionTable { kind: TableKind::None, disk: None, partitions: Vec::new(), warnings: Vec::new() }
    }
}

/// Finds the partitions of a disk.
///
/// A GPT is used where the master boot record has an entry for it (UEFI 2.10, 5.2.3), whatever else is in there.
///
/// # Errors
/// If block 0 cannot be read, the blocks' size is neither 512 nor 4096 bytes, or both copies of a GPT are damaged.
/// The disk is to be used without partitions then.
pub fn read(reader: &mut dyn BlockReader) -> Result<PartitionTable, PartitionError> {
    let mut disk = Disk::new(reader)?;
    if disk.blocks() == 0 {
        return Ok(PartitionTable::none());
    }
    let block = disk.read_block(0).map_err(|error| PartitionError::Read { lba: 0, error })?;
    match BootRecord::parse(&block) {
        Some(record) if record.announces_gpt() => gpt::read(&mut disk, record.is_hybrid()),
        Some(record) => Ok(mbr::read(&mut disk, &record)),
        None => Ok(PartitionTable::none()),
    }
}

/// Finds the partitions in the image of a disk with blocks of `block_size` bytes.
///
/// # Errors
/// As [`read`].
pub fn parse(image: &[u8], block_size: u32) -> Result<PartitionTable, PartitionError> {
    read(&mut Image::new(image, block_size))
}
