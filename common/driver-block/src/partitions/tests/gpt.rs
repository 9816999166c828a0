use super::support::{Gpt, Sparse, TYPE, seal, spans};
use crate::{
    BlockError,
    partitions::{DiskIdentifier, GptDamage, MAX_ENTRIES, PartitionError, PartitionType, TableKind, Warning},
};

fn of_sgdisk() -> Sparse {
    Sparse::fixture(include_str!("fixtures/gpt.hex"))
}

/// As `sgdisk -p` lists them.
const OF_SGDISK: [(u32, u64, u64); 3] = [(1, 2048, 2048), (3, 4096, 20480), (128, 24576, 106_463)];

/// A disk of a thousand blocks with room for 128 entries: usable are 34 to 966.
fn disk(partitions: &[(u32, u64, u64)]) -> Sparse {
    let mut disk = Sparse::new(512, 1000);
    Gpt::new(&disk, 128, partitions).write(&mut disk);
    disk
}

/// Changes a field of the header at `lba`, with the right checksum.
fn set(disk: &mut Sparse, lba: u64, at: usize, bytes: &[u8]) {
    disk.block(lba)[at..at + bytes.len()].copy_from_slice(bytes);
    seal(disk, lba);
}

#[test]
fn sgdisk_512() {
    let mut disk = of_sgdisk();
    let table = disk.table().unwrap();
    assert_eq!(table.kind, TableKind::Gpt);
    assert_eq!(table.disk.unwrap().to_string(), "01234567-89ab-4cde-8f01-23456789abcd");
    assert_eq!(spans(&table), OF_SGDISK);
    let [esp, root, swap] = &table.partitions[..] else { panic!("{table:?}") };
    assert_eq!(esp.kind.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    assert_eq!(esp.id.to_string(), "11111111-2222-4333-8444-555555555555");
    assert_eq!([&esp.name, &root.name, &swap.name], ["EFI system", "Würzel ☃", ""]);
    assert_eq!(table.warnings, []);
    // Two records, two headers, 32 blocks of entries.
    assert_eq!(disk.blocks_read, 1 + 1 + 32 + 1);
}

#[test]
fn fdisk_4096() {
    let table = Sparse::fixture(include_str!("fixtures/gpt4k.hex")).table().unwrap();
    assert_eq!(spans(&table), [(1, 256, 2048), (2, 2304, 4096)]);
    assert_eq!(table.partitions[1].id.to_string(), "236b1fb1-c481-9f49-95aa-63fd670545ae");
    assert_eq!(table.warnings, []);
}

#[test]
fn hybrid() {
    let table = Sparse::fixture(include_str!("fixtures/hybrid.hex")).table().unwrap();
    assert_eq!((table.kind, spans(&table)), (TableKind::Gpt, OF_SGDISK.to_vec()));
    assert_eq!(table.warnings, [Warning::Hybrid]);
}

#[test]
fn wrong_block_size() {
    let mut disk = of_sgdisk();
    let image = disk.image();
    assert!(matches!(crate::partitions::parse(&image, 4096), Err(PartitionError::Gpt { .. })));
    assert_eq!(disk.table(), crate::partitions::parse(&image, 512));
}

#[test]
fn the_backup_is_used() {
    let intact = of_sgdisk().table().unwrap();
    let damages: [(u64, GptDamage); 3] = [
        // The signature, the disk's GUID, an entry.
        (512, GptDamage::Signature { lba: 1 }),
        (512 + 60, GptDamage::HeaderChecksum { lba: 1 }),
        (1024 + 40, GptDamage::EntriesChecksum { lba: 2 }),
    ];
    for (at, damage) in damages {
        let mut disk = of_sgdisk();
        disk.block(at / 512)[(at % 512) as usize] ^= 4;
        let table = disk.table().unwrap();
        assert_eq!((&table.partitions, table.disk), (&intact.partitions, intact.disk));
        assert_eq!(table.warnings, [Warning::Primary(damage)]);
    }
    for bad in [1, 2] {
        let mut disk = of_sgdisk();
        disk.bad.push(bad);
        let table = disk.table().unwrap();
        assert_eq!(table.partitions, intact.partitions);
        let damage = GptDamage::Read { lba: bad, error: BlockError::Medium };
        assert_eq!(table.warnings, [Warning::Primary(damage)]);
    }
}

#[test]
fn damaged_backups() {
    let mut disk = of_sgdisk();
    let last = disk.blocks - 1;
    disk.block(last)[50] ^= 1;
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), OF_SGDISK);
    assert_eq!(table.warnings, [Warning::Backup(GptDamage::HeaderChecksum { lba: last })]);
    disk.block(1)[50] ^= 1;
    let error = PartitionError::Gpt {
        primary: GptDamage::HeaderChecksum { lba: 1 },
        backup: GptDamage::HeaderChecksum { lba: last },
    };
    assert_eq!(disk.table(), Err(error));
}

