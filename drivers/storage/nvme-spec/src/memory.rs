//! Memory pages and the host memory buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The smallest memory page, 2 ^ 12 bytes: CC.MPS and CAP.MPSMIN count from here, and Identify Controller's MDTS,
/// HMPRE and HMMIN are in units of it (MDTS: of the page of CAP.MPSMIN).
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// Binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u8 = 12;

/// Host memory buffer descriptor entry, 16 bytes (section 5.21.1.13, figure "Host Memory Buffer – Host Memory Buffer
/// Descriptor Entry").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HmbDescriptor {
    /// BADD: address, aligned to the memory page size of CC.MPS.
    pub address: u64,
    /// BSIZE: length in memory pages of CC.MPS.
    pub pages: u32,
    /// Reserved.
    pub reserved: u32,
}

const _: () = assert!(size_of::<HmbDescriptor>() == 16);
