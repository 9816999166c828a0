//! The device table (section 2.2.2): one entry of 256 bits for each DeviceID.

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::DomainId;

/// What the IOMMU knows of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceTableEntry {
    /// Bits 63:0.
    pub paging: DtePaging,
    /// Bits 127:64.
    pub domain: DteDomain,
    /// Bits 191:128.
    pub interrupt: DteInterrupt,
    /// Bits 255:192.
    pub attributes: DteAttributes,
}

const _: () = assert!(size_of::<DeviceTableEntry>() == 32);

/// Bits 63:0 of a device table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DtePaging {
    /// V: bits 127:1 are valid. If not, accesses to memory pass without translation.
    pub valid: bool,
    /// TV: mode, page table root, IR and IW are valid. If not, accesses are blocked.
    pub translation_valid: bool,
    #[bits(5)]
    pub reserved2: u8,
    /// HAD: whether the IOMMU sets accessed (bit 0) and dirty (bit 1) bits in page tables.
    #[bits(2)]
    pub had: u8,
    /// Mode: levels of the page table, a [`PagingMode`].
    #[bits(3)]
    pub mode: u8,
    /// Host page table root pointer, bits 51:12.
    #[bits(40)]
    pub root: u64,
    /// PPR: the device may ask for pages.
    pub ppr: bool,
    /// GPRP: PPR responses carry the PASID.
    pub gprp: bool,
    /// GIoV: requests without PASID use guest translation.
    pub giov: bool,
    /// GV: guest translation is valid.
    pub gv: bool,
    /// GLX: levels of the guest CR3 table, less one.
    #[bits(2)]
    pub glx: u8,
    /// Guest CR3 table root pointer, bits 14:12.
    #[bits(3)]
    pub gcr3_14_12: u8,
    /// IR: reads are allowed.
    pub ir: bool,
    /// IW: writes are allowed.
    pub iw: bool,
    pub reserved63: bool,
}

/// Bits 127:64 of a device table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DteDomain {
    /// DomainID.
    pub domain_id: u16,
    /// Guest CR3 table root pointer, bits 30:15.
    pub gcr3_30_15: u16,
    /// I: the device may use its own IOTLB (ATS).
    pub iotlb: bool,
    /// SE: suppress page fault events after the first of the device.
    pub suppress_events: bool,
    /// SA: suppress all page fault events of the device.
    pub suppress_all_events: bool,
    /// IoCtl: port I/O is blocked (0), passed (1) or translated (2).
    #[bits(2)]
    pub io_control: u8,
    /// Cache: whether the IOMMU may cache what ATS requests looked up.
    pub cache: bool,
    /// SD: snoop disable for translation table reads.
    pub snoop_disable: bool,
    /// EX: the exclusion range is for this device.
    pub exclusion: bool,
    /// SysMgt: system management messages are blocked (0), passed (1: only messages, 2: all) or translated (3).
    #[bits(2)]
    pub system_management: u8,
    /// SATS: secure ATS.
    pub secure_ats: bool,
    /// Guest CR3 table root pointer, bits 51:31.
    #[bits(21)]
    pub gcr3_51_31: u32,
}

/// Bits 191:128 of a device table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DteInterrupt {
    /// IV: the interrupt fields are valid. If not, interrupts pass.
    pub valid: bool,
    /// IntTabLen: log2 of the entries of the interrupt remapping table; at most
    /// [`MOST_TABLE_LEN`](Self::MOST_TABLE_LEN).
    #[bits(4)]
    pub table_len: u8,
    /// IG: ignore unmapped interrupts, without an event.
    pub ignore_unmapped: bool,
    /// Interrupt table root pointer, bits 51:6.
    #[bits(46)]
    pub root: u64,
    #[bits(4)]
    pub reserved52: u8,
    /// INITPass: INIT interrupts pass.
    pub init_pass: bool,
    /// EIntPass: external interrupts pass.
    pub eint_pass: bool,
    /// NMIPass: NMIs pass.
    pub nmi_pass: bool,
    /// HPTMode: how the host page table is found with guest translation (EFR: SNP).
    pub hpt_mode: bool,
    /// IntCtl: what happens to fixed and arbitrated interrupts, an [`InterruptControl`].
    #[bits(2)]
    pub control: u8,
    /// Lint0Pass: legacy PIC interrupts pass.
    pub lint0_pass: bool,
    /// Lint1Pass: legacy NMIs pass.
    pub lint1_pass: bool,
}

impl DteInterrupt {
    /// The largest `table_len`: 2,048 entries.
    pub const MOST_TABLE_LEN: u8 = 11;

    /// Address of the interrupt remapping table.
    pub const fn table(self) -> u64 {
        self.root() << 6
    }

    /// Sets the address of the interrupt remapping table; its low 6 bits are dropped.
    #[must_use]
    pub const fn with_table(self, address: u64) -> Self {
        self.with_root(address >> 6 & ((1 << 46) - 1))
    }
}

