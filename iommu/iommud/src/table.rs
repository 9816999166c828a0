//! I/O page tables of one domain ("v1" tables, section 2.2.3).

use amd_vi_spec::{
    PAGE_SIZE, PageEntry, SizedRange,
    page_table::{ENTRIES, LEVEL_BITS, entry_shift, index},
};
use redox_driver_sys::{
    Result,
    dma::{DmaAllocator, DmaSlice},
};

/// log2 of the largest page that is used.
const LARGEST: u32 = 30;

/// What a device may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Reads.
    pub read: bool,
    /// Writes.
    pub write: bool,
}

/// Which sizes of pages are used, as bits: bit 12 for 4 KiB, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSizes(pub u64);

impl PageSizes {
    /// Every size up to 1 GiB.
    pub const ALL: PageSizes = PageSizes(0x7fff_f000);
    /// The sizes that an entry of some level has by itself: 4 KiB, 2 MiB and 1 GiB.
    pub const DEFAULT: PageSizes = PageSizes(1 << 12 | 1 << 21 | 1 << 30);
    /// Only the smallest.
    pub const SMALL: PageSizes = PageSizes(PAGE_SIZE);

    /// log2 of the largest page that may be at `iova` and `address` with `len` bytes to go.
    fn largest(self, iova: u64, address: u64, len: u64, most: u32) -> u32 {
        let aligned = (iova | address).trailing_zeros().min(most);
        let fitting = aligned.min(len.ilog2());
        // Only sizes that fit; 4 KiB always does.
        let below = self.0 & (u64::MAX >> (63 - fitting)) | PAGE_SIZE;
        below.ilog2()
    }
}

/// The tree of tables. A page of it is given back when no entry in it is present any more, and the unit has forgotten it.
#[derive(Debug)]
pub struct PageTable {
    memory: DmaAllocator,
    root: Node,
    levels: u8,
    sizes: PageSizes,
    tables: usize,
}

/// A table, and those below it.
#[derive(Debug)]
struct Node {
    entries: DmaSlice<PageEntry>,
    /// Present entries.
    used: u16,
    /// Empty at level 1.
    children: Vec<Option<Box<Node>>>,
}

/// Tables that were taken out of the tree. The unit may still read them until it has confirmed an invalidation of them.
#[derive(Debug, Default)]
#[must_use = "to be dropped when the unit has forgotten them"]
pub struct Removed(Vec<Node>);

impl Removed {
    /// Whether there are tables: the invalidation must be of them as well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others.
    pub fn extend(&mut self, other: Removed) {
        self.0.extend(other.0);
    }

    /// Never gives them back.
    pub fn leak(self) {
        std::mem::forget(self.0);
    }
}

impl Node {
    fn new(memory: &DmaAllocator, level: u8) -> Result<Self> {
        let children = if level > 1 { (0..ENTRIES).map(|_| None).collect() } else { Vec::new() };
        Ok(Node { entries: memory.allocate_slice(ENTRIES)?, used: 0, children })
    }
}

impl PageTable {
    /// An empty table of `levels` (1–6) levels in memory that has physical addresses.
    ///
    /// # Errors
    /// No memory.
    pub fn new(memory: &DmaAllocator, levels: u8, sizes: PageSizes) -> Result<Self> {
        let root = Node::new(memory, levels)?;
        Ok(PageTable { memory: memory.clone(), root, levels, sizes, tables: 1 })
    }

    /// Physical address of the uppermost table.
    pub fn root(&self) -> u64 {
        self.root.entries.addr().get()
    }

    /// Levels.
    pub fn levels(&self) -> u8 {
        self.levels
    }

    /// Pages of memory that the tables are.
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// The first address beyond what the tables decode; `None`: all is decoded.
    pub fn end(&self) -> Option<u64> {
        amd_vi_spec::page_table::reach(self.levels)
    }

