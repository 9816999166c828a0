//! Which blocks are taken.

use std::collections::BTreeMap;

/// Ranges of blocks that do not overlap: from the first block to the last.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<u64, u64>);

impl Claims {
    /// Takes the blocks from `first` to `last`, unless some of them are taken: then says by which range.
    pub(super) fn claim(&mut self, first: u64, last: u64) -> Result<(), (u64, u64)> {
        // Of the ranges that begin before this one ends, only the last can reach into it.
        match self.0.range(..=last).next_back() {
            Some((&other_first, &other_last)) if other_last >= first => Err((other_first, other_last)),
            _ => {
                self.0.insert(first, last);
                Ok(())
            }
        }
    }
}