#[test]
fn copies_that_differ() {
    let mut disk = disk(&[(1, 34, 99)]);
    set(&mut disk, 999, 56, b"GUID of another!");
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), [(1, 34, 66)]);
    assert_eq!(table.disk, Some(DiskIdentifier::Gpt(uuid::Uuid::from_bytes_le(*b"the disk's GUID!"))));
    assert_eq!(table.warnings, [Warning::CopiesDiffer]);
}

#[test]
fn grown_and_truncated_disks() {
    let mut disk = of_sgdisk();
    let blocks = disk.blocks;
    disk.blocks = blocks + 10;
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), OF_SGDISK);
    assert_eq!(table.warnings, [Warning::BackupMisplaced { lba: blocks - 1, last: blocks + 9 }]);
    // The last partition's last block is 131038.
    for (blocks, partitions) in [(131_039, 3), (131_038, 2), (24_576, 2), (24_575, 1), (4095, 0)] {
        disk.blocks = blocks;
        let table = disk.table().unwrap();
        assert_eq!(spans(&table), OF_SGDISK[..partitions]);
        assert_eq!(table.warnings[0], Warning::Backup(GptDamage::Absent { lba: 131_071, blocks }));
        assert_eq!(table.warnings.len(), 1 + (3 - partitions));
    }
    // Not even the entries are whole.
    for blocks in [1, 2, 3, 33] {
        disk.blocks = blocks;
        assert!(matches!(disk.table(), Err(PartitionError::Gpt { .. })), "{blocks}");
    }
}

#[test]
fn entries_that_cannot_be() {
    let max = u64::MAX;
    let table = disk(&[
        (1, 34, 99),
        (2, 99, 100),
        (3, 33, 33),
        (4, 966, 967),
        (5, 966, 966),
        (6, 200, 199),
        (7, 0, max),
        (8, max, max),
        (9, 0, 0),
        (10, 30, 970),
    ])
    .table()
    .unwrap();
    assert_eq!(spans(&table), [(1, 34, 66), (5, 966, 1)]);
    assert!(
        table
            .partitions
            .iter()
            .all(|part| part.kind == PartitionType::Gpt(uuid::Uuid::from_bytes_le(TYPE)) && part.name == "p")
    );
    let (first, last) = (34, 966);
    let outside = |number, from, to, place, place_first, place_last| Warning::Outside {
        number,
        first: from,
        last: to,
        place,
        place_first,
        place_last,
    };
    let usable = |number, from, to| outside(number, from, to, "usable blocks", first, last);
    let wanted = [
        Warning::Overlap { number: 2, first: 99, last: 100, other_first: 34, other_last: 99 },
        usable(3, 33, 33),
        usable(4, 966, 967),
        Warning::Reversed { number: 6, first: 200, last: 199 },
        outside(7, 0, max, "disk", 0, 999),
        outside(8, max, max, "disk", 0, 999),
        usable(9, 0, 0),
        usable(10, 30, 970),
    ];
    assert_eq!(table.warnings, wanted);
}

#[test]
fn intact_headers_that_lie() {
    let number = |value: u64| value.to_le_bytes();
    let cases: [(usize, &[u8], &str); 14] = [
        (12, &93_u32.to_le_bytes(), "header size"),
        (24, &number(2), "address of itself"),
        (32, &number(500), "address of the other header"),
        (40, &number(1), "first usable block"),
        (40, &number(967), "last usable block"),
        (40, &number(3), "address of the entries"),
        (48, &number(33), "last usable block"),
        (72, &number(1), "address of the entries"),
        (72, &number(3), "address of the entries"),
        (72, &number(969), "address of the entries"),
        (72, &number(u64::MAX), "address of the entries"),
        (80, &0_u32.to_le_bytes(), "number of entries"),
        (80, &u32::MAX.to_le_bytes(), "number of entries"),
        (84, &256_u32.to_le_bytes(), "size of an entry"),
    ];
    for (at, bytes, field) in cases {
        let mut disk = disk(&[(1, 40, 49)]);
        set(&mut disk, 1, at, bytes);
        let table = disk.table().unwrap();
        assert_eq!(spans(&table), [(1, 40, 10)], "{field}");
        let [Warning::Primary(GptDamage::Header { lba: 1, what, .. })] = &table.warnings[..] else {
            panic!("{field}: {:?}", table.warnings);
        };
        assert_eq!(*what, field);
    }
}

#[test]
fn most_entries() {
    for (entries, good) in [(MAX_ENTRIES, true), (MAX_ENTRIES + 1, false)] {
        let mut disk = Sparse::new(512, 100_000);
        let partitions: Vec<_> = (1..=entries)
            .map(|number| (number, 1000 + u64::from(number), 1000 + u64::from(number)))
            .collect();
        Gpt::new(&disk, entries, &partitions).write(&mut disk);
        match disk.table() {
            Ok(table) => assert!(good && table.partitions.len() == MAX_ENTRIES as usize),
            Err(error) => assert!(!good && matches!(error, PartitionError::Gpt { .. })),
        }
    }
}
