//! What the IOMMU remembers of the tables. Nothing of it is looked up again until a command says so.

use std::collections::{BTreeMap, VecDeque};

use amd_vi_spec::{DeviceId, DeviceTableEntry, DomainId, Irte128, SizedRange, page_table};

use crate::walk::{Page, Table};

/// Entries by key; when there is no room, the oldest goes.
#[derive(Debug)]
struct Bounded<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Copy + Ord, V> Bounded<K, V> {
    fn new(most: usize) -> Self {
        Bounded { entries: BTreeMap::new(), order: VecDeque::new(), most }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.most == 0 {
            return;
        }
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.entries.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, value| keep(key, value));
        self.order.retain(|key| self.entries.contains_key(key));
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

/// Everything that is cached.
#[derive(Debug)]
pub(crate) struct Caches {
    devices: BTreeMap<DeviceId, DeviceTableEntry>,
    /// Domain and first address → page.
    pages: Bounded<(DomainId, u64), Page>,
    /// Domain, level and first address that it decodes → table.
    tables: Bounded<(DomainId, u8, u64), Table>,
    /// Domain and page → there was none.
    absent: Bounded<(DomainId, u64), ()>,
    interrupts: BTreeMap<(DeviceId, u16), Irte128>,
}

impl Caches {
    /// With room for `most` translations.
    pub(crate) fn new(most: usize) -> Self {
        Caches {
            devices: BTreeMap::new(),
            pages: Bounded::new(most),
            tables: Bounded::new(most),
            absent: Bounded::new(most),
            interrupts: BTreeMap::new(),
        }
    }

    pub(crate) fn device(&self, device: DeviceId) -> Option<DeviceTableEntry> {
        self.devices.get(&device).copied()
    }

    /// Every entry that is known.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &DeviceTableEntry> {
        self.devices.values()
    }

    pub(crate) fn remember_device(&mut self, device: DeviceId, entry: DeviceTableEntry) {
        self.devices.insert(device, entry);
    }

    pub(crate) fn forget_device(&mut self, device: DeviceId) {
        self.devices.remove(&device);
    }

    /// The page of `address`.
    pub(crate) fn page(&self, domain: DomainId, address: u64) -> Option<Page> {
        let (&(of, _), &page) = self.pages.entries.range(..=(domain, address)).next_back()?;
        (of == domain && address <= page.range.last()).then_some(page)
    }

    pub(crate) fn remember_page(&mut self, domain: DomainId, page: Page) {
        self.pages.insert((domain, page.range.start()), page);
    }

    /// The table nearest to the page of `address` that is known.
    pub(crate) fn table(&self, domain: DomainId, address: u64) -> Option<Table> {
        (1..page_table::MOST_LEVELS)
            .find_map(|level| self.tables.entries.get(&(domain, level, first_of(address, level))).copied())
    }

    pub(crate) fn remember_table(&mut self, domain: DomainId, address: u64, table: Table) {
        self.tables.insert((domain, table.level, first_of(address, table.level)), table);
    }

    /// Whether it is known that `address` has no page.
    pub(crate) fn is_absent(&self, domain: DomainId, address: u64) -> bool {
        self.absent.entries.contains_key(&(domain, address >> amd_vi_spec::PAGE_SHIFT))
    }

    pub(crate) fn remember_absent(&mut self, domain: DomainId, address: u64) {
        self.absent.insert((domain, address >> amd_vi_spec::PAGE_SHIFT), ());
    }

    /// Forgets the pages of a domain that are in `range` (`None`: all), and with `tables` the tables that lead there.
    pub(crate) fn forget_pages(&mut self, domain: DomainId, range: Option<SizedRange>, tables: bool) {
        let (start, last) = range.map_or((0, u64::MAX), |range| (range.start(), range.last()));
        let meets = |from: u64, to: u64| from <= last && start <= to;
        self.pages.retain(|&(of, from), page| of != domain || !meets(from, page.range.last()));
        self.absent.retain(|&(of, page), ()| {
            of != domain || !meets(page << amd_vi_spec::PAGE_SHIFT, page << amd_vi_spec::PAGE_SHIFT)
        });
        if tables {
            self.tables.retain(|&(of, level, from), _| {
                let reach = page_table::reach(level).map_or(u64::MAX, |reach| reach - 1);
                of != domain || !meets(from, from | reach)
            });
        }
    }

    pub(crate) fn interrupt(&self, device: DeviceId, index: u16) -> Option<Irte128> {
        self.interrupts.get(&(device, index)).copied()
    }

    pub(crate) fn remember_interrupt(&mut self, device: DeviceId, index: u16, entry: Irte128) {
        self.interrupts.insert((device, index), entry);
    }

    pub(crate) fn forget_interrupts(&mut self, device: DeviceId) {
        self.interrupts.retain(|&(of, _), _| of != device);
    }

    pub(crate) fn clear(&mut self) {
        self.devices.clear();
        self.pages.clear();
        self.tables.clear();
        self.absent.clear();
        self.interrupts.clear();
    }
}

/// The first address that the table of `address` at `level` decodes.
fn first_of(address: u64, level: u8) -> u64 {
    page_table::reach(level).map_or(0, |reach| address & !(reach - 1))
}
