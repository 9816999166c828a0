//! I/O virtualization memory definition blocks (section 5.2.3): memory that devices use without a driver's knowledge.

use bitfield_struct::bitfield;

use super::{BlockType, IvrsError, Reader};
use crate::{DeviceId, PAGE_SIZE};

/// Flags of an IVMD.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct IvmdFlags {
    /// Unity: device address is physical address.
    pub unity: bool,
    /// IR: devices read.
    pub ir: bool,
    /// IW: devices write.
    pub iw: bool,
    /// Exclusion range: the exclusion range registers are to be set to it. Then the flags before have no meaning.
    pub exclusion: bool,
    #[bits(4)]
    __: u8,
}

/// Memory that devices may access at its physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ivmd {
    /// Where the block starts in the table.
    pub offset: usize,
    /// For which devices: the first and the last. All of the segment: 0 to FFFFh.
    pub devices: (DeviceId, DeviceId),
    /// The PCI segment of the devices.
    pub segment: u16,
    /// Flags.
    pub flags: IvmdFlags,
    /// Physical address, rounded down to a page.
    pub start: u64,
    /// Last byte, rounded up to a page.
    pub last: u64,
}

impl Ivmd {
    pub(super) fn parse(block: &mut Reader<'_>, kind: BlockType) -> Result<Self, IvrsError> {
        let (offset, length) = (block.offset(), block.left());
        Self::fields(block, kind).map_err(|error| match error {
            IvrsError::Truncated { .. } => IvrsError::BlockLength { offset, kind, length },
            error => error,
        })
    }

    fn fields(block: &mut Reader<'_>, kind: BlockType) -> Result<Self, IvrsError> {
        let offset = block.offset();
        block.u8()?;
        let flags = IvmdFlags::from(block.u8()?);
        block.u16()?;
        let first = DeviceId(block.u16()?);
        let auxiliary = DeviceId(block.u16()?);
        let segment = block.u16()?;
        block.array::<6>()?;
        let (start, length) = (block.u64()?, block.u64()?);
        let devices = match kind {
            BlockType::IVMD_ALL => (DeviceId(0), DeviceId(u16::MAX)),
            BlockType::IVMD_SELECT => (first, first),
            _ => (first, auxiliary),
        };
        let last = length.checked_sub(1).and_then(|more| start.checked_add(more));
        let last = last.ok_or(IvrsError::MemoryRange { offset, start, length })? | (PAGE_SIZE - 1);
        Ok(Ivmd { offset, devices, segment, flags, start: start & !(PAGE_SIZE - 1), last })
    }

    /// Whether it is memory of `device` of PCI segment `segment`.
    pub fn is_about(&self, segment: u16, device: DeviceId) -> bool {
        self.segment == segment && (self.devices.0..=self.devices.1).contains(&device)
    }
}
