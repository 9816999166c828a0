//! Master boot records, and the chains of logical partitions in extended ones.
//!
//! The layout is that of UEFI 2.10, 5.2.1; the chain is as all systems have it, though no specification does. Addresses
//! count logical blocks, whatever their size.

use zerocopy::{
    FromBytes, Immutable, KnownLayout,
    little_endian::{U16, U32},
};

use super::{
    DiskIdentifier, Partition, PartitionId, PartitionTable, PartitionType, TableKind, Window, claims::Claims,
    error::Warning, reader::Disk,
};

/// Most links of chains of logical partitions that are followed on one disk.
pub const MAX_LOGICAL: u32 = 128;

/// The type of the entry that protects a GPT.
const TYPE_GPT: u8 = 0xee;

/// One entry. Addresses in cylinders, heads and sectors are not used.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Entry {
    boot: u8,
    _chs_first: [u8; 3],
    kind: u8,
    _chs_last: [u8; 3],
    start: U32,
    blocks: U32,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn is_empty(&self) -> bool {
        self.blocks.get() == 0
    }

    /// First and last block, where the entry counts from `base`. Not for an empty entry.
    fn span(&self, base: u64) -> (u64, u64) {
        let first = base.saturating_add(self.start.get().into());
        (first, first.saturating_add(u64::from(self.blocks.get()).saturating_sub(1)))
    }
}

/// A master boot record, or the record that begins a logical partition.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BootRecord {
    _code: [u8; 440],
    disk: U32,
    _reserved: U16,
    entries: [Entry; 4],
    signature: U16,
}

impl BootRecord {
    fn with_signature(block: &[u8]) -> Option<Self> {
        let (record, _) = BootRecord::read_from_prefix(block).ok()?;
        (record.signature.get() == 0xaa55).then_some(record)
    }

    /// The master boot record in `block`. The boot sector of a file system has the same signature, but code or text
    /// where the boot indicators are.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        Self::with_signature(block)
            .filter(|record| record.entries.iter().all(|entry| matches!(entry.boot, 0 | 0x80)))
    }

    /// Whether the disk has a GPT.
    pub(super) fn announces_gpt(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind == TYPE_GPT)
    }

    /// Whether there are partitions beside the entry for the GPT.
    pub(super) fn is_hybrid(&self) -> bool {
        self.entries.iter().any(|entry| entry.kind != TYPE_GPT && entry.kind != 0 && !entry.is_empty())
    }
}

/// The table while it is read.
struct Builder<'d, 'r> {
    reader: &'d mut Disk<'r>,
    disk: u32,
    partitions: Vec<Partition>,
    warnings: Vec<Warning>,
    /// The number of the next logical partition.
    next_logical: u32,
    /// How many more links are followed.
    links: u32,
}

/// Reads the partitions of `record`.
pub(super) fn read(reader: &mut Disk<'_>, record: &BootRecord) -> PartitionTable {
    let mut builder = Builder {
        reader,
        disk: record.disk.get(),
        partitions: Vec::new(),
        warnings: Vec::new(),
        next_logical: 5,
        links: MAX_LOGICAL,
    };
    builder.primary(record);
    let Builder { disk, mut partitions, warnings, .. } = builder;
    partitions.sort_by_key(|partition| partition.number);
    PartitionTable { kind: TableKind::Mbr, disk: Some(DiskIdentifier::Mbr(disk)), partitions, warnings }
}

impl Builder<'_, '_> {
    fn last_block(&self) -> u64 {
        self.reader.blocks().saturating_sub(1)
    }

