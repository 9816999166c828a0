use super::support::{Sparse, spans};
use crate::{
    BlockError,
    partitions::{
        DiskIdentifier, Image, MAX_LOGICAL, PartitionError, PartitionType, TableKind, Warning, parse, read,
    },
};

/// A disk of a thousand blocks with a master boot record.
fn disk(entries: &[(u8, u8, u32, u32)]) -> Sparse {
    let mut disk = Sparse::new(512, 1000);
    disk.boot_record(0, entries);
    disk
}

#[test]
fn of_sfdisk() {
    let table = Sparse::fixture(include_str!("fixtures/mbr.hex")).table().unwrap();
    assert_eq!(table.kind, TableKind::Mbr);
    assert_eq!(table.disk, Some(DiskIdentifier::Mbr(0x1bad_b002)));
    // As `sfdisk -d` lists them, without the extended one.
    let wanted = [
        (1, 2048, 16384),
        (2, 18432, 8192),
        (4, 108_544, 8192),
        (5, 43008, 10240),
        (6, 55296, 14336),
        (7, 28672, 2048),
    ];
    assert_eq!(spans(&table), wanted);
    let kinds: Vec<_> = table.partitions.iter().map(|part| part.kind).collect();
    assert_eq!(kinds, [0x83, 0x82, 0x0c, 0x82, 0xfd, 0x83].map(PartitionType::Mbr));
    assert_eq!(table.partitions[3].id.to_string(), "1badb002-05");
    assert_eq!(table.warnings, []);
}

#[test]
fn of_fdisk_with_blocks_of_4096() {
    let table = Sparse::fixture(include_str!("fixtures/mbr4k.hex")).table().unwrap();
    assert_eq!(spans(&table), [(1, 256, 2048), (5, 2560, 1024), (6, 3840, 1024)]);
    assert_eq!(table.warnings, []);
}

#[test]
fn no_table() {
    for image in [&[][..], &[0; 511], &[0; 512], &[0xff; 4096]] {
        let table = parse(image, 512).unwrap();
        assert_eq!((table.kind, table.partitions.len(), table.warnings.len()), (TableKind::None, 0, 0));
    }
    // The boot sector of a file system.
    let mut disk = disk(&[(b'N', b'T', 1, 10), (b'L', b'D', 20, 10)]);
    assert_eq!(disk.table().unwrap().kind, TableKind::None);
    assert_eq!(parse(&[0; 4096], 1024), Err(PartitionError::BlockSize(1024)));
    assert_eq!(parse(&[0; 4096], 0), Err(PartitionError::BlockSize(0)));
    disk.bad.push(0);
    assert_eq!(disk.table(), Err(PartitionError::Read { lba: 0, error: BlockError::Medium }));
}

#[test]
fn primary_bounds_are_exact() {
    let mut disk = disk(&[(0, 0x83, 1, 99), (0, 0x83, 100, 900), (0x80, 0x83, 1000, 1), (0, 0x83, 99, 1)]);
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), [(1, 1, 99), (2, 100, 900)]);
    let outside = Warning::Outside {
        number: 3,
        first: 1000,
        last: 1000,
        place: "disk",
        place_first: 0,
        place_last: 999,
    };
    let overlap = Warning::Overlap { number: 4, first: 99, last: 99, other_first: 1, other_last: 99 };
    assert_eq!(table.warnings, [outside, overlap]);
    // One block less, and the second no longer fits.
    disk.blocks = 999;
    assert_eq!(spans(&disk.table().unwrap()), [(1, 1, 99)]);
}

#[test]
fn the_record_itself_is_no_partition() {
    let table = disk(&[(0, 0x17, 0, 500), (0, 0, 1, 9), (0, 0xef, 10, 5)]).table().unwrap();
    assert_eq!(spans(&table), [(3, 10, 5)]);
    let overlap = Warning::Overlap { number: 1, first: 0, last: 499, other_first: 0, other_last: 0 };
    assert_eq!(table.warnings, [overlap, Warning::Untyped { number: 2 }]);
}

#[test]
fn largest_addresses() {
    let mut disk = Sparse::new(512, 1 << 40);
    disk.boot_record(0, &[(0, 0x83, u32::MAX, u32::MAX), (0, 0x83, 1, u32::MAX - 1)]);
    let table = disk.table().unwrap();
    let max = u64::from(u32::MAX);
    assert_eq!(spans(&table), [(1, max, max), (2, 1, max - 1)]);
}

