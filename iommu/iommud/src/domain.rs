//! Domains: what is mapped where, for devices that share it.

use std::{collections::BTreeMap, sync::Arc};

use amd_vi_spec::{
    DomainId, INTERRUPT_ADDRESSES, PAGE_SHIFT, PAGE_SIZE, PHYSICAL_BITS, page_table::LEVEL_BITS,
};
use iommu_protocol::Range;
use redox_driver_sys::dma::{DmaAllocator, DmaPages};

use crate::{
    error::{Error, Result},
    iova::{IovaSpace, Wish},
    table::{Access, PageSizes, PageTable, Removed},
    unit::{ReservedMemory, Target},
};

/// The first address that is given out: below, a device that goes by a null pointer faults.
pub const LOWEST: u64 = 1 << 20;
/// Bits of addresses, if nobody asks for others: with these, tables have 3 levels.
pub const ADDRESS_BITS: u32 = 39;
/// The last address that an entry of a table can lead to.
const MOST_PHYSICAL: u64 = (1 << PHYSICAL_BITS) - 1;
/// From this length on, a range is aligned so that large pages fit.
const LARGE: u64 = 2 << 20;

/// Has the units forget what they remember of a domain.
pub trait Invalidate {
    /// They are to forget `len` bytes from `start` on; with `tables`, also the tables that led there.
    fn invalidate(&mut self, domain: DomainId, start: u64, len: u64, tables: bool);
    /// They are to forget everything of the domain.
    fn invalidate_domain(&mut self, domain: DomainId);
    /// Whether one may remember that nothing is mapped somewhere, so that it must forget that as well.
    fn remembers_absence(&self) -> bool;
    /// Waits until they have forgotten.
    ///
    /// # Errors
    /// When one does not: it may remember anything.
    fn sync(&mut self) -> Result<()>;
}

/// Memory that a client may map.
#[derive(Clone, Debug)]
pub struct Memory {
    /// How its owner calls it.
    pub handle: u32,
    /// Where it is. Kept while it is mapped.
    pub pages: Arc<DmaPages>,
}

/// What is to be mapped at one address.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Which memory.
    pub memory: Memory,
    /// First byte of it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What a device may do.
    pub access: Access,
    /// A power of two, or 0.
    pub align: u64,
    /// Where; `None`: where there is room.
    pub fixed: Option<u64>,
    /// Whether a page behind it stays unmapped.
    pub guard: bool,
}

#[derive(Debug)]
struct Mapping {
    len: u64,
    /// Addresses that are taken for it.
    taken: u64,
    offset: u64,
    access: Access,
    memory: Memory,
}

/// Mappings that follow one another: their ends are one to tables, units and the space.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u64,
    /// Bytes up to the end of the last mapping.
    len: u64,
    /// Addresses that are taken for them.
    taken: u64,
}

impl Run {
    /// All runs of a list, which keeps its order.
    fn all(mappings: &[(u64, Mapping)]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (start, Mapping { len, taken, .. }) in mappings {
            match runs.last_mut() {
                Some(run) if run.start + run.taken == *start => {
                    run.len = run.taken + len;
                    run.taken += taken;
                }
                _ => runs.push(Run { start: *start, len: *len, taken: *taken }),
            }
        }
        runs
    }
}

/// An address space.
#[derive(Debug)]
pub struct Domain {
    id: DomainId,
    table: PageTable,
    space: IovaSpace,
    last: u64,
    mappings: BTreeMap<u64, Mapping>,
    /// By their first addresses; no two overlap.
    reserved: BTreeMap<u64, ReservedMemory>,
}

impl Domain {
    /// An empty domain with addresses of `bits` bits.
    ///
    /// # Errors
    /// No memory.
    pub fn new(id: DomainId, memory: &DmaAllocator, bits: u32, sizes: PageSizes) -> Result<Self> {
        let levels = bits.saturating_sub(PAGE_SHIFT).div_ceil(LEVEL_BITS).clamp(1, 6);
        #[allow(clippy::cast_possible_truncation, reason = "at most 6")]
        let table = PageTable::new(memory, levels as u8, sizes).map_err(Error::Memory)?;
        let last = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        let mut space = IovaSpace::new(LOWEST.min(last), last);
        let (start, end) = (*INTERRUPT_ADDRESSES.start(), *INTERRUPT_ADDRESSES.end());
        if last >= end {
            // A write there is an interrupt.
            space.take_at(start, end + 1 - start);
        }
        Ok(Domain { id, table, space, last, mappings: BTreeMap::new(), reserved: BTreeMap::new() })
    }

