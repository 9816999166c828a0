//! Split virtqueues (section 2.7).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most entries of a split queue (section 2.7).
pub const MOST_ENTRIES: u16 = 32768;

/// What a descriptor is (section 2.7.5).
#[bitfield(u16)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DescriptorFlags {
    /// VIRTQ_DESC_F_NEXT: the chain goes on at `next`.
    pub next: bool,
    /// VIRTQ_DESC_F_WRITE: the device writes; otherwise it reads.
    pub write: bool,
    /// VIRTQ_DESC_F_INDIRECT: the memory is a table of descriptors.
    pub indirect: bool,
    #[bits(13)]
    __: u16,
}

/// A descriptor, 16 bytes (`virtq_desc`, section 2.7.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Descriptor {
    /// Where the memory is.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
    /// What it is for.
    pub flags: DescriptorFlags,
    /// Index of the next descriptor of the chain, with NEXT.
    pub next: u16,
}

const _: () = assert!(size_of::<Descriptor>() == 16);

/// The available ring (`virtq_avail`, section 2.7.6): 16-bit words of the driver area.
pub mod available {
    /// Word of the flags.
    pub const FLAGS: usize = 0;
    /// Word of the index.
    pub const INDEX: usize = 1;
    /// Word of the first ring entry: the head of a chain.
    pub const RING: usize = 2;
    /// VIRTQ_AVAIL_F_NO_INTERRUPT: the driver wants no interrupts. Without EVENT_IDX.
    pub const NO_INTERRUPT: u16 = 1;

    /// Word of `used_event`, behind a ring of `entries`.
    pub const fn used_event(entries: usize) -> usize {
        RING + entries
    }

    /// Words of the whole area.
    pub const fn words(entries: usize) -> usize {
        used_event(entries) + 1
    }
}

/// The used ring (`virtq_used`, section 2.7.8): 32-bit words of the device area.
pub mod used {
    /// Word of the flags, in its lower half, and of the index, in its upper half.
    pub const FLAGS_AND_INDEX: usize = 0;
    /// Byte of the index within that word.
    pub const INDEX_AT: usize = 2;
    /// VIRTQ_USED_F_NO_NOTIFY: the device wants no notifications. Without EVENT_IDX.
    pub const NO_NOTIFY: u16 = 1;
    /// Bytes before the first ring entry.
    pub const RING_AT: usize = 4;

    /// Word of ring entry `index`'s id: the head of a chain. The word behind it is the number of bytes written.
    pub const fn id(index: usize) -> usize {
        1 + 2 * index
    }

    /// Word that has `avail_event` in its lower half, behind a ring of `entries`.
    pub const fn avail_event(entries: usize) -> usize {
        id(entries)
    }

    /// Words of the whole area.
    pub const fn words(entries: usize) -> usize {
        avail_event(entries) + 1
    }
}
