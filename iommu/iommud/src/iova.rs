//! Which I/O virtual addresses of a domain are free.

use std::collections::{BTreeMap, BTreeSet};

use amd_vi_spec::PAGE_SIZE;

/// The first address that 32 bits do not reach.
const FOUR_GIB: u64 = 1 << 32;

/// Free ranges, found by size as well as by address: what is taken and given back costs the same however the space is
/// fragmented.
#[derive(Debug, Default)]
pub struct IovaSpace {
    /// Start → length; neighbours are joined, except at 4 GiB.
    free: BTreeMap<u64, u64>,
    /// (length, start) of those below 4 GiB, and of those above.
    sizes: [BTreeSet<(u64, u64)>; 2],
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Bytes, whole pages.
    pub len: u64,
    /// A power of two of at least a page.
    pub align: u64,
    /// The last byte must not be beyond.
    pub mask: u64,
}

impl IovaSpace {
    /// A space with the addresses from `start` to `last`, of which whole pages are used.
    pub fn new(start: u64, last: u64) -> Self {
        let mut space = IovaSpace::default();
        let start = start.next_multiple_of(PAGE_SIZE);
        let end = last.saturating_add(1) & !(PAGE_SIZE - 1);
        space.put(start, end.saturating_sub(start));
        space
    }

    /// Takes a range that fits. Addresses above 4 GiB are preferred where the wish allows them: those below are for those
    /// who need them.
    pub fn take(&mut self, wish: Wish) -> Option<u64> {
        let Wish { len, align, mask } = wish;
        if len == 0 || !len.is_multiple_of(PAGE_SIZE) || !align.is_power_of_two() || align < PAGE_SIZE {
            return None;
        }
        let high = if mask >= FOUR_GIB { self.find(1, wish) } else { None };
        let (start, size, at) = high.or_else(|| self.find(0, wish))?;
        self.remove(start, size);
        self.add(start, at - start);
        self.add(at + len, start + size - (at + len));
        debug_assert!(at.is_multiple_of(align) && at + (len - 1) <= mask);
        Some(at)
    }

    /// Takes exactly `len` bytes at `at`; `false`: not all of them are free.
    pub fn take_at(&mut self, at: u64, len: u64) -> bool {
        let Some(end) = at.checked_add(len).filter(|_| len > 0) else { return false };
        // A range may lie on both sides of 4 GiB.
        if at < FOUR_GIB && end > FOUR_GIB {
            let low = FOUR_GIB - at;
            if !self.take_at(at, low) {
                return false;
            }
            if !self.take_at(FOUR_GIB, end - FOUR_GIB) {
                self.give_back(at, low);
                return false;
            }
            return true;
        }
        let Some((&start, &size)) = self.free.range(..=at).next_back() else { return false };
        if end > start + size {
            return false;
        }
        self.remove(start, size);
        self.add(start, at - start);
        self.add(end, start + size - end);
        true
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, at: u64, len: u64) {
        self.put(at, len);
    }

    /// The smallest range in which the wish fits for sure, at its lowest place; else one in which it happens to.
    fn find(&self, zone: usize, Wish { len, align, mask }: Wish) -> Option<(u64, u64, u64)> {
        let fits = |&(size, start): &(u64, u64)| {
            let at = start.checked_next_multiple_of(align)?;
            let last = at.checked_add(len - 1)?;
            (last < start + size && last <= mask).then_some((start, size, at))
        };
        let sizes = &self.sizes[zone];
        let sure = len.checked_add(align - PAGE_SIZE)?;
        let bounded = self.zone_last(zone) > mask;
        if bounded {
            // By address, for devices with few address bits: the lowest are theirs.
            let ranges = self.free.range(..=mask).map(|(&start, &size)| (size, start));
            return ranges
                .filter(|&(_, start)| usize::from(start >= FOUR_GIB) == zone)
                .find_map(|r| fits(&r));
        }
        let found = sizes.range((sure, 0)..).next().and_then(fits);
        found.or_else(|| sizes.range((len, 0)..(sure, 0)).find_map(fits))
    }

    fn zone_last(&self, zone: usize) -> u64 {
        if zone == 0 {
            return FOUR_GIB - 1;
        }
        self.free.last_key_value().map_or(0, |(start, size)| start + (size - 1))
    }

    fn put(&mut self, at: u64, len: u64) {
        if at < FOUR_GIB && at + len > FOUR_GIB {
            self.put(at, FOUR_GIB - at);
            return self.put(FOUR_GIB, at + len - FOUR_GIB);
        }
        let (mut start, mut size) = (at, len);
        if start + size != FOUR_GIB
            && let Some(&next) = self.free.get(&(start + size))
        {
            self.remove(start + size, next);
            size += next;
        }
        if start != FOUR_GIB
            && let Some((&before, &length)) = self.free.range(..start).next_back()
            && before + length == start
        {
            self.remove(before, length);
            start = before;
            size += length;
        }
        self.add(start, size);
    }

