//! Device entries of an IVHD (section 5.2.2.5).

use bitfield_struct::bitfield;

use super::{BlockType, IvrsError, Reader, Skipped};
use crate::DeviceId;

/// DTE setting: what firmware wants to be set in the device table entry.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct DteSetting {
    /// INITPass.
    pub init_pass: bool,
    /// EIntPass.
    pub eint_pass: bool,
    /// NMIPass.
    pub nmi_pass: bool,
    #[bits(1)]
    __: u8,
    /// SysMgt.
    #[bits(2)]
    pub system_management: u8,
    /// Lint0Pass.
    pub lint0_pass: bool,
    /// Lint1Pass.
    pub lint1_pass: bool,
}

/// Extended DTE setting.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ExtendedSetting {
    #[bits(31)]
    __: u32,
    /// AtsDisabled: the device must not use ATS.
    pub ats_disabled: bool,
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEntry {
    /// Type 1: all devices, unless other entries say otherwise.
    All {
        /// Setting.
        setting: DteSetting,
    },
    /// Types 2, 66 and 70: one device.
    Select {
        /// The device.
        device: DeviceId,
        /// Setting.
        setting: DteSetting,
        /// The DeviceID that its requests carry, if it is another.
        alias: Option<DeviceId>,
        /// Extended setting.
        extended: ExtendedSetting,
    },
    /// Types 3, 67 and 71: the first device of a range. The next [`EndRange`](Self::EndRange) names its last.
    StartRange {
        /// Where the entry starts in the table.
        offset: usize,
        /// The first device.
        first: DeviceId,
        /// Setting.
        setting: DteSetting,
        /// The DeviceID that requests of the range carry, if it is another than the device's own.
        alias: Option<DeviceId>,
        /// Extended setting.
        extended: ExtendedSetting,
    },
    /// Type 4: the last device of a range.
    EndRange {
        /// Where the entry starts in the table.
        offset: usize,
        /// The last device.
        last: DeviceId,
    },
    /// Type 72: an I/O APIC or an HPET.
    Special(SpecialDevice),
    /// Type 240: a device that ACPI names.
    Acpi(AcpiDevice),
}

/// Something that is no PCI function and sends interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialDevice {
    /// Setting.
    pub setting: DteSetting,
    /// I/O APIC id or HPET number.
    pub handle: u8,
    /// The DeviceID that its requests carry.
    pub device: DeviceId,
    /// What it is.
    pub variety: Variety,
}

/// What a special device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variety(pub u8);

impl Variety {
    /// An I/O APIC.
    pub const IOAPIC: Self = Variety(1);
    /// A high precision event timer.
    pub const HPET: Self = Variety(2);
}

/// A device that ACPI names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiDevice {
    /// Setting.
    pub setting: DteSetting,
    /// The DeviceID that its requests carry.
    pub device: DeviceId,
    /// Hardware id, padded with zeroes.
    pub hardware_id: [u8; 8],
    /// Compatible id, padded with zeroes.
    pub compatible_id: [u8; 8],
    /// Unique id.
    pub unique_id: Uid,
}

/// The unique id of an ACPI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uid {
    /// Not present.
    None,
    /// Format 1.
    Integer(u64),
    /// Format 2, up to the first zero byte.
    String(Vec<u8>),
}

/// Types of entries.
const RESERVED: u8 = 0;
const ALL: u8 = 1;
const SELECT: u8 = 2;
const START_RANGE: u8 = 3;
const END_RANGE: u8 = 4;
const RESERVED8: u8 = 64;
const ALIAS_SELECT: u8 = 66;
const ALIAS_START_RANGE: u8 = 67;
const EXTENDED_SELECT: u8 = 70;
const EXTENDED_START_RANGE: u8 = 71;
const SPECIAL: u8 = 72;
const ACPI: u8 = 240;

/// Where an ACPI entry has the length of its unique id, and its own length without that.
const UID_LENGTH_AT: usize = 21;
const ACPI_LENGTH: usize = 22;

