//! Block devices (section 5.2).

use bitfield_struct::bitfield;
use bitflags::bitflags;
use redox_driver_sys::{codes, display_code};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The type of a block device (section 5).
pub const DEVICE_TYPE: u16 = 2;
/// Everything is counted in these, in bytes, whatever the block size is (section 5.2.4).
pub const SECTOR: u32 = 512;

bitflags! {
    /// Features of a block device (section 5.2.3), as part of [`Features`](crate::Features).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct BlkFeatures: u64 {
        /// VIRTIO_BLK_F_SIZE_MAX: there is a longest segment.
        const SIZE_MAX = 1 << 1;
        /// VIRTIO_BLK_F_SEG_MAX: there is a greatest number of segments.
        const SEG_MAX = 1 << 2;
        /// VIRTIO_BLK_F_GEOMETRY: there are cylinders, heads and sectors.
        const GEOMETRY = 1 << 4;
        /// VIRTIO_BLK_F_RO: the device is read-only.
        const RO = 1 << 5;
        /// VIRTIO_BLK_F_BLK_SIZE: the block size is told.
        const BLK_SIZE = 1 << 6;
        /// VIRTIO_BLK_F_FLUSH: there is a cache that can be flushed.
        const FLUSH = 1 << 9;
        /// VIRTIO_BLK_F_TOPOLOGY: physical blocks and preferred lengths are told.
        const TOPOLOGY = 1 << 10;
        /// VIRTIO_BLK_F_CONFIG_WCE: the cache can be switched between write-back and write-through.
        const CONFIG_WCE = 1 << 11;
        /// VIRTIO_BLK_F_MQ: there are several queues.
        const MQ = 1 << 12;
        /// VIRTIO_BLK_F_DISCARD: blocks can be discarded.
        const DISCARD = 1 << 13;
        /// VIRTIO_BLK_F_WRITE_ZEROES: blocks can be set to zero.
        const WRITE_ZEROES = 1 << 14;
        /// VIRTIO_BLK_F_LIFETIME: the device tells how worn it is.
        const LIFETIME = 1 << 15;
        /// VIRTIO_BLK_F_SECURE_ERASE: blocks can be erased beyond recovery.
        const SECURE_ERASE = 1 << 16;
        const _ = !0;
    }
}

/// What the block device says of itself, 72 bytes (`virtio_blk_config`, section 5.2.4). Fields of features that were not
/// negotiated mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BlkConfig {
    /// Capacity in sectors of 512 bytes.
    pub capacity: u64,
    /// Longest segment in bytes, with SIZE_MAX.
    pub size_max: u32,
    /// Most segments of a request, with SEG_MAX.
    pub seg_max: u32,
    /// Cylinders, with GEOMETRY.
    pub cylinders: u16,
    /// Heads, with GEOMETRY.
    pub heads: u8,
    /// Sectors of a track, with GEOMETRY.
    pub sectors: u8,
    /// Block size in bytes, with BLK_SIZE.
    pub blk_size: u32,
    /// Blocks in a physical block, as a power of two, with TOPOLOGY.
    pub physical_block_exp: u8,
    /// Offset of the first aligned block, with TOPOLOGY.
    pub alignment_offset: u8,
    /// Shortest efficient transfer in blocks, with TOPOLOGY.
    pub min_io_size: u16,
    /// Optimal transfer in blocks, with TOPOLOGY.
    pub opt_io_size: u32,
    /// Whether the cache is write-back (1) or write-through (0), with CONFIG_WCE; can be written.
    pub writeback: u8,
    /// Reserved.
    pub unused0: u8,
    /// Number of queues, with MQ.
    pub num_queues: u16,
    /// Most sectors of a discard segment, with DISCARD.
    pub max_discard_sectors: u32,
    /// Most segments of a discard, with DISCARD.
    pub max_discard_seg: u32,
    /// Alignment of discards in sectors, with DISCARD.
    pub discard_sector_alignment: u32,
    /// Most sectors of a write-zeroes segment, with WRITE_ZEROES.
    pub max_write_zeroes_sectors: u32,
    /// Most segments of a write-zeroes, with WRITE_ZEROES.
    pub max_write_zeroes_seg: u32,
    /// Whether write-zeroes may deallocate, with WRITE_ZEROES.
    pub write_zeroes_may_unmap: u8,
    /// Reserved.
    pub unused1: [u8; 3],
    /// Most sectors of a secure erase segment, with SECURE_ERASE.
    pub max_secure_erase_sectors: u32,
    /// Most segments of a secure erase, with SECURE_ERASE.
    pub max_secure_erase_seg: u32,
    /// Alignment of secure erases in sectors, with SECURE_ERASE.
    pub secure_erase_sector_alignment: u32,
}

