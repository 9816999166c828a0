//! Identify Controller (CNS 01h).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::power::PowerStateDescriptor;

/// OACS: optional admin commands (section 5.15.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OptionalAdminCommands {
    /// Security Send and Receive.
    pub security: bool,
    /// Format NVM.
    pub format: bool,
    /// Firmware Commit and Image Download.
    pub firmware: bool,
    /// Namespace Management and Attachment.
    pub namespace_management: bool,
    /// Device Self-test.
    pub self_test: bool,
    /// Directives.
    pub directives: bool,
    /// NVMe-MI Send and Receive.
    pub management_interface: bool,
    /// Virtualization Management.
    pub virtualization: bool,
    /// Doorbell Buffer Config.
    pub doorbell_buffer: bool,
    /// Get LBA Status.
    pub lba_status: bool,
    #[bits(6)]
    __: u8,
}

/// ONCS: optional NVM commands (section 5.15.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OptionalNvmCommands {
    /// Compare.
    pub compare: bool,
    /// Write Uncorrectable.
    pub write_uncorrectable: bool,
    /// Dataset Management.
    pub dataset_management: bool,
    /// Write Zeroes.
    pub write_zeroes: bool,
    /// The Save field of Set Features and the Select field of Get Features.
    pub save_features: bool,
    /// Reservations.
    pub reservations: bool,
    /// Timestamp feature.
    pub timestamp: bool,
    /// Verify.
    pub verify: bool,
    /// Copy (2.0).
    pub copy: bool,
    #[bits(7)]
    __: u8,
}

/// SQES and CQES: sizes of queue entries as powers of two (section 5.15.2.2).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QueueEntrySize {
    /// Required, and smallest.
    #[bits(4)]
    pub required: u8,
    /// Largest.
    #[bits(4)]
    pub largest: u8,
}

/// VWC: volatile write cache (section 5.15.2.2).
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WriteCache {
    /// There is one.
    pub present: bool,
    /// How Flush treats NSID FFFFFFFFh (0: not told, 2: refused, 3: all namespaces).
    #[bits(2)]
    pub flush_all: u8,
    #[bits(5)]
    __: u8,
}

/// SGLS: SGL support (section 5.15.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SglSupport {
    /// 0: none; 1: without, 2: with a requirement of dword alignment and granularity.
    #[bits(2)]
    pub support: u8,
    /// Keyed SGL Data Block descriptors.
    pub keyed: bool,
    #[bits(5)]
    __: u8,
    /// SDT: recommended most descriptors in an SGL; 0: not told (2.0).
    pub descriptor_threshold: u8,
    /// Bit Bucket descriptors.
    pub bit_bucket: bool,
    /// Byte aligned contiguous metadata.
    pub metadata_alignment: bool,
    /// An SGL may be longer than the data.
    pub larger: bool,
    /// MPTR may hold an SGL segment.
    pub metadata_sgl: bool,
    /// Addresses may be offsets.
    pub offset: bool,
    #[bits(11)]
    __: u16,
}

