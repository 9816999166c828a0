//! GUID partition tables (UEFI 2.10, 5.3).
//!
//! The crate `gpt` decodes headers and entries and verifies their checksums. It believes what an intact header says
//! about the entries' size and number, so it gets nothing but memory: what to read, and how much, is decided here.

use std::io::Cursor;

use gpt::{
    header::{Header, HeaderError, read_header_from_arbitrary_device},
    partition::file_read_partitions,
};

use super::{
    DiskIdentifier, Partition, PartitionId, PartitionTable, PartitionType, TableKind, Window,
    claims::Claims,
    error::{GptDamage, PartitionError, Warning},
    reader::Disk,
};

/// Most partition entries that a table may have. The specification asks for room for 128.
pub const MAX_ENTRIES: u32 = 1024;

/// The size of an entry: the specification allows larger ones, which nobody has made.
const ENTRY_SIZE: u32 = 128;

/// The size of a header: as with the entries.
const HEADER_SIZE: u32 = 92;

/// The place of the primary header.
const PRIMARY_LBA: u64 = 1;

/// An intact copy, its entries decoded.
struct Table {
    header: Header,
    entries: Vec<(u32, gpt::partition::Partition)>,
}

/// Reads the partitions of the primary table, else of its backup.
pub(super) fn read(disk: &mut Disk<'_>, hybrid: bool) -> Result<PartitionTable, PartitionError> {
    let mut warnings = Vec::new();
    if hybrid {
        warnings.push(Warning::Hybrid);
    }
    let last = disk.blocks().saturating_sub(1);
    let table = match read_table(disk, PRIMARY_LBA) {
        Ok(table) => {
            let lba = table.header.backup_lba;
            match read_header(disk, lba) {
                Err(damage) => warnings.push(Warning::Backup(damage)),
                Ok(backup) => {
                    if lba != last {
                        warnings.push(Warning::BackupMisplaced { lba, last });
                    }
                    if !says_the_same(&table.header, &backup) {
                        warnings.push(Warning::CopiesDiffer);
                    }
                }
            }
            table
        }
        Err(primary) => match read_table(disk, last) {
            Ok(table) => {
                warnings.push(Warning::Primary(primary));
                table
            }
            Err(backup) => return Err(PartitionError::Gpt { primary, backup }),
        },
    };
    let mut partitions = Vec::new();
    let mut claims = Claims::default();
    for (number, entry) in &table.entries {
        match partition(disk, &table.header, *number, entry, &mut claims) {
            Ok(partition) => partitions.push(partition),
            Err(warning) => warnings.push(warning),
        }
    }
    let id = DiskIdentifier::Gpt(table.header.disk_guid);
    Ok(PartitionTable { kind: TableKind::Gpt, disk: Some(id), partitions, warnings })
}

/// Whether two headers describe the same partitions: their own places apart.
fn says_the_same(one: &Header, other: &Header) -> bool {
    let said = |header: &Header| {
        let Header { disk_guid, first_usable, last_usable, num_parts, crc32_parts, .. } = *header;
        (disk_guid, first_usable, last_usable, num_parts, crc32_parts)
    };
    said(one) == said(other)
}

/// Checks an entry against the disk, the header and the entries before.
fn partition(
    disk: &Disk<'_>,
    header: &Header,
    number: u32,
    entry: &gpt::partition::Partition,
    claims: &mut Claims,
) -> Result<Partition, Warning> {
    let (first, last) = (entry.first_lba, entry.last_lba);
    let outside = |place, place_first, place_last| Warning::Outside {
        number,
        first,
        last,
        place,
        place_first,
        place_last,
    };
    let Some(blocks) = last.checked_sub(first).map(|blocks| blocks.saturating_add(1)) else {
        return Err(Warning::Reversed { number, first, last });
    };
    let Some(window) = Window::new(first, blocks, disk.blocks()) else {
        return Err(outside("disk", 0, disk.blocks().saturating_sub(1)));
    };
    if first < header.first_usable || last > header.last_usable {
        return Err(outside("usable blocks", header.first_usable, header.last_usable));
    }
    if let Err((other_first, other_last)) = claims.claim(first, last) {
        return Err(Warning::Overlap { number, first, last, other_first, other_last });
    }
    Ok(Partition {
        number,
        window,
        kind: PartitionType::Gpt(entry.part_type_guid.guid),
        id: PartitionId::Gpt(entry.part_guid),
        name: entry.name.clone(),
    })
}

