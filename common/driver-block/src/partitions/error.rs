//! What can be wrong with a partition table.

use crate::error::BlockError;

/// Why the partitions of a disk cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Partition tables are defined for other block sizes.
    #[error("no partition table on blocks of {0} bytes: only 512 and 4096 are known")]
    BlockSize(u32),
    /// The block that everything begins with cannot be read.
    #[error("reading the master boot record at block {lba}: {error}")]
    Read {
        /// Which block.
        lba: u64,
        /// Why.
        error: BlockError,
    },
    /// There should be a GPT, but nothing of it can be trusted.
    #[error("both copies of the GPT are damaged: the primary: {primary}; the backup: {backup}")]
    Gpt {
        /// What is wrong with the copy at the disk's beginning.
        primary: GptDamage,
        /// What is wrong with the copy at the disk's end.
        backup: GptDamage,
    },
}

/// What is wrong with one copy of a GPT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GptDamage {
    /// Its place is not on the disk.
    #[error("block {lba} is not on the disk of {blocks} blocks")]
    Absent {
        /// Where its header should be.
        lba: u64,
        /// The disk's capacity.
        blocks: u64,
    },
    /// A block of it cannot be read.
    #[error("reading block {lba}: {error}")]
    Read {
        /// The first block of the read that failed.
        lba: u64,
        /// Why.
        error: BlockError,
    },
    /// The header is not one.
    #[error("no signature in the header at block {lba}")]
    Signature {
        /// Where the header should be.
        lba: u64,
    },
    /// The header's checksum does not match.
    #[error("wrong checksum of the header at block {lba}")]
    HeaderChecksum {
        /// Where the header is.
        lba: u64,
    },
    /// The header is intact, but says something that cannot be, or that is not supported.
    #[error("{what} {value} in the header at block {lba}")]
    Header {
        /// Where the header is.
        lba: u64,
        /// Which field.
        what: &'static str,
        /// What the field is.
        value: u64,
    },
    /// The checksum of the partition entries does not match.
    #[error("wrong checksum of the partition entries at block {lba}")]
    EntriesChecksum {
        /// Where the entries begin.
        lba: u64,
    },
}

/// Something in a table was mended or left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A partition is left out: its end comes before its beginning.
    #[error("partition {number} left out: its last block {last} comes before its first {first}")]
    Reversed {
        /// The partition.
        number: u32,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
    },
    /// A partition is left out: it reaches beyond where it has to be.
    #[error(
        "partition {number} left out: blocks {first} to {last} are not within the {place}, \
         which is blocks {place_first} to {place_last}"
    )]
    Outside {
        /// The partition.
        number: u32,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
        /// What it has to be in.
        place: &'static str,
        /// The first block of that.
        place_first: u64,
        /// The last block of that.
        place_last: u64,
    },
    /// A partition is left out: something else has some of its blocks.
    #[error(
        "partition {number} left out: blocks {first} to {last} overlap what is in blocks {other_first} to {other_last}"
    )]
    Overlap {
        /// The partition.
        number: u32,
        /// Its first block.
        first: u64,
        /// Its last block.
        last: u64,
        /// The first block of the other partition, or of a part of the table.
        other_first: u64,
        /// The last block of it.
        other_last: u64,
    },
    /// An entry has blocks but is marked as unused.
    #[error("partition {number} left out: it has no type")]
    Untyped {
        /// The partition.
        number: u32,
    },
    /// An extended partition reaches beyond the disk; what is in it is judged by itself.
    #[error("extended partition {number} reaches to block {last}, the disk has {blocks} blocks")]
    ExtendedTooLong {
        /// The extended partition.
        number: u32,
        /// Its last block as the table says.
        last: u64,
        /// The disk's capacity.
        blocks: u64,
    },
    /// A link of the chain of logical partitions cannot be read; what follows is not known.
    #[error("logical partitions from {number} on are lost: reading block {lba}: {error}")]
    ChainRead {
        /// The first partition that is lost.
        number: u32,
        /// Where the chain goes on.
        lba: u64,
        /// Why the block cannot be read.
        error: BlockError,
    },
    /// A link of the chain of logical partitions is not one.
    #[error("logical partitions from {number} on are lost: no signature in block {lba}")]
    ChainSignature {
        /// The first partition that is lost.
        number: u32,
        /// Where the chain goes on.
        lba: u64,
    },
    /// The chain of logical partitions leaves the extended partition or the disk.
    #[error("logical partitions from {number} on are lost: block {lba} is outside of the extended partition")]
    ChainOutside {
        /// The first partition that is lost.
        number: u32,
        /// Where the chain goes on.
        lba: u64,
    },
    /// The chain of logical partitions leads back to itself or into a partition.
    #[error(
        "logical partitions from {number} on are lost: the chain leads back into blocks {other_first} to {other_last}"
    )]
    ChainLoop {
        /// The first partition that is lost.
        number: u32,
        /// The first block of what is at the place.
        other_first: u64,
        /// The last block of it.
        other_last: u64,
    },
    /// The chain of logical partitions has more links than are followed.
    #[error("logical partitions from {number} on are left out: more than {limit} links")]
    ChainTooLong {
        /// The first partition that is left out.
        number: u32,
        /// How many links are followed.
        limit: u32,
    },
    /// The master boot record has partitions beside its entry for the GPT. They are not used.
    #[error("hybrid master boot record: only the GPT is used")]
    Hybrid,
    /// The copy at the disk's beginning is damaged, the one at the end is used.
    #[error("the primary GPT is damaged and its backup used: {0}")]
    Primary(GptDamage),
    /// The copy at the disk's end is damaged.
    #[error("the backup of the GPT is damaged: {0}")]
    Backup(GptDamage),
    /// The backup is not in the disk's last block: the disk has grown.
    #[error("the backup of the GPT is at block {lba} instead of the last, {last}")]
    BackupMisplaced {
        /// Where the backup is.
        lba: u64,
        /// The disk's last block.
        last: u64,
    },
    /// Both copies are intact and say different things. The primary is used.
    #[error("the backup of the GPT differs from the primary, which is used")]
    CopiesDiffer,
}
