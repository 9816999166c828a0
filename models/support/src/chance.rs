//! Where chance comes from.

use fastrand::Rng;

/// A generator whose first numbers differ between neighbouring seeds, too: the generator's own small seeds begin alike,
/// so that the seed is mixed first (the finalizer of SplitMix64).
pub fn generator(seed: u64) -> Rng {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    Rng::with_seed(mixed ^ mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_seeds_do_not_begin_alike() {
        let first: Vec<f64> = (0..1000).map(|seed| generator(seed).f64()).collect();
        let small = first.iter().filter(|&&value| value < 0.1).count();
        assert!((50..200).contains(&small), "{small} of 1000");
    }
}