    /// Maps `len` bytes at `iova`, of which nothing is mapped, to `address`. All three are whole pages.
    ///
    /// # Errors
    /// No memory: then what was mapped so far stays so, and is to be unmapped.
    pub fn map(&mut self, iova: u64, address: u64, len: u64, access: Access) -> Result<()> {
        // Pages of a level are at most half of what the table above divides.
        let most = entry_shift(self.levels) + LEVEL_BITS - 1;
        let (mut at, mut target, mut left) = (iova, address, len);
        while left >= PAGE_SIZE {
            let shift = self.sizes.largest(at, target, left, most.min(LARGEST));
            self.map_page(at, target, shift, access)?;
            at = at.wrapping_add(1 << shift);
            target = target.wrapping_add(1 << shift);
            left -= 1 << shift;
        }
        Ok(())
    }

    fn map_page(&mut self, iova: u64, address: u64, shift: u32, access: Access) -> Result<()> {
        let mut node = &mut self.root;
        let mut level = self.levels;
        while shift < entry_shift(level) {
            let at = index(iova, level);
            level -= 1;
            if node.children[at].is_none() {
                let child = Box::new(Node::new(&self.memory, level)?);
                self.tables += 1;
                // After the zeroes of the child: the unit may look at any time.
                let entry = PageEntry::table(child.entries.addr().get(), level);
                node.entries.store_release::<u64>(at, 0, entry.into());
                node.used += 1;
                node.children[at] = Some(child);
            }
            // It was just put there.
            let Some(child) = &mut node.children[at] else { return Ok(()) };
            node = child;
        }
        let repeated = 1usize << (shift - entry_shift(level));
        let entry = if repeated == 1 {
            PageEntry::page(address, access.read, access.write)
        } else {
            let range = SizedRange::containing(address, shift);
            range.map_or(PageEntry::new(), |range| PageEntry::sized_page(range, access.read, access.write))
        };
        let first = index(iova, level);
        for at in first..first + repeated {
            node.entries.store_release::<u64>(at, 0, entry.into());
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 512")]
        let added = repeated as u16;
        node.used += added;
        Ok(())
    }

    /// Unmaps what is mapped of the `len` bytes at `iova`; no page may lie partly within. The unit may remember it, and the
    /// tables that are returned, until it has confirmed an invalidation.
    pub fn unmap(&mut self, iova: u64, len: u64) -> Removed {
        let mut removed = Removed::default();
        if let Some(last) = len.checked_sub(1).map(|len| iova.saturating_add(len)) {
            clear(&mut self.root, self.levels, iova, last, &mut removed);
        }
        self.tables -= removed.0.len();
        removed
    }

    /// Where `iova` leads to, and what a device may do there.
    pub fn translate(&self, iova: u64) -> Option<(u64, Access)> {
        if self.end().is_some_and(|end| iova >= end) {
            return None;
        }
        let mut node = &self.root;
        let mut level = self.levels;
        loop {
            let at = index(iova, level);
            let entry = node.entries.read(at);
            if !entry.pr() {
                return None;
            }
            if let Some(range) = entry.target(level) {
                let access = Access { read: entry.ir(), write: entry.iw() };
                return Some((range.start() + (iova & (range.bytes() - 1)), access));
            }
            node = node.children.get(at)?.as_deref()?;
            level -= 1;
        }
    }
}

/// Clears entries of a table at `level` for the addresses from `first` to `last`.
fn clear(node: &mut Node, level: u8, first: u64, last: u64, removed: &mut Removed) {
    let shift = entry_shift(level);
    for at in index(first, level)..=index(last, level) {
        match node.children.get_mut(at) {
            Some(place @ Some(_)) => {
                let Some(child) = place else { continue };
                // The part of the range that is the child's.
                let above = first.checked_shr(shift + LEVEL_BITS).unwrap_or(0);
                let piece = (above << LEVEL_BITS | at as u64) << shift;
                let piece_last = piece | ((1 << shift) - 1);
                clear(child, level - 1, first.max(piece), last.min(piece_last), removed);
                if child.used == 0 {
                    node.entries.store_release::<u64>(at, 0, 0);
                    node.used -= 1;
                    removed.0.extend(place.take().map(|child| *child));
                }
            }
            _ if node.entries.read(at).pr() => {
                node.entries.store_release::<u64>(at, 0, 0);
                node.used -= 1;
            }
            _ => {}
        }
    }
}
