//! The I/O Virtualization Reporting Structure (chapter 5): what firmware says of IOMMUs, and which devices are behind them.
//!
//! The table comes from firmware and is parsed, not believed. What its structure does not bear is an error; what is in it and
//! unknown is skipped by the length rule that the specification gives and told in [`Ivrs::skipped`].

mod entry;
mod error;
mod header;
mod ivhd;
mod ivmd;
mod map;
mod reader;

pub use entry::{AcpiDevice, DeviceEntry, DteSetting, ExtendedSetting, SpecialDevice, Uid, Variety};
pub use error::{IvrsError, Skipped};
pub use header::IvInfo;
pub use ivhd::{BlockType, IommuInfo, Ivhd, IvhdAttributes, IvhdFeatures, IvhdFlags, LegacyFeatures};
pub use ivmd::{Ivmd, IvmdFlags};
pub use map::{DeviceMap, DeviceSetting};
use reader::Reader;

use crate::DeviceId;

/// Everything that an IVRS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivrs {
    /// Revision of the table: 1, or 2 where it may have blocks of type 40h.
    pub revision: u8,
    /// IVinfo.
    pub info: IvInfo,
    /// Hardware definition blocks, in order, of all types.
    pub hardware: Vec<Ivhd>,
    /// Memory definition blocks, in order.
    pub memory: Vec<Ivmd>,
    /// What was passed over.
    pub skipped: Vec<Skipped>,
}

impl Ivrs {
    /// Parses a table; bytes behind its length are ignored.
    ///
    /// # Errors
    /// [`IvrsError`]: where it is not an IVRS, or a length in it does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Ivrs, IvrsError> {
        let (header, table) = header::parse(bytes)?;
        let mut ivrs = Ivrs {
            revision: header.revision,
            info: header.info,
            hardware: Vec::new(),
            memory: Vec::new(),
            skipped: Vec::new(),
        };
        let mut reader = Reader::new(table, header::LEN);
        while !reader.is_empty() {
            ivrs.block(&mut reader)?;
        }
        Ok(ivrs)
    }

    fn block(&mut self, reader: &mut Reader<'_>) -> Result<(), IvrsError> {
        let offset = reader.offset();
        let (kind, length) = (BlockType(reader.peek(0)?), usize::from(reader.peek_u16(2)?));
        // Every block has a type, flags and a length.
        if length < 4 {
            return Err(IvrsError::BlockLength { offset, kind, length });
        }
        let mut block = reader.take(length).map_err(|_| IvrsError::BlockLength { offset, kind, length })?;
        match kind {
            BlockType::IVHD_10 | BlockType::IVHD_11 | BlockType::IVHD_40 => {
                self.hardware.push(Ivhd::parse(&mut block, kind, &mut self.skipped)?);
            }
            BlockType::IVMD_ALL | BlockType::IVMD_SELECT | BlockType::IVMD_RANGE => {
                self.memory.push(Ivmd::parse(&mut block, kind)?);
            }
            _ => self.skipped.push(Skipped::Block { offset, kind, length }),
        }
        Ok(())
    }

    /// The block to be used for each IOMMU, in the order in which they are first named: of several for the same one that with
    /// the highest type, since newer types say more (section 5.2.1).
    pub fn units(&self) -> Vec<&Ivhd> {
        let mut units: Vec<&Ivhd> = Vec::new();
        for block in &self.hardware {
            match units.iter_mut().find(|unit| unit.is_same_unit(block)) {
                Some(unit) if block.kind > unit.kind => *unit = block,
                Some(_) => {}
                None => units.push(block),
            }
        }
        units
    }

    /// The memory blocks that are about `device` of PCI segment `segment`.
    pub fn memory_of(&self, segment: u16, device: DeviceId) -> impl Iterator<Item = &Ivmd> {
        self.memory.iter().filter(move |memory| memory.is_about(segment, device))
    }
}

#[cfg(test)]
mod tests;
