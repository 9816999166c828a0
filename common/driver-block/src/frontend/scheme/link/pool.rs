//! Memory for data, given out in pages.

use redox_driver_sys::dma::PAGE_SIZE;

/// Consecutive bytes of the pool.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Range {
    /// Where they begin, in bytes: a page.
    pub(super) offset: u32,
    /// How many were asked for.
    pub(super) len: u32,
}

/// Which pages of the pool are taken. A bit for each.
#[derive(Debug)]
pub(super) struct Pool {
    taken: Vec<u64>,
    pages: usize,
    /// Where to look next.
    at: usize,
    free: usize,
}

impl Pool {
    pub(super) fn new(bytes: u32) -> Self {
        let pages = bytes as usize / PAGE_SIZE;
        let mut taken = vec![0; pages.div_ceil(64)];
        // What the last word has beyond the end is never free.
        if let (Some(last), rest @ 1..) = (taken.last_mut(), pages % 64) {
            *last = u64::MAX << rest;
        }
        Pool { taken, pages, at: 0, free: pages }
    }

    /// Consecutive memory for `len` bytes, if there is any.
    pub(super) fn take(&mut self, len: u32) -> Option<Range> {
        let wanted = (len as usize).div_ceil(PAGE_SIZE).max(1);
        if wanted > self.free {
            return None;
        }
        let start = if wanted == 1 { self.find_one() } else { self.find_run(wanted) }?;
        for page in start..start + wanted {
            self.mark(page, true);
        }
        self.free -= wanted;
        self.at = (start + wanted) % self.pages;
        Some(Range { offset: u32::try_from(start * PAGE_SIZE).ok()?, len })
    }

    pub(super) fn give_back(&mut self, range: &Range) {
        let start = range.offset as usize / PAGE_SIZE;
        let pages = (range.len as usize).div_ceil(PAGE_SIZE).max(1);
        for page in start..start + pages {
            self.mark(page, false);
        }
        self.free += pages;
    }

    fn mark(&mut self, page: usize, taken: bool) {
        if let Some(word) = self.taken.get_mut(page / 64) {
            let bit = 1 << (page % 64);
            if taken {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    /// Whole words at a time, from where the last search ended.
    fn find_one(&self) -> Option<usize> {
        let words = self.taken.len();
        (0..words).map(|step| (self.at / 64 + step) % words).find_map(|index| {
            let word = *self.taken.get(index)?;
            (word != u64::MAX).then(|| index * 64 + word.trailing_ones() as usize)
        })
    }

    /// The first run of `wanted` free pages from where the last search ended, or from the beginning.
    fn find_run(&self, wanted: usize) -> Option<usize> {
        self.run_within(self.at, wanted).or_else(|| self.run_within(0, wanted))
    }

    fn run_within(&self, from: usize, wanted: usize) -> Option<usize> {
        let (mut start, mut page) = (from, from);
        while page < self.pages {
            let word = self.taken.get(page / 64)? >> (page % 64);
            let left = 64 - page % 64;
            if word == 0 {
                page += left.min(self.pages - page);
            } else {
                page += word.trailing_zeros() as usize;
            }
            if page - start >= wanted {
                return Some(start);
            }
            if word != 0 {
                page += (word >> word.trailing_zeros()).trailing_ones() as usize;
                start = page;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing is given out twice, and as long as there is a run there is memory.
        #[test]
        fn as_a_list_of_pages(pages in 1usize..200, steps in prop::collection::vec((0u32..80, any::<prop::sample::Index>()), 1..200)) {
            let page = u32::try_from(PAGE_SIZE).unwrap();
            let mut pool = Pool::new(u32::try_from(pages).unwrap() * page);
            let mut taken = vec![false; pages];
            let mut ranges: Vec<Range> = Vec::new();
            for (wanted, which) in steps {
                if wanted < 30 && !ranges.is_empty() {
                    let range = ranges.swap_remove(which.index(ranges.len()));
                    let start = (range.offset / page) as usize;
                    taken[start..start + range.len.div_ceil(page) as usize].fill(false);
                    pool.give_back(&range);
                    continue;
                }
                let len = (wanted % 9 + 1) * page - wanted % 7;
                let count = len.div_ceil(page) as usize;
                match pool.take(len) {
                    Some(range) => {
                        let start = (range.offset / page) as usize;
                        prop_assert!(taken[start..start + count].iter().all(|taken| !taken));
                        taken[start..start + count].fill(true);
                        ranges.push(range);
                    }
                    None => prop_assert!(!taken.windows(count).any(|run| run.iter().all(|taken| !taken))),
                }
            }
        }
    }
}