    /// Under which name units remember translations.
    pub fn id(&self) -> DomainId {
        self.id
    }

    /// What a device table entry says.
    pub fn target(&self) -> Target {
        Target::Domain { id: self.id, root: self.table.root(), levels: self.table.levels() }
    }

    /// Number of mappings.
    pub fn mappings(&self) -> usize {
        self.mappings.len()
    }

    /// Pages of memory that the tables are.
    pub fn tables(&self) -> usize {
        self.table.tables()
    }

    /// Maps memory that firmware has a device use, once. Where a unit may remember that nothing was mapped, it has forgotten
    /// that when this returns.
    ///
    /// # Errors
    /// [`Error::InUse`] when something else is mapped there, or the same for fewer accesses; [`Error::Invalid`] when it is
    /// beyond the domain, or beyond what tables can hold; no memory. Parts may be mapped then, and a later attempt maps the
    /// rest.
    pub fn reserve(&mut self, memory: ReservedMemory, units: &mut dyn Invalidate) -> Result<()> {
        if memory.last > self.last.min(MOST_PHYSICAL) {
            return Err(Error::Invalid {
                what: "firmware reserves an address beyond the domain:",
                value: memory.last,
            });
        }
        let mut missing = self.missing(memory)?.into_iter();
        missing.try_for_each(|part| self.reserve_part(part, units))
    }

    /// The parts of `memory` that are not reserved.
    fn missing(&self, memory: ReservedMemory) -> Result<Vec<ReservedMemory>> {
        let mut parts = Vec::new();
        let mut next = memory.start;
        let overlaps = |there: &&ReservedMemory| there.start <= memory.last && there.last >= memory.start;
        for there in self.reserved.values().filter(overlaps) {
            if memory.read && !there.read || memory.write && !there.write {
                let what = format!("memory at {:#x} that firmware reserves for less", there.start);
                return Err(Error::InUse { what });
            }
            if there.start > next {
                parts.push(ReservedMemory { start: next, last: there.start - 1, ..memory });
            }
            next = there.last + 1;
        }
        if next <= memory.last {
            parts.push(ReservedMemory { start: next, ..memory });
        }
        Ok(parts)
    }

    fn reserve_part(&mut self, part: ReservedMemory, units: &mut dyn Invalidate) -> Result<()> {
        let ReservedMemory { start, last, read, write } = part;
        // What is below the lowest address is not the clients' anyway.
        let taken = start.max(LOWEST);
        let len = (last + 1).saturating_sub(taken);
        if len > 0 && !self.space.take_at(taken, len) {
            return Err(Error::InUse { what: format!("memory that firmware reserves at {start:#x}") });
        }
        let whole = last + 1 - start;
        if let Err(error) = self.table.map(start, start, whole, Access { read, write }) {
            let tables = self.table.unmap(start, whole);
            units.invalidate(self.id, start, whole, !tables.is_empty());
            if let Err(error) = units.sync() {
                // Taken for ever: a device may reach it.
                tables.leak();
                return Err(error);
            }
            if len > 0 {
                self.space.give_back(taken, len);
            }
            return Err(Error::Memory(error));
        }
        self.reserved.insert(start, part);
        if units.remembers_absence() {
            units.invalidate(self.id, start, whole, false);
            units.sync()?;
        }
        Ok(())
    }

