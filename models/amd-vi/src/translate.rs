//! What becomes of an access to memory (section 2.2).

use amd_vi_spec::{
    DeviceId, DeviceTableEntry, DomainId, EventCode, EventFlags, HardwareError, INTERRUPT_ADDRESSES,
    InvalidRequest, PAGE_SIZE, PagingMode, page_table,
};
use redox_driver_sys::model::Bus;

use crate::{
    core::Core,
    fault::LifecycleFault,
    violation::Violation,
    walk::{Page, Table, WalkFault, walk},
};

impl Core {
    /// Where an access of a device to a byte goes; `None`: nowhere, and an event says why.
    pub(crate) fn translate(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        address: u64,
        write: bool,
    ) -> Option<u64> {
        // A unit that is gone lets nothing through: its devices are, too.
        if self.removed {
            return None;
        }
        if !self.control.iommu_en() {
            return Some(address);
        }
        self.statistics.translations += 1;
        let target = self.access(bus, device, address, write);
        if target.is_none() {
            self.statistics.blocked += 1;
        }
        target
    }

    fn access(&mut self, bus: &mut dyn Bus, device: DeviceId, address: u64, write: bool) -> Option<u64> {
        let flags = EventFlags::new().with_write(write);
        let entry = self.device_entry(bus, device, flags, address)?;
        if INTERRUPT_ADDRESSES.contains(&address) {
            let kind = if write { InvalidRequest::UPSTREAM } else { InvalidRequest::READ };
            self.log_access(bus, EventCode::INVALID_DEVICE_REQUEST, device, flags.with_kind(kind), address);
            return None;
        }
        if !entry.paging.valid() {
            return Some(address);
        }
        if entry.is_illegal() {
            self.log_access(bus, EventCode::ILLEGAL_DEV_TABLE_ENTRY, device, flags, address);
            return None;
        }
        if self.is_excluded(&entry, address) {
            return Some(address);
        }
        let domain = DomainId(entry.domain.domain_id());
        let flags = flags.with_domain(domain.0);
        match self.look_up(bus, &entry, address) {
            Ok(page) if if write { page.write } else { page.read } => {
                Some(page.target + (address - page.range.start()))
            }
            Ok(_) => {
                self.page_fault(bus, device, &entry, flags.with_present(true).with_permission(true), address)
            }
            Err(WalkFault::NotPresent) => self.page_fault(bus, device, &entry, flags, address),
            Err(WalkFault::Reserved) => {
                self.violate(Violation::PageTable { domain, address });
                self.page_fault(bus, device, &entry, flags.with_present(true).with_reserved(true), address)
            }
            Err(WalkFault::Unreadable(place)) => {
                let flags = flags.with_kind(HardwareError::MASTER_ABORT);
                self.log_access(bus, EventCode::PAGE_TAB_HARDWARE_ERROR, device, flags, place);
                None
            }
        }
    }

    fn page_fault(
        &mut self,
        bus: &mut dyn Bus,
        device: DeviceId,
        entry: &DeviceTableEntry,
        flags: EventFlags,
        address: u64,
    ) -> Option<u64> {
        let mut quiet = entry.domain.suppress_all_events();
        if entry.domain.suppress_events() && !quiet {
            quiet = self.suppressed.contains(&device);
            if !quiet {
                self.suppressed.push(device);
            }
        }
        if !quiet {
            self.log_access(bus, EventCode::IO_PAGE_FAULT, device, flags, address);
        }
        None
    }

    /// Whether an access goes around translation (section 2.2.4).
    fn is_excluded(&self, entry: &DeviceTableEntry, address: u64) -> bool {
        let (base, limit) = self.exclusion;
        let frame = address / PAGE_SIZE;
        base.enable()
            && (base.allow_all() || entry.domain.exclusion())
            && (base.frame()..=limit.frame()).contains(&frame)
    }

    /// The page of an address, with what the device table allows taken into account.
    fn look_up(
        &mut self,
        bus: &mut dyn Bus,
        entry: &DeviceTableEntry,
        address: u64,
    ) -> Result<Page, WalkFault> {
        let paging = entry.paging;
        if !paging.translation_valid() {
            return Err(WalkFault::NotPresent);
        }
        let allowed =
            |page: Page| Page { read: page.read && paging.ir(), write: page.write && paging.iw(), ..page };
        let mode = paging.mode();
        if mode == PagingMode::NONE {
            let range = amd_vi_spec::SizedRange::containing(address, amd_vi_spec::PAGE_SHIFT);
            let range = range.ok_or(WalkFault::NotPresent)?;
            let target = range.start();
            return Ok(allowed(Page { range, target, read: true, write: true, entry: 0, entries: 0 }));
        }
        if page_table::reach(mode).is_some_and(|reach| address >= reach) {
            return Err(WalkFault::NotPresent);
        }
        let domain = DomainId(entry.domain.domain_id());
        if let Some(page) = self.caches.page(domain, address) {
            return Ok(allowed(page));
        }
        if self.config.not_present_cached && self.caches.is_absent(domain, address) {
            return Err(WalkFault::NotPresent);
        }
        let root = Table { address: paging.table(), level: mode, read: true, write: true };
        let result = self.walk(bus, domain, root, address);
        match result {
            Ok(page) => self.caches.remember_page(domain, page),
            Err(WalkFault::NotPresent) => self.caches.remember_absent(domain, address),
            Err(_) => {}
        }
        result.map(allowed)
    }

    fn walk(
        &mut self,
        bus: &mut dyn Bus,
        domain: DomainId,
        root: Table,
        address: u64,
    ) -> Result<Page, WalkFault> {
        self.statistics.walks += 1;
        let start =
            self.caches.table(domain, address).filter(|table| table.level < root.level).unwrap_or(root);
        let broken = self.broken(LifecycleFault::PageTableError);
        let caches = &mut self.caches;
        let fetch = |place| if broken { None } else { Core::fetch(bus, place) };
        let page = walk(start, address, fetch, |table| caches.remember_table(domain, address, table))?;
        let mut first = None;
        let same = (0..page.entries).all(|index| {
            let entry = Core::fetch(bus, page.entry + 8 * index);
            *first.get_or_insert(entry) == entry
        });
        if !same {
            self.violate(Violation::Replicas { domain, address });
        }
        Ok(page)
    }
}