    /// Adds a partition if it is within `place` and free of `claims`.
    fn add(
        &mut self,
        number: u32,
        kind: u8,
        (first, last): (u64, u64),
        (place, place_first, place_last): (&'static str, u64, u64),
        claims: &mut Claims,
    ) {
        let blocks = last.saturating_sub(first).saturating_add(1);
        let window = Window::new(first, blocks, self.reader.blocks());
        let Some(window) = window.filter(|_| first >= place_first && last <= place_last) else {
            self.warnings.push(Warning::Outside { number, first, last, place, place_first, place_last });
            return;
        };
        if let Err((other_first, other_last)) = claims.claim(first, last) {
            self.warnings.push(Warning::Overlap { number, first, last, other_first, other_last });
            return;
        }
        self.partitions.push(Partition {
            number,
            window,
            kind: PartitionType::Mbr(kind),
            id: PartitionId::Mbr { disk: self.disk, number },
            name: String::new(),
        });
    }

    fn primary(&mut self, record: &BootRecord) {
        let mut claims = Claims::default();
        // Cannot fail, there is nothing yet: the record itself.
        let _ = claims.claim(0, 0);
        let end = self.last_block();
        for (number, entry) in (1..).zip(&record.entries) {
            if entry.is_empty() {
                continue;
            }
            let (first, last) = entry.span(0);
            if entry.kind == 0 {
                self.warnings.push(Warning::Untyped { number });
            } else if !entry.is_extended() {
                self.add(number, entry.kind, (first, last), ("disk", 0, end), &mut claims);
            } else if first > end {
                let (place, place_first, place_last) = ("disk", 0, end);
                self.warnings.push(Warning::Outside { number, first, last, place, place_first, place_last });
            } else if let Err((other_first, other_last)) = claims.claim(first, last) {
                self.warnings.push(Warning::Overlap { number, first, last, other_first, other_last });
            } else {
                if last > end {
                    let blocks = self.reader.blocks();
                    self.warnings.push(Warning::ExtendedTooLong { number, last, blocks });
                }
                self.extended(first, last.min(end));
            }
        }
    }

    /// Follows the chain that begins with the extended partition's first block. Each record's first entry is a
    /// logical partition, counted from the record; the second leads to the next record, counted from the beginning of
    /// the extended partition. In place of the first there may be nothing; some systems swap the two. Others are not
    /// used.
    fn extended(&mut self, first: u64, last: u64) {
        let mut claims = Claims::default();
        let mut link = Some(first);
        while let Some(lba) = link {
            let number = self.next_logical;
            if lba < first || lba > last {
                self.warnings.push(Warning::ChainOutside { number, lba });
                return;
            }
            // Where a record has been read before, or a partition is: the chain is a loop, or a client's data.
            if let Err((other_first, other_last)) = claims.claim(lba, lba) {
                self.warnings.push(Warning::ChainLoop { number, other_first, other_last });
                return;
            }
            let Some(left) = self.links.checked_sub(1) else {
                self.warnings.push(Warning::ChainTooLong { number, limit: MAX_LOGICAL });
                return;
            };
            self.links = left;
            let block = match self.reader.read_block(lba) {
                Ok(block) => block,
                Err(error) => {
                    self.warnings.push(Warning::ChainRead { number, lba, error });
                    return;
                }
            };
            let Some(record) = BootRecord::with_signature(&block) else {
                self.warnings.push(Warning::ChainSignature { number, lba });
                return;
            };
            let [one, two, ..] = record.entries;
            let used = [one, two].into_iter().filter(|entry| !entry.is_empty());
            for entry in used.clone().filter(|entry| !entry.is_extended()) {
                self.logical(&entry, lba, (first, last), &mut claims);
            }
            link = used.clone().find(Entry::is_extended).map(|entry| entry.span(first).0);
        }
    }

    /// Takes a number in any case, as Linux does: those of the following ones do not depend on this one's faults.
    fn logical(&mut self, entry: &Entry, record: u64, (first, last): (u64, u64), claims: &mut Claims) {
        let number = self.next_logical;
        self.next_logical = number.saturating_add(1);
        if entry.kind == 0 {
            self.warnings.push(Warning::Untyped { number });
        } else {
            let place = ("extended partition", first, last);
            self.add(number, entry.kind, entry.span(record), place, claims);
        }
    }
}