const _: () = assert!(size_of::<BlkConfig>() == 72);

impl BlkConfig {
    /// How wide the accesses to it must be, in bytes, from its start on: as wide as the fields, at most 4 (section 4.1.3.1).
    pub const WIDTHS: [u8; 27] =
        [4, 4, 4, 4, 2, 1, 1, 4, 1, 1, 2, 4, 1, 1, 2, 4, 4, 4, 4, 4, 1, 1, 1, 1, 4, 4, 4];
}

codes! {
    /// What a request does (section 5.2.6).
    pub struct RequestType: u32 {
        /// From the medium to memory.
        IN = 0, "VIRTIO_BLK_T_IN";
        /// From memory to the medium.
        OUT = 1, "VIRTIO_BLK_T_OUT";
        /// Everything written is on the medium afterwards.
        FLUSH = 4, "VIRTIO_BLK_T_FLUSH";
        /// The serial number, 20 bytes.
        GET_ID = 8, "VIRTIO_BLK_T_GET_ID";
        /// How worn the device is.
        GET_LIFETIME = 10, "VIRTIO_BLK_T_GET_LIFETIME";
        /// Blocks are no longer needed.
        DISCARD = 11, "VIRTIO_BLK_T_DISCARD";
        /// Blocks read as zeroes afterwards.
        WRITE_ZEROES = 13, "VIRTIO_BLK_T_WRITE_ZEROES";
        /// Blocks are erased beyond recovery.
        SECURE_ERASE = 14, "VIRTIO_BLK_T_SECURE_ERASE";
    }
}

/// How a request begins, 16 bytes, read by the device (`virtio_blk_req`, section 5.2.6). Its data follow, then one byte of
/// [`RequestStatus`], written by the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RequestHeader {
    /// What to do.
    pub kind: RequestType,
    /// Reserved.
    pub reserved: u32,
    /// The first sector of a read or write, otherwise 0.
    pub sector: u64,
}

const _: () = assert!(size_of::<RequestHeader>() == 16);

codes! {
    /// How a request ended (section 5.2.6).
    pub struct RequestStatus: u8 {
        /// It was done.
        OK = 0, "VIRTIO_BLK_S_OK";
        /// A device or driver error.
        IOERR = 1, "VIRTIO_BLK_S_IOERR";
        /// The device has no such request.
        UNSUPP = 2, "VIRTIO_BLK_S_UNSUPP";
    }
}

display_code!(RequestType, RequestStatus);

/// Sectors of a discard or write-zeroes, 16 bytes (`virtio_blk_discard_write_zeroes`, section 5.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SectorRange {
    /// The first sector.
    pub sector: u64,
    /// How many.
    pub sectors: u32,
    /// Of a write-zeroes.
    pub flags: RangeFlags,
}

const _: () = assert!(size_of::<SectorRange>() == 16);

/// How a range is treated.
#[bitfield(u32)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RangeFlags {
    /// Write-zeroes may deallocate; reserved in a discard.
    pub unmap: bool,
    #[bits(31)]
    __: u32,
}

/// Bytes of the serial number that GET_ID gives: ASCII, shorter ones end with a zero (section 5.2.6.1).
pub const ID_BYTES: usize = 20;

/// How worn the device is, 6 bytes (`virtio_blk_lifetime`, section 5.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lifetime {
    /// 1: less than 80 % of reserved blocks are used, 2: 80 to 90 %, 3: more; 0: not known.
    pub pre_eol_info: u16,
    /// Wear of SLC blocks in tenths, 1 for less than 10 %, 11 for beyond the estimate; 0: not known.
    pub device_lifetime_est_typ_a: u16,
    /// Wear of MLC blocks, likewise.
    pub device_lifetime_est_typ_b: u16,
}

const _: () = assert!(size_of::<Lifetime>() == 6);
