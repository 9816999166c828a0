//! MMIO registers (section 3.4). All have 64 bits unless they say otherwise.

use bitfield_struct::bitfield;

use crate::PAGE_SHIFT;

/// Device Table Base Address.
pub const DEVICE_TABLE_BASE: u64 = 0x00;
/// Command Buffer Base Address.
pub const COMMAND_BASE: u64 = 0x08;
/// Event Log Base Address.
pub const EVENT_BASE: u64 = 0x10;
/// IOMMU Control, a [`Control`](crate::Control).
pub const CONTROL: u64 = 0x18;
/// Exclusion Base.
pub const EXCLUSION_BASE: u64 = 0x20;
/// Exclusion Range Limit.
pub const EXCLUSION_LIMIT: u64 = 0x28;
/// IOMMU Extended Feature, an [`ExtendedFeatures`](crate::ExtendedFeatures); read only.
pub const EXTENDED_FEATURES: u64 = 0x30;
/// PPR Log Base Address.
pub const PPR_BASE: u64 = 0x38;
/// Hardware Event Upper: bits 127:64 of an event that could not be logged.
pub const HARDWARE_EVENT_UPPER: u64 = 0x40;
/// Hardware Event Lower.
pub const HARDWARE_EVENT_LOWER: u64 = 0x48;
/// Hardware Event Status, a [`HardwareEventStatus`].
pub const HARDWARE_EVENT_STATUS: u64 = 0x50;
/// Guest Virtual APIC Log Base Address.
pub const GA_LOG_BASE: u64 = 0xe0;
/// Guest Virtual APIC Log Tail Address.
pub const GA_LOG_TAIL_ADDRESS: u64 = 0xe8;
/// Device Table Segment 1 Base Address; those of segments 2 to 7 follow.
pub const DEVICE_TABLE_SEGMENT1_BASE: u64 = 0x100;
/// MSI Capability Header, 32 bits, when the feature MsiCapMmioSup is there. Multiple message enable and enable.
pub const MSI_CAPABILITY: u64 = 0x158;
/// MSI Address Low, 32 bits, likewise.
pub const MSI_ADDRESS_LOW: u64 = 0x15c;
/// MSI Address High, 32 bits, likewise.
pub const MSI_ADDRESS_HIGH: u64 = 0x160;
/// MSI Data, 32 bits, likewise.
pub const MSI_DATA: u64 = 0x164;
/// XT IOMMU General Interrupt Control, an [`XtInterruptControl`].
pub const XT_GENERAL_INTERRUPT: u64 = 0x170;
/// XT IOMMU PPR Interrupt Control.
pub const XT_PPR_INTERRUPT: u64 = 0x178;
/// XT IOMMU GA Log Interrupt Control.
pub const XT_GA_INTERRUPT: u64 = 0x180;
/// IOMMU Extended Feature 2, an [`ExtendedFeatures2`](crate::ExtendedFeatures2); read only.
pub const EXTENDED_FEATURES2: u64 = 0x1a0;
/// Command Buffer Head Pointer: where the IOMMU reads next.
pub const COMMAND_HEAD: u64 = 0x2000;
/// Command Buffer Tail Pointer: where the driver writes next.
pub const COMMAND_TAIL: u64 = 0x2008;
/// Event Log Head Pointer: where the driver reads next.
pub const EVENT_HEAD: u64 = 0x2010;
/// Event Log Tail Pointer: where the IOMMU writes next.
pub const EVENT_TAIL: u64 = 0x2018;
/// IOMMU Status, a [`Status`].
pub const STATUS: u64 = 0x2020;
/// PPR Log Head Pointer.
pub const PPR_HEAD: u64 = 0x2030;
/// PPR Log Tail Pointer.
pub const PPR_TAIL: u64 = 0x2038;

/// Bytes of MMIO space that every unit has. Units with performance counters have 512 KiB.
pub const REGISTERS_LEN: u64 = 0x4000;
/// The most segments of a device table.
pub const MOST_SEGMENTS: usize = 8;
/// The most entries of a device table, over all segments.
pub const MOST_DEVICES: u32 = 1 << 16;
/// Bytes of an entry of the command buffer and of the event log.
pub const RING_ENTRY: u64 = 16;

