//! I/O virtualization hardware definition blocks (section 5.2.2).

use std::fmt;

use bitfield_struct::bitfield;

use super::{DeviceEntry, DeviceMap, IvrsError, Reader, Skipped};
use crate::{DeviceId, ExtendedFeatures, ExtendedFeatures2};

/// Type of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockType(pub u8);

impl BlockType {
    /// An IOMMU with the fields of the first revision.
    pub const IVHD_10: Self = BlockType(0x10);
    /// An IOMMU with its extended features.
    pub const IVHD_11: Self = BlockType(0x11);
    /// The same, with devices that ACPI names.
    pub const IVHD_40: Self = BlockType(0x40);
    /// Memory for all devices.
    pub const IVMD_ALL: Self = BlockType(0x20);
    /// Memory for one device.
    pub const IVMD_SELECT: Self = BlockType(0x21);
    /// Memory for a range of devices.
    pub const IVMD_RANGE: Self = BlockType(0x22);
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}h", self.0)
    }
}

/// Flags of an IVHD: what is to be set in the control register, and what devices may do.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct IvhdFlags {
    /// HtTunEn.
    pub ht_tun_en: bool,
    /// PassPW.
    pub pass_pw: bool,
    /// ResPassPW.
    pub res_pass_pw: bool,
    /// Isoc.
    pub isoc: bool,
    /// IotlbSup: devices may have IOTLBs.
    pub iotlb_sup: bool,
    /// Coherent.
    pub coherent: bool,
    /// PreFSup; only in blocks of type 10h.
    pub pref_sup: bool,
    /// PPRSup; only in blocks of type 10h.
    pub ppr_sup: bool,
}

/// IOMMU info.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct IommuInfo {
    /// MSInum: message of the IOMMU's own interrupts.
    #[bits(5)]
    pub msi_num: u8,
    #[bits(3)]
    __: u8,
    /// UnitID: HyperTransport unit.
    #[bits(5)]
    pub unit_id: u8,
    #[bits(3)]
    __: u8,
}

/// IOMMU feature reporting of a block of type 10h: some of what the extended feature register says.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LegacyFeatures {
    /// XTSup.
    pub xt_sup: bool,
    /// NXSup.
    pub nx_sup: bool,
    /// GTSup.
    pub gt_sup: bool,
    /// GLXSup.
    #[bits(2)]
    pub glx_sup: u8,
    /// IASup.
    pub ia_sup: bool,
    /// GASup.
    pub ga_sup: bool,
    /// HESup.
    pub he_sup: bool,
    /// PASmax.
    #[bits(5)]
    pub pas_max: u8,
    /// PNCounters: performance counters of a bank.
    #[bits(4)]
    pub counters: u8,
    /// PNBanks: banks of performance counters.
    #[bits(6)]
    pub banks: u8,
    /// MsiNumPPR: message of the PPR log's interrupts.
    #[bits(5)]
    pub msi_num_ppr: u8,
    /// GATS.
    #[bits(2)]
    pub gats: u8,
    /// HATS.
    #[bits(2)]
    pub hats: u8,
}

/// IOMMU attributes of a block of type 11h or 40h.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IvhdAttributes {
    #[bits(13)]
    __: u16,
    /// PNCounters: performance counters of a bank.
    #[bits(4)]
    pub counters: u8,
    /// PNBanks: banks of performance counters.
    #[bits(6)]
    pub banks: u8,
    /// MsiNumPPR: message of the PPR log's interrupts.
    #[bits(5)]
    pub msi_num_ppr: u8,
    #[bits(4)]
    __: u8,
}

/// What a block says of the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvhdFeatures {
    /// Of type 10h.
    Legacy(LegacyFeatures),
    /// Of type 11h or 40h: images of the registers.
    Registers {
        /// Attributes.
        attributes: IvhdAttributes,
        /// EFR register image.
        efr: ExtendedFeatures,
        /// EFR register image 2.
        efr2: ExtendedFeatures2,
    },
}

/// One IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivhd {
    /// Where the block starts in the table.
    pub offset: usize,
    /// Its type.
    pub kind: BlockType,
    /// Flags.
    pub flags: IvhdFlags,
    /// The PCI function that the IOMMU is.
    pub device: DeviceId,
    /// Where its capability is in that function's configuration space.
    pub capability: u16,
    /// Physical address of its registers.
    pub base: u64,
    /// The PCI segment of its devices.
    pub segment: u16,
    /// Interrupt and unit numbers.
    pub info: IommuInfo,
    /// Features.
    pub features: IvhdFeatures,
    /// Devices.
    pub entries: Vec<DeviceEntry>,
}

impl Ivhd {
    pub(super) fn parse(
        block: &mut Reader<'_>,
        kind: BlockType,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Self, IvrsError> {
        let offset = block.offset();
        let length = block.left();
        let short = |_| IvrsError::BlockLength { offset, kind, length };
        let mut ivhd = Self::fields(block, kind).map_err(short)?;
        // Registers are aligned to their length of at least 16 KiB.
        if ivhd.base == 0 || !ivhd.base.is_multiple_of(crate::registers::REGISTERS_LEN) {
            return Err(IvrsError::BaseAddress { offset, base: ivhd.base });
        }
        while !block.is_empty() {
            let entry = DeviceEntry::parse(block, kind, skipped)?;
            ivhd.entries.extend(entry);
        }
        ivhd.report_ranges(skipped);
        Ok(ivhd)
    }

    fn fields(block: &mut Reader<'_>, kind: BlockType) -> Result<Self, IvrsError> {
        let offset = block.offset();
        block.u8()?;
        let flags = IvhdFlags::from(block.u8()?);
        block.u16()?;
        let device = DeviceId(block.u16()?);
        let capability = block.u16()?;
        let base = block.u64()?;
        let segment = block.u16()?;
        let info = IommuInfo::from(block.u16()?);
        let features = if kind == BlockType::IVHD_10 {
            IvhdFeatures::Legacy(LegacyFeatures::from(block.u32()?))
        } else {
            IvhdFeatures::Registers {
                attributes: IvhdAttributes::from(block.u32()?),
                efr: ExtendedFeatures::from(block.u64()?),
                efr2: ExtendedFeatures2::from(block.u64()?),
            }
        };
        Ok(Ivhd {
            offset,
            kind,
            flags,
            device,
            capability,
            base,
            segment,
            info,
            features,
            entries: Vec::new(),
        })
    }

    /// Whether two blocks are about the same IOMMU.
    pub fn is_same_unit(&self, other: &Ivhd) -> bool {
        let name = |ivhd: &Ivhd| (ivhd.segment, ivhd.device, ivhd.capability);
        name(self) == name(other)
    }

    /// Which devices are behind the IOMMU.
    pub fn devices(&self) -> DeviceMap {
        DeviceMap::new(&self.entries)
    }

    /// Tells of range entries that are not paired.
    fn report_ranges(&self, skipped: &mut Vec<Skipped>) {
        let mut open = None;
        let without_end = |(offset, first)| Skipped::RangeWithoutEnd { offset, first };
        for entry in &self.entries {
            match *entry {
                DeviceEntry::StartRange { offset, first, .. } => {
                    skipped.extend(open.replace((offset, first)).map(without_end));
                }
                DeviceEntry::EndRange { offset, last } => {
                    let paired = open.take().is_some_and(|(_, first)| first <= last);
                    skipped.extend((!paired).then_some(Skipped::RangeWithoutStart { offset, last }));
                }
                _ => {}
            }
        }
        skipped.extend(open.map(without_end));
    }
}
