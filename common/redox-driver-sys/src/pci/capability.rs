//! The capability list (PCI Local Bus 3.0, section 6.7), read without trusting it.

use super::{FunctionBackend, Width, header};
use crate::error::{Error, Result};

/// A list longer than this runs in a circle: 4-byte aligned entries between the header and byte 256.
const MOST_CAPABILITIES: usize = (256 - 64) / 4;
const STATUS_CAPABILITY_LIST: u16 = 1 << 4;

const ID_POWER_MANAGEMENT: u8 = 0x01;
const ID_MSI: u8 = 0x05;
const ID_VENDOR: u8 = 0x09;
const ID_PCI_EXPRESS: u8 = 0x10;
const ID_MSIX: u8 = 0x11;

/// MSI (PCI Local Bus 3.0, section 6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiCapability {
    /// Where the capability starts in configuration space.
    pub offset: u16,
    /// How many vectors the function can use: 1, 2, 4, …, 32.
    pub vectors: u8,
    /// Whether the message address has 64 bits.
    pub is_64_bit: bool,
    /// Whether vectors can be masked one by one.
    pub per_vector_mask: bool,
}

/// MSI-X (PCI Local Bus 3.0, section 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    /// Where the capability starts in configuration space.
    pub offset: u16,
    /// Number of vectors, 1–2048.
    pub table_size: u16,
    /// BAR that holds the vector table.
    pub table_bar: u8,
    /// Offset of the vector table in that BAR, in bytes.
    pub table_offset: u32,
    /// BAR that holds the pending bits.
    pub pba_bar: u8,
    /// Offset of the pending bits in that BAR, in bytes.
    pub pba_offset: u32,
}

/// A vendor-specific capability, as virtio uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorCapability {
    /// Where the capability starts in configuration space.
    pub offset: u16,
    /// Its length in bytes, including the first three.
    pub len: u8,
}

/// What of the capability list drivers use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// MSI.
    pub msi: Option<MsiCapability>,
    /// MSI-X.
    pub msix: Option<MsixCapability>,
    /// Offset of the power management capability.
    pub power_management: Option<u16>,
    /// Offset of the PCI Express capability.
    pub pci_express: Option<u16>,
    /// Vendor-specific capabilities in the order of the list.
    pub vendor: Vec<VendorCapability>,
    /// Interrupt pin: 0 for none, 1 for INTA.
    pub interrupt_pin: u8,
}

impl Capabilities {
    pub(super) fn read(function: &dyn FunctionBackend) -> Result<Self> {
        let mut found = Capabilities {
            interrupt_pin: read_u8(function, header::INTERRUPT_PIN)?,
            ..Capabilities::default()
        };
        let status = read_u16(function, header::STATUS)?;
        if status == u16::MAX {
            return Err(Error::Gone { register: "Status" });
        }
        if status & STATUS_CAPABILITY_LIST == 0 {
            return Ok(found);
        }
        let mut next = read_u8(function, header::CAPABILITIES)? & !3;
        for _ in 0..MOST_CAPABILITIES {
            if next == 0 {
                return Ok(found);
            }
            if next < 0x40 {
                return Err(malformed("list", format!("entry at {next:#x}, inside the header")));
            }
            let offset = u16::from(next);
            match read_u8(function, offset)? {
                ID_POWER_MANAGEMENT => found.power_management = Some(offset),
                ID_PCI_EXPRESS => found.pci_express = Some(offset),
                ID_MSI => found.msi = Some(read_msi(function, offset)?),
                ID_MSIX => found.msix = Some(read_msix(function, offset)?),
                ID_VENDOR => {
                    let len = read_u8(function, offset + 2)?;
                    found.vendor.push(VendorCapability { offset, len });
                }
                _ => {}
            }
            next = read_u8(function, offset + 1)? & !3;
        }
        Err(malformed("list", format!("more than {MOST_CAPABILITIES} entries: it runs in a circle")))
    }
}

fn read_msi(function: &dyn FunctionBackend, offset: u16) -> Result<MsiCapability> {
    let control = read_u16(function, offset + 2)?;
    let exponent = (control >> 1) & 7;
    if exponent > 5 {
        return Err(malformed("MSI", format!("2^{exponent} vectors")));
    }
    Ok(MsiCapability {
        offset,
        vectors: 1 << exponent,
        is_64_bit: control & (1 << 7) != 0,
        per_vector_mask: control & (1 << 8) != 0,
    })
}

fn read_msix(function: &dyn FunctionBackend, offset: u16) -> Result<MsixCapability> {
    let control = read_u16(function, offset + 2)?;
    let place = |register: u16| -> Result<(u8, u32)> {
        let value = function.config_read(register, Width::Dword)?;
        let bar = u8::try_from(value & 7).unwrap_or(7);
        if bar > 5 { Err(malformed("MSI-X", format!("table in BAR {bar}"))) } else { Ok((bar, value & !7)) }
    };
    let (table_bar, table_offset) = place(offset + 4)?;
    let (pba_bar, pba_offset) = place(offset + 8)?;
    Ok(MsixCapability {
        offset,
        table_size: (control & 0x7ff) + 1,
        table_bar,
        table_offset,
        pba_bar,
        pba_offset,
    })
}

fn read_u8(function: &dyn FunctionBackend, offset: u16) -> Result<u8> {
    #[allow(clippy::cast_possible_truncation, reason = "one byte was read")]
    function.config_read(offset, Width::Byte).map(|value| value as u8)
}

fn read_u16(function: &dyn FunctionBackend, offset: u16) -> Result<u16> {
    #[allow(clippy::cast_possible_truncation, reason = "two bytes were read")]
    function.config_read(offset, Width::Word).map(|value| value as u16)
}

fn malformed(name: &'static str, reason: String) -> Error {
    Error::Capability { name, reason }
}
