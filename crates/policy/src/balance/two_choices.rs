//! Power of two choices: the less busy of two random backends.
//!
//! Nearly as even as comparing all of them, at the cost of two. Workers that do not see each other's latest picks do
//! not all choose the same idle backend.
//!
//! Source: M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001.

use super::{Draw, EndpointView, pair};

/// Stateless. Ignores weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwoChoices;

impl TwoChoices {
    pub(super) fn pick(self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let (first, second) = pair::draw(endpoints, draw.random)?;
        Some(second.filter(|&second| endpoints.in_flight(second) < endpoints.in_flight(first)).unwrap_or(first))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::{Scripted, assert_binomial};
    use super::*;

    fn draw(random: u64) -> Draw {
        Draw { key: 0, random, retry: false }
    }

    #[test]
    fn of_two_the_less_busy_always_wins() {
        let mut scripted = Scripted::of(2);
        scripted.in_flight = vec![3, 2];
        assert!((0..100).all(|random| TwoChoices.pick(&scripted, &draw(random)) == Some(1)));
    }

    #[test]
    fn the_busiest_is_never_picked_while_another_is_open() {
        let mut scripted = Scripted::of(5);
        scripted.in_flight = vec![1, 2, 9, 1, 1];
        assert!((0..500).all(|random| TwoChoices.pick(&scripted, &draw(random)) != Some(2)));
    }

    #[test]
    fn idle_backends_get_equal_shares() {
        let scripted = Scripted::of(5);
        let mut counts = [0_u64; 5];
        for random in 0..20_000 {
            counts[TwoChoices.pick(&scripted, &draw(random)).expect("all are open")] += 1;
        }
        for count in counts {
            assert_binomial(count, 20_000, 0.2);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 32,
            rng_seed: prop::test_runner::RngSeed::Fixed(7),
            ..ProptestConfig::default()
        })]

        #[test]
        fn requests_that_stay_are_spread_within_a_few(count in 1_usize..=200, seed in any::<u64>()) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut scripted = Scripted::of(count);
            for _ in 0..count * 20 {
                let picked = TwoChoices.pick(&scripted, &draw(rng.u64(..))).expect("all are open");
                scripted.in_flight[picked] += 1;
            }
            prop_assert!(scripted.in_flight.iter().all(|in_flight| (14..=24).contains(in_flight)));
        }
    }
}
