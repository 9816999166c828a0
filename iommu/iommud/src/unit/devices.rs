//! The device table (section 2.2.2).

use amd_vi_spec::{
    DeviceId, DeviceTableEntry, DomainId, DteInterrupt, PAGE_SHIFT,
    ivrs::DteSetting,
    registers::{DeviceTableBase, MOST_DEVICES},
};
use redox_driver_sys::dma::DmaSlice;

use super::{firmware::UnitFirmware, memory::TableMemory, options::Unclaimed, registers::Registers};

/// The domain of devices that are blocked or pass: what is cached under it is nothing.
pub const NO_DOMAIN: DomainId = DomainId(0);

/// Entries of a page of a table: tables have whole pages.
const PER_PAGE: usize = (1 << PAGE_SHIFT) / size_of::<DeviceTableEntry>();
/// What the size field of a table with an entry for every device says.
const MOST_SIZE: u16 = 0x1ff;

/// What a device may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// No memory.
    Blocked,
    /// All memory, under physical addresses.
    Pass,
    /// What a page table says.
    Domain {
        /// Under which name the unit remembers translations: the same for all devices with this page table and for no
        /// others. 0 is not for domains.
        id: DomainId,
        /// Physical address of the page table.
        root: u64,
        /// Its levels.
        levels: u8,
    },
}

impl Target {
    fn entry(self) -> DeviceTableEntry {
        match self {
            Target::Blocked => DeviceTableEntry::blocked(NO_DOMAIN),
            Target::Pass => DeviceTableEntry::passing(NO_DOMAIN),
            Target::Domain { id, root, levels } => DeviceTableEntry::translated(id, root, levels),
        }
    }
}

/// The entries of all devices, in one or more segments.
pub(super) struct DeviceTable {
    segments: Vec<DmaSlice<DeviceTableEntry>>,
    /// Bits of a DeviceID that name an entry in its segment.
    bits: u32,
}

impl DeviceTable {
    /// A table in 2^`segments` segments for the devices of a unit, which may do what `unclaimed` says; all others nothing.
    pub(super) fn new(
        memory: &mut TableMemory,
        firmware: &UnitFirmware,
        unclaimed: Unclaimed,
        segments: u8,
    ) -> redox_driver_sys::Result<Self> {
        let requesters = firmware.devices.requesters();
        let bits = MOST_DEVICES.ilog2() - u32::from(segments);
        let mut table = DeviceTable { segments: Vec::new(), bits };
        for segment in 0..1usize << segments {
            let of_segment = |&&(device, _): &&(DeviceId, DteSetting)| table.place(device).0 == segment;
            let last =
                requesters.iter().rev().find(of_segment).map_or(0, |&(device, _)| table.place(device).1);
            let entries = memory.slice((last + 1).next_multiple_of(PER_PAGE))?;
            for index in 0..entries.len() {
                entries.write(index, Target::Blocked.entry());
            }
            table.segments.push(entries);
        }
        for (device, setting) in requesters {
            let target = match unclaimed {
                Unclaimed::Block => Target::Blocked,
                Unclaimed::Pass => Target::Pass,
            };
            table.write(device, with_setting(target.entry(), setting));
        }
        Ok(table)
    }

    /// The segment of a device, and its place there.
    fn place(&self, device: DeviceId) -> (usize, usize) {
        let id = usize::from(device.0);
        (id >> self.bits, id & ((1 << self.bits) - 1))
    }

    /// Tells the unit where the table is.
    pub(super) fn install(&self, registers: &Registers) {
        for (register, entries) in registers.device_tables.iter().zip(&self.segments) {
            // At most 64 Ki entries, of which a page has 128.
            let size = u16::try_from(entries.len() / PER_PAGE - 1).unwrap_or(MOST_SIZE);
            register
                .write(DeviceTableBase::new().with_frame(entries.addr().get() >> PAGE_SHIFT).with_size(size));
        }
    }

    fn write(&self, device: DeviceId, entry: DeviceTableEntry) {
        let (segment, index) = self.place(device);
        if let Some(entries) = self.segments.get(segment).filter(|entries| index < entries.len()) {
            entries.write(index, entry);
        }
    }

    /// The entry of a device; blocked, if the table ends before.
    pub(super) fn read(&self, device: DeviceId) -> DeviceTableEntry {
        let (segment, index) = self.place(device);
        let entries = self.segments.get(segment).filter(|entries| index < entries.len());
        entries.map_or(Target::Blocked.entry(), |entries| entries.read(index))
    }

    /// Changes a quarter of an entry, which the unit reads as a whole.
    fn store(&self, device: DeviceId, quarter: usize, value: u64) {
        let (segment, index) = self.place(device);
        if let Some(entries) = self.segments.get(segment).filter(|entries| index < entries.len()) {
            entries.store_release(index, 8 * quarter, value);
        }
    }

    /// Blocks a device, without a look at the rest of its entry.
    pub(super) fn block(&self, device: DeviceId) {
        self.store(device, 0, Target::Blocked.entry().paging.into());
    }

    /// Sets what a device reaches. It must be blocked, and the unit must know that.
    pub(super) fn set_target(&self, device: DeviceId, target: Target) {
        let entry = target.entry();
        let domain = self.read(device).domain.with_domain_id(entry.domain.domain_id());
        self.store(device, 1, domain.into());
        self.store(device, 0, entry.paging.into());
    }

    /// Sets what becomes of a device's interrupts, with what passes by firmware's wish; whether that is a change.
    pub(super) fn set_interrupts(&self, device: DeviceId, interrupt: DteInterrupt) -> bool {
        let old = self.read(device).interrupt;
        let interrupt = interrupt
            .with_init_pass(old.init_pass())
            .with_eint_pass(old.eint_pass())
            .with_nmi_pass(old.nmi_pass())
            .with_lint0_pass(old.lint0_pass())
            .with_lint1_pass(old.lint1_pass());
        self.store(device, 2, interrupt.into());
        interrupt != old
    }
}

fn with_setting(mut entry: DeviceTableEntry, setting: DteSetting) -> DeviceTableEntry {
    entry.interrupt = DteInterrupt::new()
        .with_init_pass(setting.init_pass())
        .with_eint_pass(setting.eint_pass())
        .with_nmi_pass(setting.nmi_pass())
        .with_lint0_pass(setting.lint0_pass())
        .with_lint1_pass(setting.lint1_pass());
    entry.domain = entry.domain.with_system_management(setting.system_management());
    entry
}
