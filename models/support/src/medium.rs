//! The non-volatile medium of a namespace and the volatile cache before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use fastrand::Rng;

/// What a block holds; `None`: zeroes.
type Content = Option<Box<[u8]>>;

/// Blocks by number. A block that is neither in the cache nor on the medium is deallocated.
#[derive(Debug)]
pub struct Medium {
    /// Bytes of a block with its metadata.
    block: usize,
    /// What deallocated blocks read as.
    fill: u8,
    durable: BTreeMap<u64, Content>,
    cache: BTreeMap<u64, Content>,
    cache_limit: usize,
    /// Blocks that cannot be read.
    bad: BTreeSet<u64>,
}

impl Medium {
    /// Blocks of `block` bytes, deallocated ones reading as `fill`, with room for `cache_limit` in the cache.
    pub fn new(block: usize, fill: u8, cache_limit: usize) -> Self {
        Medium {
            block,
            fill,
            durable: BTreeMap::new(),
            cache: BTreeMap::new(),
            cache_limit,
            bad: BTreeSet::new(),
        }
    }

    /// Reads block `lba` as the host sees it; `target` is a block long.
    pub fn read(&self, lba: u64, target: &mut [u8]) {
        self.copy(self.cache.get(&lba).or_else(|| self.durable.get(&lba)), target);
    }

    /// Reads block `lba` as it would be found after a power cut.
    pub fn read_durable(&self, lba: u64, target: &mut [u8]) {
        self.copy(self.durable.get(&lba), target);
    }

    fn copy(&self, content: Option<&Content>, target: &mut [u8]) {
        match content {
            Some(Some(data)) if data.len() == target.len() => target.copy_from_slice(data),
            Some(_) => target.fill(0),
            None => target.fill(self.fill),
        }
    }

    /// Writes block `lba`; `through` to the medium, or into the cache.
    pub fn write(&mut self, lba: u64, data: &[u8], through: bool) {
        debug_assert_eq!(data.len(), self.block);
        self.put(lba, Some(data.into()), through);
    }

    /// Writes zeroes to block `lba`.
    pub fn write_zeroes(&mut self, lba: u64, through: bool) {
        self.put(lba, None, through);
    }

    fn put(&mut self, lba: u64, content: Content, through: bool) {
        self.bad.remove(&lba);
        if through {
            self.cache.remove(&lba);
            self.durable.insert(lba, content);
            return;
        }
        self.cache.insert(lba, content);
        while self.cache.len() > self.cache_limit
            && let Some((lba, content)) = self.cache.pop_first()
        {
            self.durable.insert(lba, content);
        }
    }

    /// From now on block `lba` cannot be read, until it is written.
    pub fn spoil(&mut self, lba: u64) {
        self.bad.insert(lba);
    }

    /// The first of these blocks that cannot be read.
    pub fn unreadable(&self, blocks: Range<u64>) -> Option<u64> {
        self.bad.range(blocks).next().copied()
    }

    /// Deallocates blocks; returns how many were there. The medium forgets them at once, which a controller may do.
    pub fn deallocate(&mut self, lba: u64, blocks: u64) -> u64 {
        let end = lba.saturating_add(blocks);
        let remove = |map: &mut BTreeMap<u64, Content>| {
            let mut removed = map.split_off(&lba);
            let mut rest = removed.split_off(&end);
            map.append(&mut rest);
            removed.into_keys()
        };
        let mut gone: Vec<u64> = remove(&mut self.cache).chain(remove(&mut self.durable)).collect();
        gone.sort_unstable();
        gone.dedup();
        gone.len() as u64
    }

    /// Makes everything durable.
    pub fn flush(&mut self) {
        self.durable.append(&mut self.cache);
    }

    /// Makes some blocks durable.
    pub fn flush_range(&mut self, lba: u64, blocks: u64) {
        let end = lba.saturating_add(blocks);
        let mut range = self.cache.split_off(&lba);
        let mut rest = range.split_off(&end);
        self.cache.append(&mut rest);
        self.durable.append(&mut range);
    }

    /// Loses the cache; with `survivors`, each block of it reaches the medium or not by chance.
    pub fn cut(&mut self, survivors: Option<&mut Rng>) {
        let cache = std::mem::take(&mut self.cache);
        if let Some(rng) = survivors {
            self.durable.extend(cache.into_iter().filter(|_| rng.bool()));
        }
    }