#[test]
fn logical_ones_stay_in_the_extended_one() {
    // Extended: 100 to 299.
    let mut disk = disk(&[(0, 0x83, 1, 99), (0, 0x0f, 100, 200), (0, 0x83, 300, 10)]);
    disk.boot_record(100, &[(0, 0x83, 1, 9), (0, 0x05, 10, 90)]);
    // Ends one block too far; the number is used up.
    disk.boot_record(110, &[(0, 0x83, 10, 181), (0, 0x05, 20, 90)]);
    disk.boot_record(120, &[(0, 0x83, 10, 170)]);
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), [(1, 1, 99), (3, 300, 10), (5, 101, 9), (7, 130, 170)]);
    let outside = Warning::Outside {
        number: 6,
        first: 120,
        last: 300,
        place: "extended partition",
        place_first: 100,
        place_last: 299,
    };
    assert_eq!(table.warnings, [outside]);
}

#[test]
fn chains_that_loop_or_leave() {
    let mut disk = disk(&[(0, 0x05, 100, 200)]);
    disk.boot_record(100, &[(0, 0x83, 1, 9), (0, 0x05, 10, 90)]);
    // Back to its beginning.
    disk.boot_record(110, &[(0, 0x83, 1, 9), (0, 0x05, 0, 90)]);
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), [(5, 101, 9), (6, 111, 9)]);
    assert_eq!(table.warnings, [Warning::ChainLoop { number: 7, other_first: 100, other_last: 100 }]);
    // Into a partition, where a client could write what is believed to be a table.
    disk.boot_record(110, &[(0, 0x83, 1, 9), (0, 0x05, 5, 90)]);
    let table = disk.table().unwrap();
    assert_eq!(table.warnings, [Warning::ChainLoop { number: 7, other_first: 101, other_last: 109 }]);
    for (next, lba) in [(200, 300), (u32::MAX, 100 + u64::from(u32::MAX))] {
        disk.boot_record(110, &[(0, 0x83, 1, 9), (0, 0x05, next, 90)]);
        let table = disk.table().unwrap();
        assert_eq!(spans(&table), [(5, 101, 9), (6, 111, 9)]);
        assert_eq!(table.warnings, [Warning::ChainOutside { number: 7, lba }]);
    }
    disk.boot_record(110, &[(0, 0x83, 1, 9), (0, 0x05, 100, 90)]);
    assert_eq!(disk.table().unwrap().warnings, [Warning::ChainSignature { number: 7, lba: 200 }]);
    disk.bad.push(200);
    let lost = Warning::ChainRead { number: 7, lba: 200, error: BlockError::Medium };
    assert_eq!(disk.table().unwrap().warnings, [lost]);
    // The first record is lost: none is known.
    disk.bad.push(100);
    assert_eq!(spans(&disk.table().unwrap()), []);
}

#[test]
fn endless_chain() {
    let mut disk = Sparse::new(512, 10_000);
    disk.boot_record(0, &[(0, 0x05, 1, 9_999)]);
    for lba in (1..9_000).step_by(2) {
        disk.boot_record(lba, &[(0, 0x83, 1, 1), (0, 0x05, lba as u32 + 1, 2)]);
    }
    let table = disk.table().unwrap();
    assert_eq!(table.partitions.len(), MAX_LOGICAL as usize);
    assert_eq!(table.warnings, [Warning::ChainTooLong { number: 5 + MAX_LOGICAL, limit: MAX_LOGICAL }]);
    assert_eq!(disk.blocks_read, 1 + u64::from(MAX_LOGICAL));
}

#[test]
fn extended_one_beyond_the_end() {
    let mut disk = disk(&[(0, 0x05, 100, 1000), (0, 0x05, 1000, 5), (0, 0x05, 200, 5)]);
    disk.boot_record(100, &[(0, 0x83, 1, 899), (0, 0x05, 10, 90)]);
    let table = disk.table().unwrap();
    assert_eq!(spans(&table), [(5, 101, 899)]);
    assert_eq!(table.warnings[0], Warning::ExtendedTooLong { number: 1, last: 1099, blocks: 1000 });
    assert!(matches!(table.warnings[1], Warning::ChainLoop { .. }));
    assert!(matches!(table.warnings[2], Warning::Outside { number: 2, .. }));
    assert!(matches!(table.warnings[3], Warning::Overlap { number: 3, .. }));
}

#[test]
fn image_and_reader_agree() {
    let mut disk = disk(&[(0, 0x83, 1, 99), (0, 0x0f, 100, 200)]);
    disk.boot_record(100, &[(0, 0x83, 1, 9)]);
    let image = disk.image();
    assert_eq!(disk.table(), parse(&image, 512));
    // A block that is not whole does not count.
    let cut = &image[..image.len() - 1];
    disk.blocks -= 1;
    assert_eq!(disk.table(), read(&mut Image::new(cut, 512)));
}
