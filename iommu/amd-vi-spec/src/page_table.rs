//! I/O page tables of the host ("v1" tables, section 2.2.3).
//!
//! A table is a page of 512 entries. The table at level `n` (1–6) divides its part of the address space into pieces of
//! 2^(12 + 9 (n − 1)) bytes. An entry's next level says what it leads to: a table of that level (1–6), a page of the size of
//! a piece (0), or a page whose size is encoded in its address (7); such a page is repeated in every piece it covers.
//! A table may be skipped: the bits of the address that it would have decoded must then be zero.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{PAGE_SHIFT, PHYSICAL_BITS, SizedRange};

/// Entries of a table.
pub const ENTRIES: usize = 512;
/// Bits of an address that a table decodes.
pub const LEVEL_BITS: u32 = 9;
/// The highest level: 64 bits of address, of which a table of that level decodes the upper 7.
pub const MOST_LEVELS: u8 = 6;

/// log2 of the bytes that one entry of a table at `level` (1–6) stands for.
pub const fn entry_shift(level: u8) -> u32 {
    PAGE_SHIFT + LEVEL_BITS * (level as u32 - 1)
}

/// Which entry of the table at `level` (1–6) decodes `address`.
pub const fn index(address: u64, level: u8) -> usize {
    ((address >> entry_shift(level)) & 0x1ff) as usize
}

/// The first address that a table at `level` does not decode; `None`: it decodes all.
pub const fn reach(level: u8) -> Option<u64> {
    if level >= MOST_LEVELS { None } else { Some(1 << entry_shift(level + 1)) }
}

/// An entry of a page table (section 2.2.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PageEntry {
    /// PR: present. If not, all other bits are the software's.
    pub pr: bool,
    /// For the software.
    #[bits(4)]
    pub software: u8,
    /// A: accessed, set by the IOMMU where the device table entry's HAD says so.
    pub accessed: bool,
    /// D: dirty, likewise.
    pub dirty: bool,
    /// For the software.
    #[bits(2)]
    pub software7: u8,
    /// Next level: what the entry leads to.
    #[bits(3)]
    pub next_level: u8,
    /// Bits 51:12 of the address of the table or page.
    #[bits(40)]
    pub frame: u64,
    #[bits(7)]
    pub reserved52: u8,
    /// U: pages only: ATS translation responses tell the device that only untranslated accesses are allowed.
    pub untranslated_only: bool,
    /// FC: pages only: accesses are forced to be coherent.
    pub fc: bool,
    /// IR: reads are allowed.
    pub ir: bool,
    /// IW: writes are allowed.
    pub iw: bool,
    /// For the software.
    pub software63: bool,
}

impl PageEntry {
    /// Next level of an entry that is a page of the default size of its level.
    pub const PAGE: u8 = 0;
    /// Next level of an entry that is a page whose size is in its address.
    pub const SIZED_PAGE: u8 = 7;

    /// Leads to the table of level `level` at `address`. What is allowed is for the pages to say.
    pub const fn table(address: u64, level: u8) -> Self {
        Self::at(address).with_next_level(level).with_ir(true).with_iw(true)
    }

    /// A page of the size of its level's entries at `address`, forced to be coherent.
    pub const fn page(address: u64, read: bool, write: bool) -> Self {
        Self::at(address).with_fc(true).with_ir(read).with_iw(write)
    }

    /// A page of the size and at the place of `range`; one of 4 KiB has no such entry and gets that of [`page`](Self::page).
    pub const fn sized_page(range: SizedRange, read: bool, write: bool) -> Self {
        let entry = Self::page(range.encode(), read, write);
        if range.is_page() { entry } else { entry.with_next_level(Self::SIZED_PAGE) }
    }

    const fn at(address: u64) -> Self {
        PageEntry::new()
            .with_pr(true)
            .with_frame(address >> PAGE_SHIFT & ((1 << (PHYSICAL_BITS - PAGE_SHIFT)) - 1))
    }

    /// Address in the entry, with the size of a sized page still in it.
    pub const fn address(self) -> u64 {
        self.frame() << PAGE_SHIFT
    }

    /// Whether a present entry leads to a table.
    pub const fn is_table(self) -> bool {
        !matches!(self.next_level(), Self::PAGE | Self::SIZED_PAGE)
    }

    /// What physical memory a present page in a table at `level` (1–6) covers; `None` if it is a table, or the page is
    /// not aligned to its size or too large for any address.
    pub const fn target(self, level: u8) -> Option<SizedRange> {
        match self.next_level() {
            Self::PAGE => match SizedRange::containing(self.address(), entry_shift(level)) {
                Some(range) if range.start() == self.address() => Some(range),
                _ => None,
            },
            Self::SIZED_PAGE => Some(SizedRange::decode(self.address())),
            _ => None,
        }
    }

    /// Whether bits are set that the specification reserves in a present entry of its kind.
    pub const fn has_reserved_bits(self) -> bool {
        self.reserved52() != 0 || self.is_table() && (self.fc() || self.untranslated_only())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        assert_eq!(u64::from(PageEntry::table(0x1234_5000, 3)), 1 << 62 | 1 << 61 | 0x1234_5000 | 3 << 9 | 1);
        assert_eq!(u64::from(PageEntry::page(0x8000_0000, true, false)), 1 << 61 | 1 << 60 | 0x8000_0000 | 1);
        let range = SizedRange::containing(0x8000_0000, 16).unwrap();
        let entry = PageEntry::sized_page(range, false, true);
        assert_eq!(u64::from(entry), 1 << 62 | 1 << 60 | 0x8000_7000 | 7 << 9 | 1);
        assert_eq!(entry.target(1), Some(range));
        assert_eq!(PageEntry::page(u64::MAX, false, false).address(), 0xf_ffff_ffff_f000);
    }

    #[test]
    fn levels_decode_their_bits() {
        let address = 0x7a34_5678_9abc_def0;
        let indexes: Vec<usize> = (1..=6).map(|level| index(address, level)).collect();
        let joined = indexes.iter().rev().fold(0u64, |sum, &index| sum << 9 | index as u64);
        assert_eq!(joined, address >> 12);
        assert_eq!(index(u64::MAX, 6), 0x7f);
        assert_eq!((reach(1), reach(4), reach(6)), (Some(1 << 21), Some(1 << 48), None));
    }

    #[test]
    fn a_page_is_aligned_to_its_size() {
        assert_eq!(PageEntry::page(0x20_0000, true, true).target(2).unwrap().bytes(), 0x20_0000);
        assert_eq!(PageEntry::page(0x20_1000, true, true).target(2), None);
        assert_eq!(PageEntry::table(0x20_0000, 1).target(2), None);
        assert!(PageEntry::table(0, 1).with_fc(true).has_reserved_bits());
        assert!(!PageEntry::page(0, true, true).has_reserved_bits());
    }
}