/// Bits 255:192 of a device table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DteAttributes {
    /// Fields of virtualized IOMMUs.
    #[bits(54)]
    pub virtualization: u64,
    /// AttrV: the attributes after it are valid.
    pub attributes_valid: bool,
    /// Mode0FC: accesses of a device with mode 0 are forced to be coherent.
    pub mode0_fc: bool,
    /// SnoopAttribute.
    pub snoop: u8,
}

/// What [`DtePaging::mode`] means. 7 is reserved.
pub struct PagingMode;

impl PagingMode {
    /// No translation: device address is physical address, IR and IW hold.
    pub const NONE: u8 = 0;
    /// The highest number of levels.
    pub const MOST: u8 = 6;
}

/// What [`DteInterrupt::control`] means. 3 is reserved.
pub struct InterruptControl;

impl InterruptControl {
    /// Blocked.
    pub const BLOCK: u8 = 0;
    /// Passed as they are.
    pub const PASS: u8 = 1;
    /// Remapped by the table.
    pub const REMAP: u8 = 2;
}

impl DtePaging {
    /// Address of the page table.
    pub const fn table(self) -> u64 {
        self.root() << 12
    }

    /// Sets the address of the page table; its low 12 bits are dropped.
    #[must_use]
    pub const fn with_table(self, address: u64) -> Self {
        self.with_root(address >> 12 & ((1 << 40) - 1))
    }
}

impl DeviceTableEntry {
    /// The device reaches no memory. Its interrupts are for [`Self::interrupt`] to say.
    pub fn blocked(domain: DomainId) -> Self {
        DeviceTableEntry {
            paging: DtePaging::new().with_valid(true).with_translation_valid(true),
            domain: DteDomain::new().with_domain_id(domain.0),
            ..Self::default()
        }
    }

    /// The device reaches all memory under its physical addresses.
    pub fn passing(domain: DomainId) -> Self {
        let mut entry = Self::blocked(domain);
        entry.paging = entry.paging.with_mode(PagingMode::NONE).with_ir(true).with_iw(true);
        entry
    }

    /// The device reaches what the page table of `levels` (1–6) levels at `root` says.
    pub fn translated(domain: DomainId, root: u64, levels: u8) -> Self {
        let mut entry = Self::passing(domain);
        entry.paging = entry.paging.with_mode(levels).with_table(root);
        entry
    }

    /// Whether bits are set, or values, that the specification reserves in a valid entry (section 2.2.2.1): an access of
    /// the device then logs ILLEGAL_DEV_TABLE_ENTRY.
    pub const fn is_illegal(&self) -> bool {
        let paging = self.paging;
        let reserved = paging.reserved2() != 0 || paging.reserved63();
        let mode = paging.translation_valid() && paging.mode() > PagingMode::MOST;
        let io = self.domain.io_control() == 3;
        reserved || mode || io
    }

    /// The same of the interrupt fields, when they are valid.
    pub const fn has_illegal_interrupts(&self) -> bool {
        let interrupt = self.interrupt;
        let remapping = interrupt.control() == InterruptControl::REMAP;
        interrupt.reserved52() != 0
            || interrupt.control() > InterruptControl::REMAP
            || remapping && interrupt.table_len() > DteInterrupt::MOST_TABLE_LEN
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::transmute;

    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let entry = DeviceTableEntry::translated(DomainId(0x1234), 0xf_1234_5678_9000, 4);
        let words: [u64; 4] = transmute!(entry);
        assert_eq!(words, [3 << 61 | 0xf_1234_5678_9000 | 4 << 9 | 3, 0x1234, 0, 0]);
        let interrupt = DteInterrupt::new()
            .with_valid(true)
            .with_table_len(9)
            .with_table(0xf_ffff_ffff_ffc0)
            .with_control(InterruptControl::REMAP)
            .with_lint1_pass(true);
        assert_eq!(u64::from(interrupt), 1 << 63 | 2 << 60 | 0xf_ffff_ffff_ffc0 | 9 << 1 | 1);
        assert_eq!(interrupt.table(), 0xf_ffff_ffff_ffc0);
        let domain = DteDomain::new().with_iotlb(true).with_exclusion(true).with_system_management(3);
        assert_eq!(u64::from(domain), 1 << 32 | 1 << 39 | 3 << 40);
        assert_eq!(u64::from(DteAttributes::new().with_mode0_fc(true)), 1 << 55);
    }

    #[test]
    fn reserved_values_are_noticed() {
        let entry = DeviceTableEntry::translated(DomainId(1), 0x1000, 3);
        assert!(!entry.is_illegal() && !entry.has_illegal_interrupts());
        let with = |paging: DtePaging| DeviceTableEntry { paging, ..entry }.is_illegal();
        assert!(with(entry.paging.with_reserved2(1)));
        assert!(with(entry.paging.with_reserved63(true)));
        assert!(with(entry.paging.with_mode(7)));
        assert!(!with(entry.paging.with_mode(7).with_translation_valid(false)));
        let with = |interrupt| DeviceTableEntry { interrupt, ..entry }.has_illegal_interrupts();
        assert!(with(DteInterrupt::new().with_control(3)));
        assert!(with(DteInterrupt::new().with_control(2).with_table_len(12)));
        assert!(!with(DteInterrupt::new().with_control(1).with_table_len(12)));
    }
}
