//! What commands point at: scatter gather lists and ranges.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use redox_driver_sys::{codes, display_code};

codes! {
    /// SGL descriptor type, the upper half of the descriptor's last byte (section 4.4, figure "SGL Descriptor Type").
    pub struct SglType: u8 {
        DATA_BLOCK = 0x0, "SGL Data Block";
        BIT_BUCKET = 0x1, "SGL Bit Bucket";
        SEGMENT = 0x2, "SGL Segment";
        LAST_SEGMENT = 0x3, "SGL Last Segment";
        KEYED_DATA_BLOCK = 0x4, "Keyed SGL Data Block";
        TRANSPORT_DATA_BLOCK = 0x5, "Transport SGL Data Block";
        VENDOR = 0xf, "Vendor Specific SGL";
    }
}

display_code!(SglType);

/// SGL descriptor, 16 bytes (section 4.4, figures "SGL Data Block Descriptor" and following).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SglDescriptor {
    /// Address of the data or of the next segment.
    pub address: u64,
    /// Length of the data, or of the next segment, in bytes.
    pub length: u32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Type in the upper half, sub type in the lower one (0: an address).
    pub identifier: u8,
}

const _: () = assert!(size_of::<SglDescriptor>() == 16);

impl SglDescriptor {
    /// A descriptor of type `kind` with an address.
    pub const fn new(kind: SglType, address: u64, length: u32) -> Self {
        SglDescriptor { address, length, reserved: [0; 3], identifier: kind.0 << 4 }
    }

    /// The type.
    pub const fn kind(&self) -> SglType {
        SglType(self.identifier >> 4)
    }

    /// The sub type: 0 for an address, 1 for an offset.
    pub const fn sub_type(&self) -> u8 {
        self.identifier & 0xf
    }
}

impl From<[u64; 2]> for SglDescriptor {
    fn from(dptr: [u64; 2]) -> Self {
        zerocopy::transmute!(dptr)
    }
}

impl From<SglDescriptor> for [u64; 2] {
    fn from(descriptor: SglDescriptor) -> Self {
        zerocopy::transmute!(descriptor)
    }
}

/// One range of Dataset Management, 16 bytes (section 6.7, figure "Dataset Management – Range Definition").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DsmRange {
    /// Context attributes.
    pub attributes: u32,
    /// Length in logical blocks; not less one.
    pub blocks: u32,
    /// First logical block.
    pub starting_lba: u64,
}

const _: () = assert!(size_of::<DsmRange>() == 16);

impl DsmRange {
    /// Most ranges in one command (NR is eight bits, less one).
    pub const MOST: usize = 256;
}