/// Reads one copy.
fn read_table(disk: &mut Disk<'_>, lba: u64) -> Result<Table, GptDamage> {
    let header = read_header(disk, lba)?;
    let blocks = entry_blocks(disk, &header);
    let mut bytes = disk
        .read(header.part_start, blocks)
        .map_err(|error| GptDamage::Read { lba: header.part_start, error })?;
    bytes.truncate(entry_bytes(&header));
    // In memory, the entries begin at 0.
    let in_memory = Header { part_start: 0, ..header.clone() };
    // Nothing else can go wrong while a slice of the right length is read.
    let entries = file_read_partitions(&mut Cursor::new(&bytes), &in_memory, disk.block_size())
        .map_err(|_| GptDamage::EntriesChecksum { lba: header.part_start })?;
    let entries = entries.into_iter().filter(|(_, entry)| entry.is_used()).collect();
    Ok(Table { header, entries })
}

/// Reads a header. What it says about places and sizes can be relied on afterwards.
fn read_header(disk: &mut Disk<'_>, lba: u64) -> Result<Header, GptDamage> {
    if lba < PRIMARY_LBA || lba >= disk.blocks() {
        return Err(GptDamage::Absent { lba, blocks: disk.blocks() });
    }
    let block = disk.read_block(lba).map_err(|error| GptDamage::Read { lba, error })?;
    // The crate looks into the second block.
    let image = [vec![0; block.len()], block].concat();
    let header = read_header_from_arbitrary_device(&mut Cursor::new(&image), disk.block_size());
    let header = header.map_err(|error| match error {
        HeaderError::InvalidGptSignature => GptDamage::Signature { lba },
        _ => GptDamage::HeaderChecksum { lba },
    })?;
    check_header(disk, lba, &header)?;
    Ok(header)
}

/// How long the entries are in bytes. Only for a header whose number of entries has been checked.
fn entry_bytes(header: &Header) -> usize {
    usize::try_from(u64::from(header.num_parts) * u64::from(ENTRY_SIZE)).unwrap_or(usize::MAX)
}

/// How many blocks the entries take.
fn entry_blocks(disk: &Disk<'_>, header: &Header) -> usize {
    entry_bytes(header).div_ceil(disk.block_size().as_usize())
}

/// Checks what the checksum does not say: that the header's values are possible.
fn check_header(disk: &Disk<'_>, lba: u64, header: &Header) -> Result<(), GptDamage> {
    let check = |right: bool, what, value: u64| {
        if right { Ok(()) } else { Err(GptDamage::Header { lba, what, value }) }
    };
    check(header.header_size_le == HEADER_SIZE, "header size", header.header_size_le.into())?;
    check(header.current_lba == lba, "address of itself", header.current_lba)?;
    check(header.part_size == ENTRY_SIZE, "size of an entry", header.part_size.into())?;
    let number = header.num_parts;
    check((1..=MAX_ENTRIES).contains(&number), "number of entries", number.into())?;

    // The protective record, both headers and the entries are not for partitions.
    let Header { first_usable, last_usable, backup_lba, part_start, .. } = *header;
    check(first_usable > PRIMARY_LBA, "first usable block", first_usable)?;
    check(last_usable >= first_usable, "last usable block", last_usable)?;
    let usable = first_usable..=last_usable;
    check(!usable.contains(&lba), "range of usable blocks around itself, from", first_usable)?;
    check(!usable.contains(&backup_lba), "address of the other header", backup_lba)?;
    let blocks = u64::try_from(entry_blocks(disk, header)).unwrap_or(u64::MAX);
    let part_end = part_start.checked_add(blocks).filter(|&end| end <= disk.blocks());
    let apart = part_end.is_some_and(|part_end| {
        part_start > PRIMARY_LBA
            && !(part_start..part_end).contains(&lba)
            && (part_end <= first_usable || part_start > last_usable)
    });
    check(apart, "address of the entries", part_start)
}
