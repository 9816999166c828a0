//! Whatever is on the disk: nothing panics, little is read, and no partition is where it must not be. The checks are
//! in `Sparse::table`.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::support::{Gpt, Sparse, seal, spans};
use crate::partitions::{TableKind, parse};

const FIXTURES: [&str; 5] = [
    include_str!("fixtures/gpt.hex"),
    include_str!("fixtures/gpt4k.hex"),
    include_str!("fixtures/hybrid.hex"),
    include_str!("fixtures/mbr.hex"),
    include_str!("fixtures/mbr4k.hex"),
];

fn block_size() -> impl Strategy<Value = u32> {
    prop_oneof![Just(512_u32), Just(4096)]
}

/// An entry of a boot record: often an extended one, often within a small disk.
fn entry() -> impl Strategy<Value = (u8, u8, u32, u32)> {
    let boot = prop_oneof![9 => Just(0_u8), 1 => Just(0x80), 1 => any::<u8>()];
    let kind = prop_oneof![Just(0x05_u8), Just(0x0f), Just(0x83), Just(0), any::<u8>()];
    let number = || prop_oneof![9 => 0..70_u32, 1 => any::<u32>()];
    (boot, kind, number(), number())
}

/// Consecutive partitions with gaps between them: gap and length.
fn layout() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec((0..5_u64, 1..2000_u64), 0..20)
}

proptest! {
    #[test]
    fn any_bytes(mut image in vec(any::<u8>(), 0..20_000), block_size in block_size(), signed in any::<bool>()) {
        if signed && image.len() >= 512 {
            image[510..512].copy_from_slice(&[0x55, 0xaa]);
            for at in [446, 462, 478, 494] {
                image[at] &= 0x80;
            }
        }
        let size = block_size as usize;
        let mut disk = Sparse::new(block_size, (image.len() / size) as u64);
        for (lba, block) in image.chunks_exact(size).enumerate() {
            disk.contents.insert(lba as u64, block.to_vec());
        }
        prop_assert_eq!(disk.table(), parse(&image, block_size));
    }

    #[test]
    fn every_block_a_boot_record(
        records in vec(vec(entry(), 4), 64),
        blocks in 1..=64_u64,
        bad in vec(1..64_u64, 0..3),
    ) {
        let mut disk = Sparse::new(512, blocks);
        for (lba, entries) in records.iter().enumerate() {
            disk.boot_record(lba as u64, entries);
        }
        disk.bad = bad;
        let _ = disk.table();
    }

    #[test]
    fn flipped_bits_and_cuts(
        fixture in any::<Index>(),
        flips in vec((any::<Index>(), any::<Index>(), 0..8_u32), 0..8),
        cut in prop_oneof![any::<Index>().prop_map(Some), Just(None)],
    ) {
        let mut disk = Sparse::fixture(FIXTURES[fixture.index(FIXTURES.len())]);
        let used: Vec<u64> = disk.contents.keys().copied().collect();
        for (block, byte, bit) in &flips {
            let block = disk.block(*block.get(&used));
            let at = byte.index(block.len());
            block[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            disk.blocks = cut.index(disk.blocks as usize) as u64;
        }
        let _ = disk.table();
    }

    /// With the right checksums, everything depends on the checks of the values.
    #[test]
    fn sealed_lies(
        block_size in block_size(),
        header in vec((24..88_usize, prop_oneof![0..4_u8, any::<u8>()]), 0..4),
        entries in vec((0..8_usize, 32..48_usize, any::<u8>()), 0..8),
        blocks in prop_oneof![3..300_u64, Just(300)],
    ) {
        let mut disk = Sparse::new(block_size, 300);
        let partitions: Vec<_> = (1..=8).map(|number| (number, 40 + u64::from(number) * 16, 55 + u64::from(number) * 16)).collect();
        Gpt::new(&disk, 128, &partitions).write(&mut disk);
        for &(entry, at, value) in &entries {
            for array in [2, disk.blocks - 1 - 16384 / u64::from(block_size)] {
                let at = array * u64::from(block_size) + (entry * 128 + at) as u64;
                disk.write(at, &[value]);
            }
        }
        for lba in [1, 299] {
            for &(at, value) in &header {
                disk.block(lba)[at] = value;
            }
            seal(&mut disk, lba);
        }
        disk.blocks = blocks;
        let _ = disk.table();
    }

    #[test]
    fn good_gpts_are_read_as_written(block_size in block_size(), layout in layout(), spare in 0..100_u64) {
        let mut next = 2 + 16384 / u64::from(block_size);
        let partitions: Vec<(u32, u64, u64)> = (1..).zip(&layout).map(|(number, (gap, blocks))| {
            let first = next + gap;
            next = first + blocks;
            (number * 3, first, next - 1)
        }).collect();
        let mut disk = Sparse::new(block_size, next + spare + 1 + 16384 / u64::from(block_size) + 1);
        Gpt::new(&disk, 128, &partitions).write(&mut disk);
        let table = disk.table().unwrap();
        let wanted: Vec<_> = partitions.iter().map(|(number, first, last)| (*number, *first, last - first + 1)).collect();
        prop_assert_eq!((table.kind, spans(&table)), (TableKind::Gpt, wanted));
        prop_assert_eq!(table.warnings, []);
    }

    #[test]
    fn good_chains_are_read_as_written(block_size in block_size(), layout in layout(), order in any::<u64>()) {
        // Each logical partition behind its record, the records linked in any order but for the first.
        let base = 10_u64;
        let mut next = base;
        let mut places: Vec<(u64, u64, u64)> = layout.iter().map(|(gap, blocks)| {
            let record = next;
            next = record + 1 + gap + blocks;
            (record, 1 + gap, *blocks)
        }).collect();
        if let Some(rest) = places.get_mut(1..).filter(|rest| !rest.is_empty()) {
            rest.rotate_left((order % rest.len() as u64) as usize);
        }
        let mut disk = Sparse::new(block_size, next + 1);
        disk.boot_record(0, &[(0, 0x0f, base as u32, (next + 1 - base) as u32)]);
        disk.boot_record(base, &[]);
        for (index, (record, offset, blocks)) in places.iter().enumerate() {
            let mut entries = vec![(0, 0x83, *offset as u32, *blocks as u32)];
            if let Some((next, ..)) = places.get(index + 1) {
                entries.push((0, 0x05, (next - base) as u32, 1));
            }
            disk.boot_record(*record, &entries);
        }
        let table = disk.table().unwrap();
        let wanted: Vec<_> = (5..).zip(&places).map(|(number, (record, offset, blocks))| (number, record + offset, *blocks)).collect();
        prop_assert_eq!(spans(&table), wanted);
        prop_assert_eq!(table.warnings, []);
    }
}