    /// Blocks that a power cut would lose.
    pub fn dirty(&self) -> usize {
        self.cache.len()
    }

    /// Blocks that are allocated.
    pub fn allocated(&self) -> u64 {
        let only_cached = self.cache.keys().filter(|lba| !self.durable.contains_key(lba)).count();
        (self.durable.len() + only_cached) as u64
    }

    /// Forgets everything from block `blocks` on.
    pub fn truncate(&mut self, blocks: u64) {
        drop((self.cache.split_off(&blocks), self.durable.split_off(&blocks)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(medium: &Medium, lba: u64) -> u8 {
        let mut data = [0; 4];
        medium.read(lba, &mut data);
        assert!(data.iter().all(|&byte| byte == data[0]));
        data[0]
    }

    fn durable(medium: &Medium, lba: u64) -> u8 {
        let mut data = [0; 4];
        medium.read_durable(lba, &mut data);
        data[0]
    }

    #[test]
    fn a_power_cut_loses_what_was_not_flushed() {
        let mut medium = Medium::new(4, 0, 100);
        medium.write(1, &[1; 4], false);
        medium.flush();
        medium.write(1, &[2; 4], false);
        medium.write(2, &[3; 4], false);
        medium.write(3, &[4; 4], true);
        assert_eq!([block(&medium, 1), block(&medium, 2), block(&medium, 3)], [2, 3, 4]);
        assert_eq!([durable(&medium, 1), durable(&medium, 2), durable(&medium, 3)], [1, 0, 4]);
        assert_eq!(medium.dirty(), 2);
        medium.cut(None);
        assert_eq!([block(&medium, 1), block(&medium, 2), block(&medium, 3)], [1, 0, 4]);
    }

    #[test]
    fn a_torn_power_cut_keeps_some() {
        let mut medium = Medium::new(4, 0, 1000);
        for lba in 0..100 {
            medium.write(lba, &[7; 4], false);
        }
        medium.cut(Some(&mut Rng::with_seed(1)));
        let kept = (0..100).filter(|&lba| block(&medium, lba) == 7).count();
        assert!((20..80).contains(&kept), "{kept}");
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut medium = Medium::new(4, 0, 8);
        for lba in 0..20 {
            medium.write(lba, &[7; 4], false);
        }
        assert_eq!(medium.dirty(), 8);
        assert_eq!(medium.allocated(), 20);
    }

    #[test]
    fn deallocated_blocks_read_as_the_namespace_says() {
        let mut medium = Medium::new(4, 0xff, 100);
        for lba in 0..10 {
            medium.write(lba, &[7; 4], lba % 2 == 0);
        }
        assert_eq!(medium.deallocate(3, 4), 4);
        assert_eq!(
            [block(&medium, 2), block(&medium, 3), block(&medium, 6), block(&medium, 7)],
            [7, 255, 255, 7]
        );
        medium.write_zeroes(3, false);
        assert_eq!(block(&medium, 3), 0);
        assert_eq!(medium.deallocate(0, u64::MAX), 7);
        assert_eq!(medium.allocated(), 0);
    }

    #[test]
    fn a_bad_block_is_one_until_it_is_written() {
        let mut medium = Medium::new(4, 0, 100);
        medium.spoil(7);
        assert_eq!([medium.unreadable(0..8), medium.unreadable(8..20)], [Some(7), None]);
        medium.write(7, &[1; 4], false);
        assert_eq!((medium.unreadable(0..8), block(&medium, 7)), (None, 1));
    }

    #[test]
    fn part_of_the_cache_can_be_flushed() {
        let mut medium = Medium::new(4, 0, 100);
        for lba in 0..10 {
            medium.write(lba, &[7; 4], false);
        }
        medium.flush_range(2, 3);
        assert_eq!(medium.dirty(), 7);
        assert_eq!(
            [durable(&medium, 1), durable(&medium, 2), durable(&medium, 4), durable(&medium, 5)],
            [0, 7, 7, 0]
        );
        medium.truncate(4);
        assert_eq!((medium.dirty(), medium.allocated()), (2, 4));
    }
}
