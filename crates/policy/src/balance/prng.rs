//! Derives many random numbers from the one that a pick is given.
//!
//! The caller draws that number: this module is deterministic.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number: the output function of SplitMix64.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[must_use]
pub fn splitmix64(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(GOLDEN);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A sequence of random numbers from one seed.
#[derive(Clone, Debug)]
pub(super) struct Prng {
    state: u64,
}

impl Prng {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `bound`; 0 if `bound` is 0.
    ///
    /// Uses a widening multiplication, whose bias is below `bound` / 2⁶⁴ and so negligible.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let drawn = splitmix64(self.state);
        self.state = self.state.wrapping_add(GOLDEN);
        ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
    }

    /// An index below `length`; 0 if `length` is 0.
    pub(super) fn position(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::assert_binomial;
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix64(GOLDEN), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn draws_are_even_and_below_the_bound() {
        let mut counts = [0_u64; 7];
        let mut prng = Prng::new(1);
        for _ in 0..70_000 {
            counts[prng.position(7)] += 1;
        }
        for count in counts {
            assert_binomial(count, 70_000, 1.0 / 7.0);
        }
    }

    #[test]
    fn first_draws_of_neighbouring_seeds_are_even_too() {
        let mut counts = [0_u64; 5];
        for seed in 0..50_000 {
            counts[Prng::new(seed).position(5)] += 1;
        }
        for count in counts {
            assert_binomial(count, 50_000, 0.2);
        }
    }

    #[test]
    fn nothing_lies_below_zero() {
        assert_eq!(Prng::new(9).below(0), 0);
    }
}