/// Identify Controller, 4096 bytes (section 5.15.2.2, figure "Identify – Identify Controller Data Structure").
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentifyController {
    /// VID: PCI vendor.
    pub vid: u16,
    /// SSVID: PCI subsystem vendor.
    pub ssvid: u16,
    /// SN: serial number, ASCII.
    pub sn: [u8; 20],
    /// MN: model number, ASCII.
    pub mn: [u8; 40],
    /// FR: firmware revision, ASCII.
    pub fr: [u8; 8],
    /// RAB: recommended arbitration burst, as a power of two.
    pub rab: u8,
    /// IEEE: OUI of the vendor.
    pub ieee: [u8; 3],
    /// CMIC: multi-path and sharing.
    pub cmic: u8,
    /// MDTS: largest transfer in pages of CAP.MPSMIN, as a power of two; 0: no limit.
    pub mdts: u8,
    /// CNTLID: controller identifier.
    pub cntlid: u16,
    /// VER: as the VS register.
    pub ver: u32,
    /// RTD3R: typical time to resume from D3, in µs; 0: not told.
    pub rtd3r: u32,
    /// RTD3E: typical time to enter D3, in µs; 0: not told.
    pub rtd3e: u32,
    /// OAES: optional asynchronous events, bits as in [`crate::AsyncEventConfig`].
    pub oaes: u32,
    /// CTRATT: attributes.
    pub ctratt: u32,
    /// RRLS: read recovery levels.
    pub rrls: u16,
    /// Reserved.
    pub reserved102: [u8; 9],
    /// CNTRLTYPE: controller type; 1: I/O controller.
    pub cntrltype: u8,
    /// FGUID: FRU globally unique identifier.
    pub fguid: [u8; 16],
    /// CRDT1–3: command retry delays in units of 100 ms.
    pub crdt: [u16; 3],
    /// Reserved.
    pub reserved134: [u8; 122],
    /// OACS: optional admin commands.
    pub oacs: OptionalAdminCommands,
    /// ACL: most Abort commands at a time, less one.
    pub acl: u8,
    /// AERL: most Asynchronous Event Requests at a time, less one.
    pub aerl: u8,
    /// FRMW: firmware slots in bits 3:1, slot 1 read only in bit 0, activation without reset in bit 4.
    pub frmw: u8,
    /// LPA: log page attributes; bit 2: Get Log Page takes lengths over 4 KiB and offsets.
    pub lpa: u8,
    /// ELPE: entries of the error log, less one.
    pub elpe: u8,
    /// NPSS: power states, less one.
    pub npss: u8,
    /// AVSCC: admin vendor specific command configuration.
    pub avscc: u8,
    /// APSTA: bit 0: autonomous power state transitions are supported.
    pub apsta: u8,
    /// WCTEMP: temperature to warn at, in kelvin; 0: not told.
    pub wctemp: u16,
    /// CCTEMP: critical temperature in kelvin; 0: not told.
    pub cctemp: u16,
    /// MTFA: longest firmware activation in units of 100 ms.
    pub mtfa: u16,
    /// HMPRE: preferred size of the host memory buffer in units of 4 KiB; 0: none wanted.
    pub hmpre: u32,
    /// HMMIN: least size of the host memory buffer in units of 4 KiB.
    pub hmmin: u32,
    /// TNVMCAP: total capacity in bytes, low half first.
    pub tnvmcap: [u64; 2],
    /// UNVMCAP: unallocated capacity in bytes, low half first.
    pub unvmcap: [u64; 2],
    /// RPMBS: replay protected memory blocks.
    pub rpmbs: u32,
    /// EDSTT: extended device self-test time in minutes.
    pub edstt: u16,
    /// DSTO: device self-test options.
    pub dsto: u8,
    /// FWUG: firmware update granularity in units of 4 KiB.
    pub fwug: u8,
    /// KAS: keep alive granularity in units of 100 ms; 0: not supported.
    pub kas: u16,
    /// HCTMA: bit 0: host controlled thermal management.
    pub hctma: u16,
    /// MNTMT: least thermal management temperature in kelvin.
    pub mntmt: u16,
    /// MXTMT: greatest thermal management temperature in kelvin.
    pub mxtmt: u16,
    /// SANICAP: sanitize capabilities.
    pub sanicap: u32,
    /// HMMINDS: least size of a host memory buffer descriptor in units of 4 KiB; 0: any.
    pub hmminds: u32,
    /// HMMAXD: most host memory buffer descriptors; 0: any number.
    pub hmmaxd: u16,
    /// NSETIDMAX: greatest NVM set identifier.
    pub nsetidmax: u16,
    /// ENDGIDMAX: greatest endurance group identifier.
    pub endgidmax: u16,
    /// ANATT: asymmetric namespace access transition time in seconds.
    pub anatt: u8,
    /// ANACAP: asymmetric namespace access capabilities.
    pub anacap: u8,
    /// ANAGRPMAX: greatest ANA group identifier.
    pub anagrpmax: u32,
    /// NANAGRPID: number of ANA group identifiers.
    pub nanagrpid: u32,
    /// PELS: persistent event log size in units of 64 KiB.
    pub pels: u32,
    /// Domain identifier (2.0) and reserved.
    pub reserved356: [u8; 156],
    /// SQES: sizes of submission queue entries.
    pub sqes: QueueEntrySize,
    /// CQES: sizes of completion queue entries.
    pub cqes: QueueEntrySize,
    /// MAXCMD: most commands to have outstanding on a queue; 0: not told.
    pub maxcmd: u16,
    /// NN: greatest namespace id.
    pub nn: u32,
    /// ONCS: optional NVM commands.
    pub oncs: OptionalNvmCommands,
    /// FUSES: bit 0: fused compare and write.
    pub fuses: u16,
    /// FNA: Format NVM attributes.
    pub fna: u8,
    /// VWC: volatile write cache.
    pub vwc: WriteCache,
    /// AWUN: blocks written atomically, less one.
    pub awun: u16,
    /// AWUPF: blocks written atomically when power fails, less one.
    pub awupf: u16,
    /// NVSCC: NVM vendor specific command configuration.
    pub nvscc: u8,
    /// NWPC: namespace write protection.
    pub nwpc: u8,
    /// ACWU: blocks of an atomic compare and write, less one.
    pub acwu: u16,
    /// Copy descriptor formats (2.0).
    pub cdfs: u16,
    /// SGLS: SGL support.
    pub sgls: SglSupport,
    /// MNAN: most namespaces; 0: as NN.
    pub mnan: u32,
    /// Reserved and 2.0 domain limits.
    pub reserved544: [u8; 224],
    /// SUBNQN: NVMe qualified name of the subsystem, UTF-8, ended by a zero.
    pub subnqn: [u8; 256],
    /// Reserved.
    pub reserved1024: [u8; 768],
    /// Of NVMe over Fabrics.
    pub fabrics: [u8; 256],
    /// PSD0–PSD31: power states.
    pub psd: [PowerStateDescriptor; 32],
    /// Vendor specific.
    pub vendor: [u8; 1024],
}

const _: () = assert!(size_of::<IdentifyController>() == 4096);
const _: () = assert!(std::mem::offset_of!(IdentifyController, ver) == 80);
const _: () = assert!(std::mem::offset_of!(IdentifyController, cntrltype) == 111);
const _: () = assert!(std::mem::offset_of!(IdentifyController, crdt) == 128);
const _: () = assert!(std::mem::offset_of!(IdentifyController, oacs) == 256);
const _: () = assert!(std::mem::offset_of!(IdentifyController, hmpre) == 272);
const _: () = assert!(std::mem::offset_of!(IdentifyController, kas) == 320);
const _: () = assert!(std::mem::offset_of!(IdentifyController, hmminds) == 332);
const _: () = assert!(std::mem::offset_of!(IdentifyController, pels) == 352);
const _: () = assert!(std::mem::offset_of!(IdentifyController, sqes) == 512);
const _: () = assert!(std::mem::offset_of!(IdentifyController, sgls) == 536);
const _: () = assert!(std::mem::offset_of!(IdentifyController, subnqn) == 768);
const _: () = assert!(std::mem::offset_of!(IdentifyController, psd) == 2048);
