//! Ranges whose size is told by the low bits of their address.

use crate::{PAGE_SHIFT, PAGE_SIZE};

/// A naturally aligned range of 2^n pages, as entries with next level 7 (section 2.2.3, "page size encoding") and
/// INVALIDATE_IOMMU_PAGES with S = 1 (section 2.4.3) encode it: the lowest 0 from bit 12 on is half the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizedRange {
    start: u64,
    shift: u32,
}

impl SizedRange {
    /// The 2^`shift` bytes that contain `address`. `None` if that is less than a page or no size has so many bits.
    pub const fn containing(address: u64, shift: u32) -> Option<Self> {
        if shift < PAGE_SHIFT || shift > 63 {
            return None;
        }
        Some(SizedRange { start: address >> shift << shift, shift })
    }

    /// The smallest range that contains every byte from `start` to `last`; `None` if nothing below 2^63 bytes does.
    pub const fn covering(start: u64, last: u64) -> Option<Self> {
        let differing = 64 - (start ^ last).leading_zeros();
        Self::containing(start, if differing < PAGE_SHIFT { PAGE_SHIFT } else { differing })
    }

    /// First byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Last byte.
    pub const fn last(self) -> u64 {
        self.start | (self.bytes() - 1)
    }

    /// log2 of the size in bytes, 12–63.
    pub const fn shift(self) -> u32 {
        self.shift
    }

    /// Size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Whether the range is one page, which has no encoding: it is told by S = 0 or a next level other than 7.
    pub const fn is_page(self) -> bool {
        self.shift == PAGE_SHIFT
    }

    /// The address with the size in it, bits 11:0 zero.
    pub const fn encode(self) -> u64 {
        if self.is_page() {
            return self.start;
        }
        // All ones below the bit that is half the size.
        self.start | ((self.bytes() / 2 - 1) & !(PAGE_SIZE - 1))
    }

    /// Reads an encoded address; bits 11:0 are ignored. Every address encodes something: with no 0 in bits 62:12 it is all
    /// of 2^63 bytes, which the specification uses for the whole address space.
    pub const fn decode(address: u64) -> Self {
        let zero = (address | (PAGE_SIZE - 1)).trailing_ones();
        let shift = if zero >= 62 { 63 } else { zero + 1 };
        SizedRange { start: address >> shift << shift, shift }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sizes that the specification tabulates.
    #[test]
    fn sizes_are_those_of_the_specification() {
        for (address, bytes) in [
            (0x0000_0000, 0x2000),
            (0x0000_1000, 0x4000),
            (0x0000_3000, 0x8000),
            (0x000f_f000, 0x20_0000),
            (0x7fff_f000, 1 << 32),
            (0xffff_f000, 1 << 33),
        ] {
            let range = SizedRange::decode(address);
            assert_eq!((range.start(), range.bytes()), (0, bytes), "{address:#x}");
            assert_eq!(range.encode(), address);
        }
        let all = SizedRange::decode(0x7fff_ffff_ffff_f000);
        assert_eq!((all.start(), all.last()), (0, u64::MAX >> 1));
        assert_eq!(SizedRange::containing(0, 63), Some(all));
        assert_eq!(all.encode(), 0x3fff_ffff_ffff_f000);
        assert_eq!(SizedRange::decode(0x3fff_ffff_ffff_f000), all);
    }

    #[test]
    fn the_smallest_cover() {
        let cover =
            |start, last| SizedRange::covering(start, last).map(|range| (range.start(), range.bytes()));
        assert_eq!(cover(0x1000, 0x1fff), Some((0x1000, 0x1000)));
        assert_eq!(cover(0x1000, 0x2fff), Some((0, 0x4000)));
        assert_eq!(cover(0x1f_f000, 0x20_0fff), Some((0, 0x40_0000)));
        assert_eq!(cover(0, u64::MAX), None);
        assert_eq!(SizedRange::containing(0, 11), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(address: u64, shift in 13u32..=63) {
            let range = SizedRange::containing(address, shift).unwrap();
            prop_assert!(range.start() <= address && address <= range.last());
            prop_assert_eq!(SizedRange::decode(range.encode()), range);
        }

        #[test]
        fn a_cover_covers(a: u64, b in 0u64..1 << 40) {
            let last = a.saturating_add(b);
            if let Some(range) = SizedRange::covering(a, last) {
                prop_assert!(range.start() <= a && last <= range.last());
                prop_assert!(range.is_page() || SizedRange::containing(a, range.shift() - 1).unwrap().last() < last);
            }
        }
    }
}