/// Capability header (section 3.1): the first dword of the IOMMU's capability in its PCI function's configuration space,
/// where [`Ivhd::capability`](crate::ivrs::Ivhd::capability) says.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CapabilityHeader {
    /// CapId: [`ID`](Self::ID).
    pub id: u8,
    /// CapPtr: the next capability.
    pub next: u8,
    /// CapType: [`TYPE`](Self::TYPE).
    #[bits(3)]
    pub kind: u8,
    /// CapRev.
    #[bits(5)]
    pub revision: u8,
    /// IotlbSup: devices may have IOTLBs.
    pub iotlb_sup: bool,
    /// HtTunnel.
    pub ht_tunnel: bool,
    /// NpCache: entries that are not present are cached, too, so that they must be invalidated when they become present.
    pub np_cache: bool,
    /// EFRSup: the extended feature register is there.
    pub efr_sup: bool,
    /// CapExt: there is a second dword of miscellaneous information.
    pub cap_ext: bool,
    #[bits(3)]
    __: u8,
}

impl CapabilityHeader {
    /// CapId of a secure device.
    pub const ID: u8 = 0x0f;
    /// CapType of an IOMMU.
    pub const TYPE: u8 = 3;
}

/// Where the base address of device table segment `segment` (0–7) is.
pub const fn device_table_base(segment: u8) -> u64 {
    match segment {
        0 => DEVICE_TABLE_BASE,
        _ => DEVICE_TABLE_SEGMENT1_BASE + 8 * (segment as u64 - 1),
    }
}

/// Device Table Base Address, and those of segments, whose size has one bit less (sections 3.4.1 and 3.4.14).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DeviceTableBase {
    /// Size: length in units of 4 KiB (128 entries), less one.
    #[bits(9)]
    pub size: u16,
    #[bits(3)]
    __: u8,
    /// Bits 51:12 of the address.
    #[bits(40)]
    pub frame: u64,
    #[bits(12)]
    __: u16,
}

impl DeviceTableBase {
    /// Address of the table.
    pub const fn address(self) -> u64 {
        self.frame() << PAGE_SHIFT
    }

    /// Entries of the table.
    pub const fn entries(self) -> u32 {
        (self.size() as u32 + 1) * 128
    }
}

/// Base address of the command buffer, the event log or the PPR log (sections 3.4.1 and 3.4.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RingBase {
    #[bits(12)]
    __: u16,
    /// Bits 51:12 of the address.
    #[bits(40)]
    pub frame: u64,
    #[bits(4)]
    __: u8,
    /// Len: log2 of the entries, from 8 (256 entries) on; what is less is reserved.
    #[bits(4)]
    pub log2_entries: u8,
    #[bits(4)]
    __: u8,
}

impl RingBase {
    /// The least [`log2_entries`](Self::log2_entries).
    pub const LEAST_LOG2: u8 = 8;

    /// Address of the ring.
    pub const fn address(self) -> u64 {
        self.frame() << PAGE_SHIFT
    }

    /// Length in bytes.
    pub const fn bytes(self) -> u64 {
        RING_ENTRY << self.log2_entries()
    }
}

/// A head or tail pointer: an offset in bytes from the ring's base, a multiple of 16.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RingPointer {
    #[bits(4)]
    __: u8,
    /// The offset in entries.
    #[bits(15)]
    pub entry: u16,
    #[bits(45)]
    __: u64,
}

impl RingPointer {
    /// The offset in bytes.
    pub const fn bytes(self) -> u64 {
        self.entry() as u64 * RING_ENTRY
    }
}

/// Exclusion Base (section 3.4.2): accesses of devices whose EX is set to the range are not translated.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ExclusionBase {
    /// ExEn: the range is valid.
    pub enable: bool,
    /// Allow: it is for all devices.
    pub allow_all: bool,
    #[bits(10)]
    __: u16,
    /// Bits 51:12 of the first address.
    #[bits(40)]
    pub frame: u64,
    #[bits(12)]
    __: u16,
}

/// Exclusion Range Limit (section 3.4.2): the page of its last address.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ExclusionLimit {
    #[bits(12)]
    __: u16,
    /// Bits 51:12 of the last address.
    #[bits(40)]
    pub frame: u64,
    #[bits(12)]
    __: u16,
}

