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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        dma::DmaAllocator,
        irq::{Interrupt, InterruptKind, InterruptSet},
        mmio::Mmio,
        time::Clock,
    };

    /// A function whose configuration space is exactly these bytes.
    struct Bytes(Vec<u8>);

    impl FunctionBackend for Bytes {
        fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
            let (at, len) = (usize::from(offset), usize::from(width.bytes()));
            let bytes = self.0.get(at..at + len).ok_or(Error::OutOfBounds {
                offset: offset.into(),
                len: len as u64,
                region: self.0.len() as u64,
            })?;
            Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
        }
        fn config_write(&self, _offset: u16, _width: Width, _value: u32) -> Result<()> {
            Ok(())
        }
        fn map_bar(&self, bar: u8) -> Result<Mmio> {
            Err(Error::Bar { bar, reason: "there is none".to_string() })
        }
        fn enable_interrupts(&self, kind: InterruptKind, count: usize) -> Result<Vec<Interrupt>> {
            let most = match kind {
                InterruptKind::Intx => 1,
                InterruptKind::Msi => 32,
                InterruptKind::MsiX => 2048,
            };
            assert!((1..=most).contains(&count), "{count} vectors of {kind}");
            assert!(kind != InterruptKind::Msi || count.is_power_of_two(), "{count} vectors of {kind}");
            Err(Error::Unsupported(kind.to_string()))
        }
        fn dma_allocator(&self) -> Result<DmaAllocator> {
            Err(Error::Unsupported("DMA".to_string()))
        }
        fn reset(&self) -> Result<()> {
            Ok(())
        }
        fn clock(&self) -> Clock {
            Clock::monotonic()
        }
    }

    /// Configuration space with a capability list and `rest` from 0x40 on.
    fn space(first: u8, rest: &[u8]) -> Bytes {
        let mut bytes = vec![0; 256];
        bytes[usize::from(header::STATUS)] = 1 << 4;
        bytes[usize::from(header::CAPABILITIES)] = first;
        bytes[0x40..0x40 + rest.len()].copy_from_slice(rest);
        Bytes(bytes)
    }

    fn refused(space: &Bytes) -> String {
        Capabilities::read(space).unwrap_err().to_string()
    }

    #[test]
    fn reads_vendor_and_power_capabilities() {
        let mut rest = vec![0x01, 0x48, 0, 0, 0, 0, 0, 0];
        rest.extend([0x09, 0x5b, 16, 1]);
        rest.resize(0x18, 0);
        rest.extend([0x09, 0, 20, 2]);
        let found = Capabilities::read(&space(0x43, &rest)).unwrap();
        assert_eq!(found.power_management, Some(0x40));
        assert_eq!(
            found.vendor,
            [VendorCapability { offset: 0x48, len: 16 }, VendorCapability { offset: 0x58, len: 20 }],
            "the two low bits of a pointer do not count"
        );
    }

    #[test]
    fn a_circle_ends() {
        let error = refused(&space(0x40, &[0x01, 0x44, 0, 0, 0x01, 0x40, 0, 0]));
        assert!(error.contains("circle"), "{error}");
    }

    #[test]
    fn a_pointer_into_the_header_is_refused() {
        let error = refused(&space(0x40, &[0x01, 0x3c, 0, 0]));
        assert_eq!(error, "PCI capability list: entry at 0x3c, inside the header");
    }

    #[test]
    fn impossible_values_are_refused() {
        let error = refused(&space(0x40, &[ID_MSI, 0, 6 << 1, 0]));
        assert_eq!(error, "PCI capability MSI: 2^6 vectors");
        let error = refused(&space(0x40, &[ID_MSIX, 0, 7, 0, 6, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(error, "PCI capability MSI-X: table in BAR 6");
    }

    #[test]
    fn without_the_status_bit_there_is_no_list() {
        let mut space = space(0x40, &[ID_MSI, 0, 6 << 1, 0]);
        space.0[usize::from(header::STATUS)] = 0;
        assert_eq!(Capabilities::read(&space).unwrap(), Capabilities::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever a device shows, there is an answer; and interrupts are asked for within what exists.
        #[test]
        fn survives_any_configuration_space(
            mut bytes in prop::collection::vec(any::<u8>(), 256),
            list: bool,
            ids in prop::collection::vec(
                (0x10u8..0x40, prop::sample::select(vec![ID_MSI, ID_MSIX, ID_VENDOR, ID_POWER_MANAGEMENT, ID_PCI_EXPRESS])),
                0..8,
            ),
            wanted in 0usize..5000,
        ) {
            bytes[usize::from(header::STATUS)] |= u8::from(list) << 4;
            // A list of known capabilities, as often as one that is noise.
            let mut before = usize::from(header::CAPABILITIES);
            for (at, id) in ids {
                bytes[before] = at * 4;
                bytes[usize::from(at) * 4] = id;
                before = usize::from(at) * 4 + 1;
            }
            let space = Bytes(bytes);
            if let Ok(found) = Capabilities::read(&space) {
                prop_assert!(found.vendor.len() <= MOST_CAPABILITIES);
                prop_assert!(found.msi.is_none_or(|msi| (1..=32).contains(&msi.vectors)));
                prop_assert!(found.msix.is_none_or(|msix| (1..=2048).contains(&msix.table_size) && msix.table_bar < 6));
                prop_assert!(InterruptSet::request(&space, &found, wanted, InterruptKind::MsiX).is_err());
            }
        }
    }
}
