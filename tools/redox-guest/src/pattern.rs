//! Contents that say where they belong, and of which writing they are.

use anyhow::{Context, Result, bail};

const WORD: usize = size_of::<u64>();

/// Fills a buffer with what belongs at `offset` of a disk, a multiple of 8, in the writing number `generation`.
pub fn fill(generation: u64, offset: u64, buffer: &mut [u8]) {
    for (index, word) in (0..).zip(buffer.chunks_exact_mut(WORD)) {
        word.copy_from_slice(&word_at(generation, offset.wrapping_add(index * WORD as u64)).to_le_bytes());
    }
}

/// Whether a buffer has what belongs there.
///
/// # Errors
/// The first word that differs.
pub fn verify(generation: u64, offset: u64, buffer: &[u8]) -> Result<()> {
    for (index, word) in (0..).zip(buffer.chunks_exact(WORD)) {
        let at = offset.wrapping_add(index * WORD as u64);
        let found = u64::from_le_bytes(word.try_into().context("a word is 8 bytes")?);
        let expected = word_at(generation, at);
        if found != expected {
            bail!("offset {at:#x} has {found:#018x} instead of {expected:#018x}");
        }
    }
    Ok(())
}

/// SplitMix64's output function: neighbours differ in half their bits.
fn word_at(generation: u64, offset: u64) -> u64 {
    let mut word = generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ offset;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_misplaced_or_stale_word_is_found() {
        let mut buffer = vec![0; 4096];
        fill(7, 8192, &mut buffer);
        assert!(verify(7, 8192, &buffer).is_ok());
        assert!(verify(7, 8200, &buffer).is_err());
        assert!(verify(8, 8192, &buffer).is_err());
        for at in (0..4096).step_by(37) {
            let mut damaged = buffer.clone();
            damaged[at] ^= 1;
            let error = verify(7, 8192, &damaged).unwrap_err().to_string();
            assert!(error.contains(&format!("{:#x}", 8192 + at / 8 * 8)), "{error}");
        }
    }
}
