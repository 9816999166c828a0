//! The archive's structures, as base's `redox-initfs` has them. All numbers are little-endian, all offsets count from the
//! header.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an archive begins with.
pub(super) const MAGIC: [u8; 8] = *b"RedoxFtw";

/// Page size of the systems that are known. The header has a page to itself, and the bootstrap program follows it.
pub(super) const PAGE: u16 = 4096;

/// Offset 0.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) inode_table: U32,
    /// Bytes of the whole archive.
    pub(super) size: U64,
    pub(super) page_size: U16,
    pub(super) root: U16,
    pub(super) inode_count: U16,
    /// Address that the kernel jumps to. The archive is mapped at the address of one page, so the bootstrap program is
    /// linked to run where it lies.
    pub(super) bootstrap_entry: U64,
}

/// One entry of the inode table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Inode {
    pub(super) kind: U32,
    pub(super) length: U32,
    pub(super) offset: U32,
}

/// Values of [`Inode::kind`].
pub(super) mod kind {
    pub(in super::super) const FILE: u32 = 0;
    pub(in super::super) const EXECUTABLE: u32 = 1;
    pub(in super::super) const DIRECTORY: u32 = 2;
    pub(in super::super) const LINK: u32 = 3;
}

/// One entry of a directory, whose contents are nothing else.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) inode: U16,
    pub(super) name_length: U16,
    pub(super) name: U32,
}

const _: () = {
    assert!(size_of::<Header>() == 34);
    // Kernel and bootloader read this field without knowing the others.
    assert!(std::mem::offset_of!(Header, bootstrap_entry) == 0x1a);
    assert!(size_of::<Inode>() == 12);
    assert!(size_of::<Entry>() == 8);
};
