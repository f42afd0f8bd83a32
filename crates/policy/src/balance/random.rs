//! A random backend, in proportion to weight.

use super::prng::Prng;
use super::shares::Shares;
use super::{Draw, EndpointView};

/// Draws before all usable endpoints are examined: with half of the weight open, one pick in 256 examines all.
const DRAWS_MAX: usize = 8;

/// Picks independently of earlier picks.
#[derive(Clone, Debug)]
pub struct Random {
    weights: Vec<u32>,
    shares: Shares,
}

impl Random {
    /// One weight for each backend.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        Self { weights: weights.to_vec(), shares: Shares::default() }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        self.shares.follow(endpoints, &self.weights);
        let mut prng = Prng::new(draw.random);
        // Drawing again when the drawn endpoint is closed keeps the proportions among the open ones exact.
        for _ in 0..DRAWS_MAX {
            let index = *endpoints.usable().get(self.shares.place(prng.below(self.shares.total())))?;
            if endpoints.open(index) {
                return Some(index);
            }
        }
        self.sweep(endpoints, &mut prng)
    }

    /// Visits every usable endpoint once. Each open one replaces the choice so far with probability weight ÷ sum of
    /// weights so far, which gives each its share of the total.
    fn sweep(&self, endpoints: &impl EndpointView, prng: &mut Prng) -> Option<usize> {
        let (mut chosen, mut open_weight) = (None, 0);
        for &index in endpoints.usable() {
            if endpoints.open(index) {
                let weight = u64::from(self.weights.get(index).copied().unwrap_or(1).max(1));
                open_weight += weight;
                if prng.below(open_weight) < weight {
                    chosen = Some(index);
                }
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::{Scripted, assert_binomial};
    use super::*;

    fn check_shares(weights: &[u32], open: &[bool], seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut balancer = Random::new(weights);
        let mut scripted = Scripted::of(weights.len());
        scripted.free.copy_from_slice(open);
        let mut counts = vec![0_u64; weights.len()];
        for _ in 0..20_000 {
            if let Some(index) = balancer.pick(&scripted, &Draw { key: 0, random: rng.u64(..), retry: false }) {
                counts[index] += 1;
            }
        }
        let weight = |index: usize| if open[index] { f64::from(weights[index]) } else { 0.0 };
        let total: f64 = (0..weights.len()).map(weight).sum();
        for (index, count) in counts.into_iter().enumerate() {
            assert_binomial(count, 20_000, weight(index) / total.max(1.0));
        }
    }

    #[test]
    fn shares_are_in_proportion_to_weight() {
        check_shares(&[1, 2, 3, 10], &[true; 4], 1);
        check_shares(&[1; 200], &[true; 200], 2);
    }

    #[test]
    fn shares_stay_in_proportion_among_the_open_when_most_weight_is_closed() {
        check_shares(&[1_000, 1, 2, 3, 1_000], &[false, true, true, true, false], 3);
        check_shares(&[5, 1, 3], &[true, false, true], 4);
    }

    #[test]
    fn ten_thousand_open_endpoints_cost_one_look_a_pick() {
        let mut balancer = Random::new(&[1; 10_000]);
        let scripted = Scripted::of(10_000);
        for random in 0..1_000 {
            assert!(balancer.pick(&scripted, &Draw { key: 0, random, retry: false }).is_some());
        }
        assert_eq!(scripted.asked(), 1_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 16,
            rng_seed: prop::test_runner::RngSeed::Fixed(7),
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_weights_and_any_open_set_keep_their_proportions(
            endpoints in prop::collection::vec((1_u32..50, any::<bool>()), 1..=60),
            seed in any::<u64>(),
        ) {
            let (weights, open): (Vec<u32>, Vec<bool>) = endpoints.into_iter().unzip();
            check_shares(&weights, &open, seed);
        }
    }
}