    fn add(&mut self, start: u64, size: u64) {
        if size > 0 {
            self.free.insert(start, size);
            self.sizes[usize::from(start >= FOUR_GIB)].insert((size, start));
        }
    }

    fn remove(&mut self, start: u64, size: u64) {
        self.free.remove(&start);
        self.sizes[usize::from(start >= FOUR_GIB)].remove(&(size, start));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAST: u64 = (1 << 39) - 1;

    fn wish(len: u64, align: u64, mask: u64) -> Wish {
        Wish { len, align, mask }
    }

    #[test]
    fn low_addresses_are_kept_for_those_who_need_them() {
        let mut space = IovaSpace::new(0x10_0000, LAST);
        assert_eq!(space.take(wish(4096, 4096, u64::MAX)), Some(FOUR_GIB));
        assert_eq!(space.take(wish(4096, 4096, 0xffff_ffff)), Some(0x10_0000));
        assert_eq!(space.take(wish(4096, 4096, 0xf_ffff)), None);
        assert_eq!(space.take(wish(0, 4096, LAST)), None);
        assert_eq!(space.take(wish(!4095, 4096, LAST)), None);
        assert!(space.take_at(FOUR_GIB - 4096, 4096), "across the border: one half");
        space.give_back(FOUR_GIB - 4096, 4096);
        assert!(!space.take_at(FOUR_GIB - 4096, 8192), "the other is taken");
        space.give_back(FOUR_GIB, 4096);
        assert!(space.take_at(FOUR_GIB - 4096, 8192));
        assert!(!space.take_at(u64::MAX - 4095, 8192));
    }

    #[test]
    fn a_space_within_32_bits_is_used_by_all() {
        let mut space = IovaSpace::new(0, 0xffff_ffff);
        assert_eq!(space.take(wish(1 << 30, 1 << 30, u64::MAX)), Some(0));
    }

    #[test]
    fn fragments_make_no_cliff() {
        let mut space = IovaSpace::new(1 << 20, LAST);
        let taken: Vec<u64> = (0..200_000).map(|_| space.take(wish(4096, 4096, LAST)).unwrap()).collect();
        for at in taken.iter().step_by(2) {
            space.give_back(*at, 4096);
        }
        assert!(space.free.len() > 99_000);
        // Each search is a look into a tree: 100,000 of them over 100,000 fragments would not end otherwise.
        for _ in 0..100_000 {
            space.take(wish(8192, 8192, LAST)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn agrees_with_an_oracle(steps in proptest::collection::vec(
            (any::<bool>(), 1u64..6, 0u32..4, any::<bool>(), 0usize..64), 1..200,
        )) {
            // Around 4 GiB, where the two zones meet.
            let (start, last) = (FOUR_GIB - 64 * PAGE_SIZE, FOUR_GIB + 64 * PAGE_SIZE - 1);
            let mut space = IovaSpace::new(start, last);
            let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
            for (give, pages, align, low, pick) in steps {
                if give && !taken.is_empty() {
                    let (&at, &len) = taken.iter().nth(pick % taken.len()).unwrap();
                    taken.remove(&at);
                    space.give_back(at, len);
                } else {
                    let (len, align) = (pages * PAGE_SIZE, PAGE_SIZE << align);
                    let mask = if low { FOUR_GIB - 1 } else { u64::MAX };
                    let free = |at: u64| {
                        let before = taken.range(..at + len).next_back();
                        before.is_none_or(|(other, size)| other + size <= at)
                    };
                    // Not across 4 GiB: a range lies on one side.
                    let sides = |at: u64| (at < FOUR_GIB) == (at + len - 1 < FOUR_GIB);
                    let mut places = (start..=last + 1 - len).step_by(4096).filter(|at| at % align == 0);
                    let possible = places.any(|at| at + len - 1 <= mask && free(at) && sides(at));
                    let got = space.take(Wish { len, align, mask });
                    prop_assert_eq!(got.is_some(), possible);
                    if let Some(at) = got {
                        prop_assert!(free(at) && at % align == 0 && at + len - 1 <= mask);
                        taken.insert(at, len);
                    }
                }
                prop_assert_eq!(space.free.values().sum::<u64>(), last + 1 - start - taken.values().sum::<u64>());
            }
            for (at, len) in taken {
                space.give_back(at, len);
            }
            prop_assert_eq!(space.free.len(), 2);
        }
    }
}
