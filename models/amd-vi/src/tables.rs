//! Page tables made by hand.

use amd_vi_spec::{PageEntry, page_table};
use redox_driver_sys::{
    Result,
    dma::{DmaAllocator, DmaBuffer, DmaSlice},
};

/// A page table in the machine's memory to which a test adds entry by entry, and changes what it likes.
#[derive(Debug)]
pub struct Tables {
    memory: DmaAllocator,
    /// The tables that it consists of; the first is the root.
    pub tables: Vec<DmaSlice<u64>>,
    levels: u8,
}

impl Tables {
    /// An empty one of `levels` levels.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(memory: &DmaAllocator, levels: u8) -> Result<Self> {
        let root = memory.allocate_slice(page_table::ENTRIES)?;
        Ok(Tables { memory: memory.clone(), tables: vec![root], levels })
    }

    /// Physical address of the root; 0 if a test has taken it away.
    pub fn root(&self) -> u64 {
        self.tables.first().map_or(0, |root| root.addr().get())
    }

    /// Maps the 4 KiB at `address` to the first page of `buffer`, for reads and writes.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn map(&mut self, address: u64, buffer: &DmaBuffer) -> Result<(usize, usize)> {
        self.set(address, 1, PageEntry::page(buffer.addr().get(), true, true))
    }

    /// Puts `entry` where it decodes `address` in a table at `level`, with as many tables above as that takes. Gives the
    /// table and the index there.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn set(&mut self, address: u64, level: u8, entry: PageEntry) -> Result<(usize, usize)> {
        let mut table = 0;
        for above in (level + 1..=self.levels).rev() {
            let index = page_table::index(address, above);
            let next = PageEntry::from(self.read(table, index));
            let known =
                self.tables.iter().position(|table| next.pr() && table.addr().get() == next.address());
            table = match known {
                Some(known) => known,
                None => {
                    let new = self.memory.allocate_slice(page_table::ENTRIES)?;
                    self.write(table, index, PageEntry::table(new.addr().get(), above - 1));
                    self.tables.push(new);
                    self.tables.len() - 1
                }
            };
        }
        let index = page_table::index(address, level);
        self.write(table, index, entry);
        Ok((table, index))
    }

    /// Takes the entry for the 4 KiB at `address` away.
    ///
    /// # Errors
    /// When there is no memory for the tables that lead there.
    pub fn unmap(&mut self, address: u64) -> Result<()> {
        self.set(address, 1, PageEntry::new()).map(drop)
    }

    fn read(&self, table: usize, index: usize) -> u64 {
        self.tables.get(table).map_or(0, |table| table.read(index))
    }

    fn write(&self, table: usize, index: usize, entry: PageEntry) {
        if let Some(table) = self.tables.get(table) {
            table.write(index, entry.into());
        }
    }
}
