//! What page tables lead to.

use std::collections::BTreeMap;

use amd_vi_spec::page_table::entry_shift;
use iommud::table::{Access, PageSizes, PageTable};
use proptest::prelude::*;
use redox_driver_sys::model::Memory;

const BOTH: Access = Access { read: true, write: true };

#[test]
fn the_largest_pages_are_used() {
    let memory = Memory::new().allocator();
    for (len, address, sizes, tables) in [
        (0x1000, 0x1000, PageSizes::ALL, 4),
        (0x20_0000, 0x4000_0000, PageSizes::DEFAULT, 3),
        (0x20_0000, 0x4000_1000, PageSizes::DEFAULT, 4),
        (0x4000_0000, 0x8000_0000, PageSizes::DEFAULT, 2),
        (0x4000_0000, 0x8000_0000, PageSizes(1 << 21), 3),
        (0x8000_0000, 0x8000_0000, PageSizes::ALL, 2),
    ] {
        let mut table = PageTable::new(&memory, 4, sizes).unwrap();
        table.map(0x40_0000_0000, address, len, BOTH).unwrap();
        assert_eq!(table.tables(), tables, "{len:#x} bytes at {address:#x}");
        for at in [0, 0x123, len / 2, len - 1] {
            assert_eq!(table.translate(0x40_0000_0000 + at), Some((address + at, BOTH)));
        }
        assert_eq!(table.translate(0x40_0000_0000 + len), None);
        drop(table.unmap(0x40_0000_0000, len));
        assert_eq!(table.tables(), 1);
        assert_eq!(table.translate(0x40_0000_0000), None);
    }
}

#[test]
fn each_number_of_levels_decodes_its_addresses() {
    let memory = Memory::new().allocator();
    for levels in 1..=6u8 {
        let mut table = PageTable::new(&memory, levels, PageSizes::ALL).unwrap();
        let last = table.end().unwrap_or(0).wrapping_sub(0x1000);
        for at in [0, (last / 2) & !0xfff, last] {
            table.map(at, 0x7000, 0x1000, Access { read: true, write: false }).unwrap();
            assert_eq!(table.translate(at + 5), Some((0x7005, Access { read: true, write: false })));
            assert_eq!(table.tables() > 1, levels > 1);
            drop(table.unmap(at, 0x1000));
            assert_eq!(table.tables(), 1);
        }
        assert_eq!(table.translate(last.wrapping_add(0x1000)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Ranges of all sizes around the borders of tables, with gaps or none between them.
    #[test]
    fn agrees_with_an_oracle(
        pieces in proptest::collection::vec((0u64..3, 1u64..1400, 0u64..1024), 1..12),
        sizes in prop_oneof![Just(PageSizes::ALL), Just(PageSizes::DEFAULT), Just(PageSizes::SMALL)],
        levels in 3u8..=5,
        order in any::<u64>(),
    ) {
        let memory = Memory::new().allocator();
        let mut table = PageTable::new(&memory, levels, sizes).unwrap();
        let mut oracle: BTreeMap<u64, u64> = BTreeMap::new();
        let mut ranges = Vec::new();
        let mut iova = (1u64 << entry_shift(3)) - 700 * 4096;
        for (gap, pages, frame) in pieces {
            iova += gap * 4096;
            let address = frame << 20;
            table.map(iova, address, pages * 4096, BOTH).unwrap();
            oracle.extend((0..pages).map(|page| (iova + page * 4096, address + page * 4096)));
            ranges.push((iova, pages * 4096));
            iova += pages * 4096;
        }
        let end = iova + 4096;
        let agree = |table: &PageTable, oracle: &BTreeMap<u64, u64>| {
            ((1u64 << entry_shift(3)) - 701 * 4096..end).step_by(4096).all(|at| {
                table.translate(at).map(|(address, _)| address) == oracle.get(&at).copied()
            })
        };
        prop_assert!(agree(&table, &oracle));
        let mut seed = order;
        while !ranges.is_empty() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let (at, len) = ranges.swap_remove((seed >> 33) as usize % ranges.len());
            drop(table.unmap(at, len));
            oracle.retain(|page, _| !(at..at + len).contains(page));
            prop_assert!(agree(&table, &oracle));
        }
        prop_assert_eq!(table.tables(), 1, "every other page of the table was given back");
    }
}
