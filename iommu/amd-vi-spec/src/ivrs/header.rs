//! The header of the table (section 5.2).

use bitfield_struct::bitfield;

use super::{IvrsError, Reader};

/// Bytes before the first block: an ACPI table header, IVinfo and 8 reserved ones.
pub(super) const LEN: usize = 48;

/// I/O virtualization information.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IvInfo {
    /// EFRSup: the extended feature register is there, and blocks of type 11h and 40h repeat it.
    pub efr_sup: bool,
    /// DMA remapping was on when the firmware left: it protected itself from devices.
    pub dma_remap: bool,
    #[bits(3)]
    __: u8,
    /// GVASize: guest virtual addresses (2: 48 bits, 3: 57 bits).
    #[bits(3)]
    pub gva_size: u8,
    /// PASize: bits of physical addresses.
    #[bits(7)]
    pub pa_size: u8,
    /// VASize: bits of virtual addresses.
    #[bits(7)]
    pub va_size: u8,
    /// HtAtsResv: what ATS requests in HyperTransport's reserved range get.
    pub ht_ats_reserved: bool,
    #[bits(9)]
    __: u16,
}

pub(super) struct Header {
    pub(super) revision: u8,
    pub(super) info: IvInfo,
}

/// Checks signature, length and checksum; the slice is the table without what follows it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), IvrsError> {
    let mut reader = Reader::new(bytes, 0);
    let signature = reader.array()?;
    if signature != *b"IVRS" {
        return Err(IvrsError::Signature(signature));
    }
    let length = reader.u32()?;
    let wrong = IvrsError::Length { length, available: bytes.len() };
    let table = usize::try_from(length).ok().filter(|&length| length >= LEN);
    let table = table.and_then(|length| bytes.get(..length)).ok_or(wrong)?;
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    if sum != 0 {
        return Err(IvrsError::Checksum(sum));
    }
    let revision = reader.u8()?;
    // Checksum, OEM ids and revision, creator's id and revision.
    reader.take(27)?;
    Ok((Header { revision, info: IvInfo::from(reader.u32()?) }, table))
}
