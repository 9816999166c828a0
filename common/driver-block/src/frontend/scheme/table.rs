//! Finding partitions through requests that are answered later.
//!
//! [`partitions::read`] wants blocks when it asks for them. It is run again whenever a block has come that it was missing:
//! a table is a few blocks, and what was read before is at hand.

use crate::{
    device::Disk,
    error::BlockError,
    partitions::{self, BlockReader, PartitionError, PartitionTable},
};

/// Most reads of one search. A table takes far fewer: a GPT's entries are at most 1,024, logical partitions 128.
const MOST_READS: usize = 512;

/// The search for the partitions of a disk.
#[derive(Debug)]
pub(super) struct TableSearch {
    block_size: u32,
    blocks: u64,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    wanted: Wanted,
    bytes: Result<Vec<u8>, BlockError>,
}

/// Blocks that have to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The first one.
    pub(super) lba: u64,
    /// How many bytes: whole blocks.
    pub(super) bytes: usize,
}

/// Where a search stands.
#[derive(Debug)]
pub(super) enum Search {
    /// These have to be read next.
    Wants(Wanted),
    /// It is over.
    Over(Result<PartitionTable, PartitionError>),
}

impl TableSearch {
    pub(super) fn new(disk: &Disk) -> Self {
        TableSearch { block_size: disk.limits.block_size, blocks: disk.blocks, known: Vec::new() }
    }

    /// What was wanted.
    pub(super) fn read(&mut self, wanted: Wanted, bytes: Result<Vec<u8>, BlockError>) {
        self.known.push(Known { wanted, bytes });
    }

    /// Goes on as far as possible.
    pub(super) fn go_on(&self) -> Search {
        let mut reader = Reader { search: self, wanted: None };
        let table = partitions::read(&mut reader);
        match reader.wanted {
            Some(wanted) => Search::Wants(wanted),
            None => Search::Over(table),
        }
    }
}

/// Reads what is known, and notes what is missing.
struct Reader<'a> {
    search: &'a TableSearch,
    wanted: Option<Wanted>,
}

impl BlockReader for Reader<'_> {
    fn block_size(&self) -> u32 {
        self.search.block_size
    }

    fn blocks(&self) -> u64 {
        self.search.blocks
    }

    fn read_blocks(&mut self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let wanted = Wanted { lba, bytes: buffer.len() };
        // What comes after something that is missing is not looked at: it could depend on it.
        if self.wanted.is_some() {
            return Err(BlockError::Transient);
        }
        match self.search.known.iter().find(|known| known.wanted == wanted) {
            Some(Known { bytes: Ok(bytes), .. }) if bytes.len() == buffer.len() => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            Some(Known { bytes: Ok(_), .. }) => Err(BlockError::Protocol),
            Some(Known { bytes: Err(error), .. }) => Err(*error),
            None if self.search.known.len() < MOST_READS => {
                self.wanted = Some(wanted);
                Err(BlockError::Transient)
            }
            None => Err(BlockError::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::DiskId, frontend::scheme::testing};

    fn search(image: &[u8], fails: Option<u64>) -> (Result<PartitionTable, PartitionError>, usize) {
        let disk = testing::disk(DiskId(1), image.len() as u64 / 512);
        let mut search = TableSearch::new(&disk);
        for reads in 0.. {
            match search.go_on() {
                Search::Wants(wanted) => {
                    let start = usize::try_from(wanted.lba).unwrap() * 512;
                    let bytes = match fails {
                        Some(lba) if lba == wanted.lba => Err(BlockError::Medium),
                        _ => Ok(image[start..start + wanted.bytes].to_vec()),
                    };
                    search.read(wanted, bytes);
                }
                Search::Over(table) => return (table, reads),
            }
        }
        unreachable!()
    }

    #[test]
    fn finds_what_reading_at_once_finds() {
        let image = testing::gpt_image(4096, &[(64, 100), (200, 1000)]);
        let (table, reads) = search(&image, None);
        let table = table.unwrap();
        assert_eq!(table, partitions::parse(&image, 512).unwrap());
        assert_eq!(table.partitions.len(), 2);
        assert!(reads >= 4, "{reads}");
    }

    #[test]
    fn a_block_that_cannot_be_read_is_one_for_the_table_too() {
        let image = testing::gpt_image(4096, &[(64, 100)]);
        // The primary header: the backup serves.
        assert_eq!(search(&image, Some(1)).0.unwrap().partitions.len(), 1);
        assert!(matches!(search(&image, Some(0)).0, Err(PartitionError::Read { lba: 0, .. })));
    }
}