/// Length of an entry by its type: 4, 8, 16 or 32 bytes by its upper two bits; from 240 on the entry tells.
fn length(block: &Reader<'_>, kind: u8) -> Result<usize, IvrsError> {
    Ok(match kind {
        ACPI.. => ACPI_LENGTH + usize::from(block.peek(UID_LENGTH_AT)?),
        _ => 4 << (kind >> 6),
    })
}

impl DeviceEntry {
    /// Takes one entry. `None`: it means nothing, or is told in `skipped`.
    pub(super) fn parse(
        block: &mut Reader<'_>,
        block_type: BlockType,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Option<Self>, IvrsError> {
        let (offset, left) = (block.offset(), block.left());
        let kind = block.peek(0)?;
        let least = if kind >= ACPI { ACPI_LENGTH } else { 4 };
        let length = length(block, kind).unwrap_or(least);
        let mut entry =
            block.take(length).map_err(|_| IvrsError::EntryLength { offset, kind, length, left })?;
        entry.u8()?;
        let device = DeviceId(entry.u16()?);
        let setting = DteSetting::from(entry.u8()?);
        let (alias, extended) = (None, ExtendedSetting::new());
        Ok(Some(match kind {
            RESERVED | RESERVED8 => return Ok(None),
            ALL => Self::All { setting },
            SELECT => Self::Select { device, setting, alias, extended },
            START_RANGE => Self::StartRange { offset, first: device, setting, alias, extended },
            END_RANGE => Self::EndRange { offset, last: device },
            ALIAS_SELECT => Self::Select { device, setting, alias: Some(source(&mut entry)?), extended },
            ALIAS_START_RANGE => {
                let alias = Some(source(&mut entry)?);
                Self::StartRange { offset, first: device, setting, alias, extended }
            }
            EXTENDED_SELECT => {
                Self::Select { device, setting, alias, extended: ExtendedSetting::from(entry.u32()?) }
            }
            EXTENDED_START_RANGE => {
                let extended = ExtendedSetting::from(entry.u32()?);
                Self::StartRange { offset, first: device, setting, alias, extended }
            }
            SPECIAL => Self::Special(SpecialDevice {
                setting,
                handle: entry.u8()?,
                device: DeviceId(entry.u16()?),
                variety: Variety(entry.u8()?),
            }),
            ACPI if block_type >= BlockType::IVHD_40 => {
                match AcpiDevice::parse(&mut entry, device, setting)? {
                    Ok(device) => Self::Acpi(device),
                    Err((format, length)) => {
                        skipped.push(Skipped::UidFormat { offset, format, length });
                        return Ok(None);
                    }
                }
            }
            _ => {
                skipped.push(Skipped::Entry { offset, kind, length });
                return Ok(None);
            }
        }))
    }
}

/// The source DeviceID of an alias entry.
fn source(entry: &mut Reader<'_>) -> Result<DeviceId, IvrsError> {
    entry.u8()?;
    Ok(DeviceId(entry.u16()?))
}

impl AcpiDevice {
    /// The error is a format of the unique id, and its length, that are none.
    fn parse(
        entry: &mut Reader<'_>,
        device: DeviceId,
        setting: DteSetting,
    ) -> Result<Result<Self, (u8, u8)>, IvrsError> {
        let (hardware_id, compatible_id) = (entry.array()?, entry.array()?);
        let (format, length) = (entry.u8()?, entry.u8()?);
        let unique_id = match (format, length) {
            (0, 0) => Uid::None,
            (1, 8) => Uid::Integer(entry.u64()?),
            (2, _) => Uid::String(entry.rest().split(|&byte| byte == 0).next().unwrap_or_default().to_vec()),
            _ => return Ok(Err((format, length))),
        };
        Ok(Ok(AcpiDevice { setting, device, hardware_id, compatible_id, unique_id }))
    }
}