    /// Maps all pieces below `mask`, or none.
    ///
    /// # Errors
    /// Why not.
    pub fn map(&mut self, pieces: &[Piece], mask: u64, units: &mut dyn Invalidate) -> Result<Vec<Range>> {
        let mut ranges = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match self.map_one(piece, mask, units) {
                Ok(range) => ranges.push(range),
                Err(error) => {
                    self.unmap(&ranges, units)?;
                    return Err(error);
                }
            }
        }
        if units.remembers_absence() {
            for range in &ranges {
                units.invalidate(self.id, range.address, range.len, false);
            }
            units.sync()?;
        }
        Ok(ranges)
    }

    fn map_one(&mut self, piece: &Piece, mask: u64, units: &mut dyn Invalidate) -> Result<Range> {
        let Piece { ref memory, offset, len, access, align, fixed, guard } = *piece;
        let invalid = |what, value| Err(Error::Invalid { what, value });
        let whole = memory.pages.len() as u64;
        if len == 0 || !len.is_multiple_of(PAGE_SIZE) {
            return invalid("length", len);
        }
        if !offset.is_multiple_of(PAGE_SIZE) || offset.checked_add(len).is_none_or(|end| end > whole) {
            return invalid("offset", offset);
        }
        if !access.read && !access.write {
            return invalid("access to neither read nor write at", offset);
        }
        if align != 0 && !align.is_power_of_two() {
            return invalid("alignment", align);
        }
        let taken = if guard { len + PAGE_SIZE } else { len };
        let mask = mask.min(self.last);
        let address = match fixed {
            Some(at) => {
                let last = at.checked_add(len - 1);
                if !at.is_multiple_of(PAGE_SIZE.max(align)) || last.is_none_or(|last| last > mask) {
                    return invalid("address", at);
                }
                if !self.space.take_at(at, taken) {
                    return Err(Error::InUse { what: format!("a part of {len:#x} bytes at {at:#x}") });
                }
                at
            }
            None => {
                let natural = if len >= LARGE { LARGE } else { PAGE_SIZE };
                let wish = Wish { len: taken, align: align.max(natural), mask };
                let full = Error::Full { len: taken, align: wish.align, mask };
                self.space.take(wish).ok_or(full)?
            }
        };
        let mapping = Mapping { len, taken, offset, access, memory: memory.clone() };
        let result = self.fill(address, &mapping);
        self.mappings.insert(address, mapping);
        let range = Range { address, len };
        if let Err(error) = result {
            self.unmap(&[range], units)?;
            return Err(error);
        }
        Ok(range)
    }

    fn fill(&mut self, address: u64, mapping: &Mapping) -> Result<()> {
        let mut done = 0;
        while done < mapping.len {
            // A list of segments has at most 4 GiB.
            let part = (mapping.len - done).min(1 << 31);
            let bounds = Error::Invalid { what: "offset", value: mapping.offset };
            let offset = usize::try_from(mapping.offset + done);
            let (Ok(offset), Ok(len)) = (offset, u32::try_from(part)) else { return Err(bounds) };
            for segment in mapping.memory.pages.segments(offset, len).map_err(Error::Memory)? {
                let (physical, len) = (segment.addr.get(), u64::from(segment.len));
                self.table.map(address + done, physical, len, mapping.access).map_err(Error::Memory)?;
                done += len;
            }
        }
        Ok(())
    }

    /// Unmaps ranges, each as it was mapped; all or none. No device reaches them any more when it returns.
    ///
    /// # Errors
    /// [`Error::Unknown`] when one is not mapped. When a unit fails, all of them stay out of use for ever.
    pub fn unmap(&mut self, ranges: &[Range], units: &mut dyn Invalidate) -> Result<()> {
        let mut ended = Vec::with_capacity(ranges.len());
        for range in ranges {
            match self.mappings.remove(&range.address) {
                Some(mapping) if mapping.len == range.len => ended.push((range.address, mapping)),
                other => {
                    // Nothing has been done but to take them out of the list.
                    self.mappings.extend(other.map(|mapping| (range.address, mapping)));
                    self.mappings.extend(ended);
                    return Err(Error::Unknown { what: "mapping at", name: format!("{:#x}", range.address) });
                }
            }
        }
        let runs = Run::all(&ended);
        let mut removed = Removed::default();
        for run in &runs {
            let tables = self.table.unmap(run.start, run.len);
            units.invalidate(self.id, run.start, run.len, !tables.is_empty());
            removed.extend(tables);
        }
        if runs.is_empty() {
            return Ok(());
        }
        if let Err(error) = units.sync() {
            removed.leak();
            std::mem::forget(ended);
            return Err(error);
        }
        for run in runs {
            self.space.give_back(run.start, run.taken);
        }
        Ok(())
    }

    /// What is mapped at an address: handle of the memory, byte of it, access.
    pub fn translate(&self, address: u64) -> Option<(u32, u64, Access)> {
        let (&start, mapping) = self.mappings.range(..=address).next_back()?;
        let skip = Some(address - start).filter(|&skip| skip < mapping.len)?;
        Some((mapping.memory.handle, mapping.offset + skip, mapping.access))
    }

    /// Ends the domain, which no device table entry names any more. Its memory is free when it returns.
    ///
    /// # Errors
    /// When a unit fails: memory and tables stay out of use for ever.
    pub fn end(self, units: &mut dyn Invalidate) -> Result<()> {
        units.invalidate_domain(self.id);
        let result = units.sync();
        if result.is_err() {
            // Never give back what a device might still reach.
            std::mem::forget(self);
        }
        result
    }
}
