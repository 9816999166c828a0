//! A disk of few blocks that are not zero, and how tables get on it.

use std::collections::BTreeMap;

use crate::{
    BlockError,
    partitions::{BlockReader, MAX_ENTRIES, MAX_LOGICAL, Partition, PartitionError, PartitionTable, read},
};

/// A disk, with a count of what was read.
#[derive(Clone, Debug)]
pub(crate) struct Sparse {
    pub(crate) block_size: u32,
    pub(crate) blocks: u64,
    pub(crate) contents: BTreeMap<u64, Vec<u8>>,
    /// Blocks that cannot be read.
    pub(crate) bad: Vec<u64>,
    pub(crate) blocks_read: u64,
}

impl BlockReader for Sparse {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn read_blocks(&mut self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        assert!(!buffer.is_empty() && buffer.len() <= 16 << 10, "{} bytes in one read", buffer.len());
        assert!(buffer.len().is_multiple_of(self.block_size as usize), "a read of part of a block");
        for (lba, block) in (lba..).zip(buffer.chunks_mut(self.block_size as usize)) {
            assert!(lba < self.blocks, "read of block {lba} of {}", self.blocks);
            self.blocks_read += 1;
            if self.bad.contains(&lba) {
                return Err(BlockError::Medium);
            }
            match self.contents.get(&lba) {
                Some(contents) => block.copy_from_slice(contents),
                None => block.fill(0),
            }
        }
        Ok(())
    }
}

impl Sparse {
    pub(crate) fn new(block_size: u32, blocks: u64) -> Self {
        Sparse { block_size, blocks, contents: BTreeMap::new(), bad: Vec::new(), blocks_read: 0 }
    }

    /// The disk of a fixture: its size, and sixteen bytes per line.
    pub(crate) fn fixture(text: &str) -> Self {
        let mut disk = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["size", size, "block", block] => {
                    let block: u32 = block.parse().unwrap();
                    let size: u64 = size.parse().unwrap();
                    disk = Some(Sparse::new(block, size / u64::from(block)));
                }
                [offset, hex] => {
                    let offset = u64::from_str_radix(offset, 16).unwrap();
                    let bytes: Vec<u8> =
                        (0..16).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
                    disk.as_mut().unwrap().write(offset, &bytes);
                }
                _ => panic!("bad line {line:?}"),
            }
        }
        disk.unwrap()
    }

    pub(crate) fn block(&mut self, lba: u64) -> &mut Vec<u8> {
        self.contents.entry(lba).or_insert_with(|| vec![0; self.block_size as usize])
    }

    /// Writes bytes, which do not cross a block's end.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (lba, at) = (offset / u64::from(self.block_size), (offset % u64::from(self.block_size)) as usize);
        self.block(lba)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a boot record with entries of boot indicator, type, start and number of blocks.
    pub(crate) fn boot_record(&mut self, lba: u64, entries: &[(u8, u8, u32, u32)]) {
        let block = self.block(lba);
        for (at, (boot, kind, start, blocks)) in (446..).step_by(16).zip(entries) {
            block[at] = *boot;
            block[at + 4] = *kind;
            block[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            block[at + 12..at + 16].copy_from_slice(&blocks.to_le_bytes());
        }
        block[510..512].copy_from_slice(&[0x55, 0xaa]);
    }

    /// All bytes, for a disk that is small enough.
    pub(crate) fn image(&self) -> Vec<u8> {
        let size = self.block_size as usize;
        let mut image = vec![0; size * usize::try_from(self.blocks).unwrap()];
        for (lba, block) in self.contents.range(..self.blocks) {
            let at = size * usize::try_from(*lba).unwrap();
            image[at..at + size].copy_from_slice(block);
        }
        image
    }

    /// Reads the table and checks what is promised for any.
    pub(crate) fn table(&mut self) -> Result<PartitionTable, PartitionError> {
        self.blocks_read = 0;
        let table = read(self);
        let entry_blocks = (u64::from(MAX_ENTRIES) * 128).div_ceil(self.block_size.into());
        let limit = (1 + u64::from(MAX_LOGICAL)).max(3 + 2 * entry_blocks);
        assert!(self.blocks_read <= limit, "{} blocks read", self.blocks_read);
        if let Ok(table) = &table {
            self.check(&table.partitions);
        }
        table
    }

    fn check(&self, partitions: &[Partition]) {
        assert!(partitions.is_sorted_by(|one, two| one.number < two.number), "{partitions:?}");
        let mut by_start: Vec<&Partition> = partitions.iter().collect();
        by_start.sort_by_key(|partition| partition.start());
        let mut free = 1;
        for partition in by_start {
            assert!(partition.number >= 1 && partition.blocks() >= 1, "{partition:?}");
            assert!(partition.start() >= free, "{partition:?} overlaps what ends before {free}");
            free = partition.start().checked_add(partition.blocks()).unwrap();
        }
        assert!(free <= self.blocks.max(1), "partitions to block {free} on a disk of {}", self.blocks);
    }
}