/// Hardware Event Status (section 3.4.5).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct HardwareEventStatus {
    /// HEV: the hardware event registers hold an event; cleared by writing 1.
    pub valid: bool,
    /// HEO: another was lost.
    pub overflow: bool,
    #[bits(62)]
    __: u64,
}

/// XT IOMMU interrupt control (section 3.4.16): where the IOMMU's own interrupts go when IntCapXTEn is set.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct XtInterruptControl {
    #[bits(2)]
    __: u8,
    /// DestMode: the destination is logical.
    pub logical: bool,
    #[bits(5)]
    __: u8,
    /// Destination, bits 23:0.
    #[bits(24)]
    pub destination_low: u32,
    /// Vector; 0 to 15 are reserved.
    pub vector: u8,
    /// DM: arbitrated instead of fixed.
    pub arbitrated: bool,
    #[bits(15)]
    __: u16,
    /// Destination, bits 31:24.
    pub destination_high: u8,
}

/// IOMMU Status (section 3.4.15). Overflow and interrupt bits are cleared by writing 1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// EventOverflow: an event was lost, and logging has stopped.
    pub event_overflow: bool,
    /// EventLogInt: an event was logged.
    pub event_log_int: bool,
    /// ComWaitInt: a COMPLETION_WAIT with its i bit is done.
    pub com_wait_int: bool,
    /// EventLogRun: events are logged; read only.
    pub event_log_run: bool,
    /// CmdBufRun: commands are executed; read only.
    pub cmd_buf_run: bool,
    /// PPROverflow.
    pub ppr_overflow: bool,
    /// PPRInt.
    pub ppr_int: bool,
    /// PPRLogRun; read only.
    pub ppr_log_run: bool,
    /// GALogRun; read only.
    pub ga_log_run: bool,
    /// GALOverflow.
    pub ga_log_overflow: bool,
    /// GALInt.
    pub ga_log_int: bool,
    /// PPROverflowB.
    pub ppr_overflow_b: bool,
    /// PPRLogActive; read only.
    pub ppr_log_active: bool,
    #[bits(2)]
    __: u8,
    /// EvtOverflowB.
    pub event_overflow_b: bool,
    /// EvtLogActive; read only.
    pub event_log_active: bool,
    #[bits(47)]
    __: u64,
}

redox_driver_sys::register_values!(
    DeviceTableBase: u64, RingBase: u64, RingPointer: u64, ExclusionBase: u64, ExclusionLimit: u64,
    HardwareEventStatus: u64, XtInterruptControl: u64, Status: u64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_the_specification_puts_them() {
        let base = DeviceTableBase::new().with_frame(0x1_2345).with_size(511);
        assert_eq!((u64::from(base), base.entries()), (0x1234_51ff, 65536));
        let ring = RingBase::new().with_frame(0x1_2345).with_log2_entries(9);
        assert_eq!((u64::from(ring), ring.bytes()), (9 << 56 | 0x1234_5000, 8192));
        assert_eq!(RingPointer::from(u64::MAX).bytes(), 0x7_fff0);
        assert_eq!(u64::from(ExclusionBase::new().with_enable(true).with_frame(0x10)), 0x1_0001);
        let xt = XtInterruptControl::new()
            .with_destination_low(0x12_3456)
            .with_destination_high(0x78)
            .with_vector(0x9a);
        assert_eq!(u64::from(xt.with_logical(true)), 0x7800_009a_1234_5604);
        // What QEMU's function has.
        let header = CapabilityHeader::from(0x1f0b_000f);
        assert_eq!((header.id(), header.kind()), (CapabilityHeader::ID, CapabilityHeader::TYPE));
        assert!(header.np_cache() && header.iotlb_sup() && header.efr_sup() && header.cap_ext());
        let status = Status::from(0b1_1001);
        assert!(status.event_overflow() && status.event_log_run() && status.cmd_buf_run());
        assert_eq!(u64::from(Status::new().with_ga_log_overflow(true)), 1 << 9);
    }

    #[test]
    fn segments_follow_one_another() {
        let bases: Vec<u64> = (0..8).map(device_table_base).collect();
        assert_eq!(bases, [0, 0x100, 0x108, 0x110, 0x118, 0x120, 0x128, 0x130]);
    }
}
