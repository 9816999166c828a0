//! What the unit remembers, and how it is made to forget.

use amd_vi_spec::DomainId;
use fastrand::Rng;
use iommud::unit::UnitOptions;
use model_amd_vi::{Config, Tables};

use crate::support::{Bench, DEVICE, DOMAIN};

#[test]
fn what_is_invalidated_is_forgotten_when_the_batch_ends() {
    let mut bench = Bench::new(Config::default());
    let (mut tables, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    bench.write(DEVICE, 0x5000).unwrap();
    tables.unmap(0x5000).unwrap();
    bench.unit.invalidate(DOMAIN, 0x5000, 4096, false);
    bench.write(DEVICE, 0x5000).unwrap();
    bench.unit.sync().unwrap();
    assert!(bench.write(DEVICE, 0x5000).is_err());
    bench.assert_clean();
}

#[test]
fn tables_are_forgotten_where_that_is_said() {
    for tables_too in [false, true] {
        let mut bench = Bench::new(Config::default());
        let (mut tables, page) = bench.page_at(0x5000);
        bench.assign(DEVICE, &tables);
        bench.write(DEVICE, 0x5000).unwrap();
        // The page is mapped by another table now, at the same address.
        let mut other = Tables::new(&bench.memory, 1).unwrap();
        other.map(0x5000, &bench.memory.allocate(4096).unwrap()).unwrap();
        tables.set(0x5000, 2, amd_vi_spec::PageEntry::table(other.root(), 1)).unwrap();
        bench.unit.invalidate(DOMAIN, 0x5000, 4096, tables_too);
        bench.unit.sync().unwrap();
        page.fill(0, 4, 0).unwrap();
        let _ = bench.write(DEVICE, 0x5000);
        let old = page.read::<[u8; 4]>(0).unwrap() == *b"data";
        assert_eq!(old, !tables_too);
    }
}

#[test]
fn a_batch_is_one_access_to_a_register() {
    let mut bench = Bench::new(Config::default());
    let accesses = || bench.machine.host(0).unwrap().register_accesses();
    let (before, commands) = (accesses(), bench.model.statistics());
    for page in 0..64 {
        bench.unit.invalidate(DOMAIN, page << 12, 4096, false);
    }
    bench.unit.invalidate(DOMAIN, 1 << 30, 1 << 21, false);
    bench.unit.invalidate(DomainId(8), 0, 4096, true);
    bench.unit.sync().unwrap();
    assert_eq!(accesses() - before, 1);
    let after = bench.model.statistics();
    assert_eq!(after.page_invalidations - commands.page_invalidations, 3, "neighbours are one range");
    assert_eq!(after.completion_waits - commands.completion_waits, 1);
    bench.assert_clean();
}

/// Pages to both sides of a large boundary: two commands that are about little, not one about everything there.
#[test]
fn a_range_across_a_boundary_does_not_invalidate_everything() {
    let mut bench = Bench::new(Config::default());
    let mut tables = Tables::new(&bench.memory, 4).unwrap();
    let page = bench.memory.allocate(4096).unwrap();
    let boundary = 1 << 39;
    for address in [0x5000, boundary - 0x1000, boundary] {
        tables.map(address, &page).unwrap();
    }
    bench.assign(DEVICE, &tables);
    for address in [0x5000, boundary - 0x1000, boundary] {
        bench.write(DEVICE, address).unwrap();
    }
    let walks = bench.model.statistics().walks;
    bench.unit.invalidate(DOMAIN, boundary - 0x1000, 0x2000, false);
    bench.unit.sync().unwrap();
    bench.write(DEVICE, 0x5000).unwrap();
    assert_eq!(bench.model.statistics().walks, walks);
    bench.write(DEVICE, boundary - 0x1000).unwrap();
    bench.write(DEVICE, boundary).unwrap();
    assert_eq!(bench.model.statistics().walks, walks + 2);
}

/// Any ranges, in any order: what is in one of them is forgotten.
#[test]
fn every_range_is_covered() {
    let mut rng = Rng::with_seed(1);
    let mut bench = Bench::with(
        Config { iotlb_entries: 1 << 16, ..Config::default() },
        UnitOptions { command_entries: 8, ..UnitOptions::default() },
    );
    let mut tables = Tables::new(&bench.memory, 4).unwrap();
    let page = bench.memory.allocate(4096).unwrap();
    // Around boundaries of all sizes.
    let mut pages: Vec<u64> = (12..47)
        .flat_map(|shift| {
            [1u64 << shift, (1 << shift) - 4096, (1 << shift) + 4096, 3 << shift, (3 << shift) - 4096]
        })
        .filter(|&address| address < 1 << 47)
        .collect();
    pages.sort_unstable();
    pages.dedup();
    for &address in &pages {
        tables.map(address, &page).unwrap();
    }
    bench.assign(DEVICE, &tables);
    for round in 0..300 {
        for &address in &pages {
            bench.write(DEVICE, address).unwrap();
        }
        let mut gone: Vec<u64> = Vec::new();
        for _ in 0..rng.usize(1..40) {
            let from = rng.usize(..pages.len());
            let to = rng.usize(from..pages.len().min(from + 4));
            for &address in &pages[from..=to] {
                tables.unmap(address).unwrap();
                gone.push(address);
            }
            bench.unit.invalidate(DOMAIN, pages[from], pages[to] + 4096 - pages[from], rng.bool());
        }
        bench.unit.sync().unwrap();
        for &address in &gone {
            assert!(bench.write(DEVICE, address).is_err(), "round {round}, {address:#x}");
        }
        for &address in &gone {
            tables.map(address, &page).unwrap();
        }
    }
    assert_eq!(bench.unit.statistics().restarts, 0);
    bench.assert_clean();
}

#[test]
fn more_commands_than_the_ring_holds() {
    let config = Config { command_time: std::time::Duration::from_micros(1), ..Config::default() };
    let mut bench = Bench::with(config, UnitOptions { command_entries: 8, ..UnitOptions::default() });
    let before = bench.model.statistics().page_invalidations;
    for n in 0..5000u64 {
        bench.unit.invalidate(DOMAIN, n << 20, 4096, false);
    }
    bench.unit.sync().unwrap();
    assert_eq!(bench.model.statistics().page_invalidations - before, 5000);
    assert_eq!(bench.unit.statistics().restarts, 0);
    bench.assert_clean();
}

#[test]
fn a_whole_domain_is_forgotten() {
    let mut bench = Bench::new(Config::default());
    let (mut tables, _page) = bench.page_at(0x5000);
    bench.assign(DEVICE, &tables);
    for invalidate in [
        |bench: &mut Bench| bench.unit.invalidate_domain(DOMAIN),
        |bench: &mut Bench| bench.unit.invalidate(DOMAIN, 0, u64::MAX, true),
        |bench: &mut Bench| bench.unit.invalidate(DOMAIN, 0x4000, u64::MAX, true),
    ] {
        tables.map(0x5000, &bench.memory.allocate(4096).unwrap()).unwrap();
        bench.unit.invalidate_domain(DOMAIN);
        bench.unit.sync().unwrap();
        let _ = bench.write(DEVICE, 0x5000);
        tables.unmap(0x5000).unwrap();
        invalidate(&mut bench);
        bench.unit.sync().unwrap();
        assert!(bench.write(DEVICE, 0x5000).is_err());
    }
    bench.unit.invalidate(DOMAIN, 0x5000, 0, false);
    let before = bench.model.statistics().page_invalidations;
    bench.unit.sync().unwrap();
    assert_eq!(bench.model.statistics().page_invalidations, before, "nothing is no range");
    bench.assert_clean();
}
