//! What goes over the channel. The order of variants and fields is the wire format.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a PCI function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciAddress {
    /// Segment group.
    pub segment: u16,
    /// Bus number.
    pub bus: u8,
    /// Device number, 0–31.
    pub device: u8,
    /// Function number, 0–7.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress { segment, bus, device, function } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

/// A base address register as pcid found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PciBar {
    /// Not implemented, or the upper half of the register before.
    None,
    /// Memory with a 32-bit address.
    Memory32 {
        /// Physical address.
        addr: u32,
        /// Length in bytes.
        size: u32,
    },
    /// Memory with a 64-bit address.
    Memory64 {
        /// Physical address.
        addr: u64,
        /// Length in bytes.
        size: u64,
    },
    /// I/O ports from this one on.
    Port(u16),
}

/// Where the interrupt pin of a function is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyInterruptLine {
    /// Interrupt number; its vector is 32 more.
    pub irq: u8,
    /// On systems with a device tree: the interrupt controller's phandle, the interrupt's cells and their number.
    pub phandled: Option<(u32, [u32; 3], u64)>,
}

/// Expansion ROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciRom {
    /// Physical address.
    pub addr: u32,
    /// Length in bytes.
    pub size: u32,
    /// Whether it answers accesses.
    pub enabled: bool,
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullDeviceId {
    /// Vendor ID.
    pub vendor_id: u16,
    /// Device ID.
    pub device_id: u16,
    /// Base class.
    pub class: u8,
    /// Subclass.
    pub subclass: u8,
    /// Programming interface.
    pub interface: u8,
    /// Revision ID.
    pub revision: u8,
}

/// What pcid knows of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    /// Where it is.
    pub addr: PciAddress,
    /// Its base address registers.
    pub bars: [PciBar; 6],
    /// Its expansion ROM.
    pub rom: Option<PciRom>,
    /// Its interrupt pin, where it has one.
    pub legacy_interrupt_line: Option<LegacyInterruptLine>,
    /// What it is.
    pub full_device_id: FullDeviceId,
}

/// What a driver is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubdriverArguments {
    /// The function that it is for.
    pub func: PciFunction,
}

/// Whether a feature is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureStatus {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// A feature that pcid manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PciFeature {
    /// MSI.
    Msi,
    /// MSI-X.
    MsiX,
}

/// Address and data of an interrupt message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsiAddrAndData {
    /// Where the message is written to.
    pub addr: u64,
    /// What is written.
    pub data: u32,
}

/// The MSI capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsiInfo {
    /// Number of vectors that the function can use, as a power of two.
    pub log2_multiple_message_capable: u8,
    /// Whether the message address has 64 bits.
    pub is_64bit: bool,
    /// Whether vectors can be masked one by one.
    pub has_per_vector_masking: bool,
}

/// The MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsixInfo {
    /// BAR with the vector table.
    pub table_bar: u8,
    /// Offset of the vector table in that BAR.
    pub table_offset: u32,
    /// Number of vectors.
    pub table_size: u16,
    /// BAR with the pending bits.
    pub pba_bar: u8,
    /// Offset of the pending bits in that BAR.
    pub pba_offset: u32,
}

/// What pcid says of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PciFeatureInfo {
    /// MSI.
    Msi(MsiInfo),
    /// MSI-X.
    MsiX(MsixInfo),
}

/// What to change in the MSI capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsiSetFeatureInfo {
    /// Number of vectors in use, as a power of two: 0–5.
    pub multi_message_enable: Option<u8>,
    /// The message.
    pub message_address_and_data: Option<MsiAddrAndData>,
    /// Which vectors are masked.
    pub mask_bits: Option<u32>,
}

/// What to change in a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetFeatureInfo {
    /// MSI.
    Msi(MsiSetFeatureInfo),
    /// MSI-X.
    MsiX {
        /// Whether all vectors are masked.
        function_mask: Option<bool>,
    },
}

/// A vendor-specific capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorSpecificCapability {
    /// Its bytes after the first three (id, next, length).
    pub data: Vec<u8>,
}

/// What a driver asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PcidClientRequest {
    /// Route the interrupt pin, and switch on memory space, I/O space and bus mastering.
    EnableDevice,
    /// Tell where and what the function is.
    RequestConfig,
    /// Tell which features it has.
    RequestFeatures,
    /// Tell its vendor-specific capabilities.
    RequestVendorCapabilities,
    /// Switch a feature on, and the other one off.
    EnableFeature(PciFeature),
    /// Tell about a feature.
    FeatureInfo(PciFeature),
    /// Change a feature.
    SetFeatureInfo(SetFeatureInfo),
    /// Read 32 bits of configuration space.
    ReadConfig(u16),
    /// Write 32 bits of configuration space.
    WriteConfig(u16, u32),
}

/// Why pcid refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PcidServerResponseError {
    /// The function has no such feature.
    NonexistentFeature(PciFeature),
    /// A value makes no sense.
    InvalidBitPattern,
}

impl fmt::Display for PcidServerResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcidServerResponseError::NonexistentFeature(feature) => {
                write!(f, "the function has no {feature:?}")
            }
            PcidServerResponseError::InvalidBitPattern => f.write_str("the value is not valid"),
        }
    }
}

/// What pcid answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PcidClientResponse {
    /// To `EnableDevice`.
    EnabledDevice,
    /// To `RequestConfig`.
    Config(Box<SubdriverArguments>),
    /// To `RequestFeatures`.
    AllFeatures(Vec<PciFeature>),
    /// To `RequestVendorCapabilities`.
    VendorCapabilities(Vec<VendorSpecificCapability>),
    /// To `EnableFeature`.
    FeatureEnabled(PciFeature),
    /// To nothing that can be asked; upstream keeps its number.
    FeatureStatus(PciFeature, FeatureStatus),
    /// Refused.
    Error(PcidServerResponseError),
    /// To `FeatureInfo`.
    FeatureInfo(PciFeature, PciFeatureInfo),
    /// To `SetFeatureInfo`.
    SetFeatureInfo(PciFeature),
    /// To `ReadConfig`.
    ReadConfig(u32),
    /// To `WriteConfig`.
    WriteConfig,
}

impl PciFeatureInfo {
    /// The feature that this is about.
    pub const fn feature(&self) -> PciFeature {
        match self {
            PciFeatureInfo::Msi(_) => PciFeature::Msi,
            PciFeatureInfo::MsiX(_) => PciFeature::MsiX,
        }
    }
}

impl SetFeatureInfo {
    /// The feature that this changes.
    pub const fn feature(&self) -> PciFeature {
        match self {
            SetFeatureInfo::Msi(_) => PciFeature::Msi,
            SetFeatureInfo::MsiX { .. } => PciFeature::MsiX,
        }
    }
}
