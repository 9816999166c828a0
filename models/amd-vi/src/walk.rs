//! Walking a page table (section 2.2.3).

use amd_vi_spec::{PHYSICAL_BITS, PageEntry, SizedRange, page_table};

/// Where a walk is: a table, and what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Physical address.
    pub address: u64,
    /// Level, 1–6.
    pub level: u8,
    /// Whether everything on the way allows reads.
    pub read: bool,
    /// Whether everything on the way allows writes.
    pub write: bool,
}

/// Where a walk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The addresses that it translates.
    pub range: SizedRange,
    /// Physical address of the first of them.
    pub target: u64,
    /// Whether reads are allowed.
    pub read: bool,
    /// Whether writes are allowed.
    pub write: bool,
    /// Where its first entry is.
    pub entry: u64,
    /// How many entries say the same.
    pub entries: u64,
}

/// Why a walk ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkFault {
    /// There is no translation.
    NotPresent,
    /// Bits are set that are reserved, or a level or size is not possible there.
    Reserved,
    /// The entry at this physical address could not be read.
    Unreadable(u64),
}

/// Walks from `table` to the page of `address`. `fetch` reads an entry at a physical address, `passed` is told each table
/// on the way. At most six entries are read.
///
/// # Errors
/// Where there is no page.
pub fn walk(
    mut table: Table,
    address: u64,
    mut fetch: impl FnMut(u64) -> Option<u64>,
    mut passed: impl FnMut(Table),
) -> Result<Page, WalkFault> {
    loop {
        let Table { level, .. } = table;
        let place = table.address + 8 * page_table::index(address, level) as u64;
        let entry = PageEntry::from(fetch(place).ok_or(WalkFault::Unreadable(place))?);
        if !entry.pr() {
            return Err(WalkFault::NotPresent);
        }
        if entry.has_reserved_bits() {
            return Err(WalkFault::Reserved);
        }
        let (read, write) = (table.read && entry.ir(), table.write && entry.iw());
        if !entry.is_table() {
            let (range, entries) = page(entry, level, address).ok_or(WalkFault::Reserved)?;
            let target = entry.target(level).ok_or(WalkFault::Reserved)?.start();
            let first = page_table::index(range.start(), level) as u64;
            return Ok(Page { range, target, read, write, entry: table.address + 8 * first, entries });
        }
        let next = entry.next_level();
        if next >= level {
            return Err(WalkFault::Reserved);
        }
        // What a table that is skipped would have decoded.
        let skipped = page_table::entry_shift(next + 1)..page_table::entry_shift(level);
        if skipped.clone().any(|bit| address >> bit & 1 != 0) {
            return Err(WalkFault::NotPresent);
        }
        table = Table { address: entry.address(), level: next, read, write };
        passed(table);
    }
}

/// Which addresses a page in a table at `level` translates, and how many entries it takes; `None`: a page of its size has
/// no place there.
fn page(entry: PageEntry, level: u8, address: u64) -> Option<(SizedRange, u64)> {
    let shift = entry.target(level)?.shift();
    let own = page_table::entry_shift(level);
    let fits = shift >= own && shift < own + page_table::LEVEL_BITS && shift < PHYSICAL_BITS;
    let range = fits.then(|| SizedRange::containing(address, shift)).flatten()?;
    Some((range, 1 << (shift - own)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ROOT: Table = Table { address: 0x1000, level: 4, read: true, write: true };

    struct Tables(BTreeMap<u64, u64>);

    impl Tables {
        fn walk(&self, address: u64) -> Result<Page, WalkFault> {
            walk(ROOT, address, |place| Some(self.0.get(&place).copied().unwrap_or(0)), |_| {})
        }

        fn set(&mut self, table: u64, index: u64, entry: PageEntry) {
            self.0.insert(table + 8 * index, entry.into());
        }
    }

    fn page_at(address: u64, shift: u32) -> SizedRange {
        SizedRange::containing(address, shift).unwrap()
    }

    #[test]
    fn pages_of_every_kind() {
        let mut tables = Tables(BTreeMap::new());
        tables.set(0x1000, 1, PageEntry::table(0x2000, 3));
        tables.set(0x2000, 0, PageEntry::table(0x3000, 2));
        tables.set(0x2000, 1, PageEntry::page(0x40_0000_0000, true, false));
        tables.set(0x3000, 5, PageEntry::table(0x4000, 1).with_iw(false));
        tables.set(0x3000, 6, PageEntry::page(0x60_0000, true, true));
        tables.set(0x4000, 7, PageEntry::page(0x9000, true, true));
        for index in 8..16 {
            tables.set(0x4000, index, PageEntry::sized_page(page_at(0xa_0000, 15), false, true));
        }
        let base = 1 << 39;
        let page = tables.walk(base + 5 * 0x20_0000 + 7 * 0x1000 + 5).unwrap();
        assert_eq!((page.range.start(), page.range.bytes()), (base + 5 * 0x20_0000 + 7 * 0x1000, 0x1000));
        assert_eq!((page.target, page.read, page.write), (0x9000, true, false), "the table allows no writes");
        let page = tables.walk(base + 5 * 0x20_0000 + 0xd123).unwrap();
        assert_eq!((page.range, page.target), (page_at(base + 5 * 0x20_0000 + 0x8000, 15), 0xa_0000));
        assert_eq!((page.entry, page.entries), (0x4040, 8));
        assert!(!page.read && !page.write);
        assert_eq!(tables.walk(base + 6 * 0x20_0000 + 1).unwrap().range.bytes(), 0x20_0000);
        assert_eq!(tables.walk(base + (1 << 30)).unwrap().range.bytes(), 1 << 30);
        assert_eq!(tables.walk(0), Err(WalkFault::NotPresent));
        assert_eq!(walk(ROOT, 0, |_| None, |_| {}), Err(WalkFault::Unreadable(0x1000)));
    }

    #[test]
    fn levels_may_be_skipped() {
        let mut tables = Tables(BTreeMap::new());
        tables.set(0x1000, 0, PageEntry::table(0x4000, 1));
        tables.set(0x4000, 7, PageEntry::page(0x9000, true, true));
        assert_eq!(tables.walk(0x7008).unwrap().target, 0x9000);
        assert_eq!(tables.walk(0x7008 | 1 << 21), Err(WalkFault::NotPresent));
        assert_eq!(tables.walk(0x7008 | 1 << 38), Err(WalkFault::NotPresent));
    }

    #[test]
    fn what_cannot_be_is_reserved() {
        let entries = [
            PageEntry::table(0x1000, 4),
            PageEntry::table(0x1000, 5),
            PageEntry::table(0x2000, 3).with_fc(true),
            PageEntry::table(0x2000, 3).with_reserved52(1),
            // 512 GiB pages, misaligned; a page that is too small for level 4, and one that is too large.
            PageEntry::page(0x1000, true, true),
            PageEntry::sized_page(page_at(0, 30), true, true),
            PageEntry::sized_page(page_at(0, 48), true, true),
        ];
        for entry in entries {
            let mut tables = Tables(BTreeMap::new());
            tables.set(0x1000, 0, entry);
            assert_eq!(tables.walk(0), Err(WalkFault::Reserved), "{entry:?}");
        }
    }
}