/// Numbers, starts and lengths.
pub(crate) fn spans(table: &PartitionTable) -> Vec<(u32, u64, u64)> {
    table.partitions.iter().map(|part| (part.number, part.start(), part.blocks())).collect()
}

/// A GPT to be written.
#[derive(Clone, Debug)]
pub(crate) struct Gpt {
    pub(crate) entries: u32,
    pub(crate) first_usable: u64,
    pub(crate) last_usable: u64,
    pub(crate) primary_array: u64,
    pub(crate) backup_array: u64,
    /// Number, first and last block.
    pub(crate) partitions: Vec<(u32, u64, u64)>,
}

/// The type of the partitions that are written.
pub(crate) const TYPE: [u8; 16] = *b"a type GUID here";

impl Gpt {
    /// With room for `entries` entries on a disk like `disk`.
    pub(crate) fn new(disk: &Sparse, entries: u32, partitions: &[(u32, u64, u64)]) -> Self {
        let array = (u64::from(entries) * 128).div_ceil(disk.block_size.into());
        Gpt {
            entries,
            first_usable: 2 + array,
            last_usable: disk.blocks - 2 - array,
            primary_array: 2,
            backup_array: disk.blocks - 1 - array,
            partitions: partitions.to_vec(),
        }
    }

    /// Writes the protective record and both copies.
    pub(crate) fn write(&self, disk: &mut Sparse) {
        let last = disk.blocks - 1;
        disk.boot_record(0, &[(0, 0xee, 1, u32::try_from(last).unwrap_or(u32::MAX))]);
        for (lba, other, array) in [(1, last, self.primary_array), (last, 1, self.backup_array)] {
            for &(number, first, end) in &self.partitions {
                let mut entry = [0; 128];
                entry[..16].copy_from_slice(&TYPE);
                entry[16..20].copy_from_slice(&number.to_le_bytes());
                entry[32..40].copy_from_slice(&first.to_le_bytes());
                entry[40..48].copy_from_slice(&end.to_le_bytes());
                entry[56] = b'p';
                let at = array * u64::from(disk.block_size) + 128 * u64::from(number - 1);
                disk.write(at, &entry);
            }
            let mut header = [0; 92];
            header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
            for (at, value) in [
                (24, lba),
                (32, other),
                (40, self.first_usable),
                (48, self.last_usable),
                (72, array),
                (80, u64::from(self.entries) | 128 << 32),
            ] {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            header[56..72].copy_from_slice(b"the disk's GUID!");
            disk.block(lba)[..92].copy_from_slice(&header);
            seal(disk, lba);
        }
    }
}

/// Makes the checksums of the copy whose header is at `lba` right, as far as it can be known what they cover.
pub(crate) fn seal(disk: &mut Sparse, lba: u64) {
    let header = disk.block(lba).clone();
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let start = u64::from_le_bytes(header[72..80].try_into().unwrap());
    let mut left = u64::from(number(80)) * u64::from(number(84));
    let mut crc = crc32fast::Hasher::new();
    if left <= 1 << 20 && start <= disk.blocks {
        for at in start.. {
            if left == 0 {
                break;
            }
            let take = left.min(disk.block_size.into());
            match disk.contents.get(&at) {
                Some(block) => crc.update(&block[..take as usize]),
                None => crc.update(&vec![0; take as usize]),
            }
            left -= take;
        }
    }
    let block = disk.block(lba);
    block[88..92].copy_from_slice(&crc.finalize().to_le_bytes());
    block[16..20].fill(0);
    let crc = crc32fast::hash(&block[..92]);
    block[16..20].copy_from_slice(&crc.to_le_bytes());
}
