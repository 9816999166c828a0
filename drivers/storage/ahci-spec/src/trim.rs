//! The ranges of DATA SET MANAGEMENT (ACS, section 7.5).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes that ranges are counted and transferred in.
pub const TRIM_BLOCK: usize = 512;

/// Ranges in each of them.
pub const TRIM_RANGES: usize = TRIM_BLOCK / size_of::<LbaRangeEntry>();

/// LBA range entry, 8 bytes. One of no blocks is skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct LbaRangeEntry(pub u64);

const _: () = assert!(size_of::<LbaRangeEntry>() == 8);

impl LbaRangeEntry {
    /// `blocks` blocks from the 48-bit address `lba` on.
    pub const fn new(lba: u64, blocks: u16) -> Self {
        #[allow(clippy::cast_lossless, reason = "a const function")]
        LbaRangeEntry(lba & 0xffff_ffff_ffff | (blocks as u64) << 48)
    }

    /// The first block.
    pub const fn lba(self) -> u64 {
        self.0 & 0xffff_ffff_ffff
    }

    /// How many.
    pub const fn blocks(self) -> u64 {
        self.0 >> 48
    }
}
