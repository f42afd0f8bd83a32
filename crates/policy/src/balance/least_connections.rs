//! Least connections: the backend with the fewest requests in flight for its weight.

use super::cursor::{Cursors, around};
use super::prng::splitmix64;
use super::shares::Shares;
use super::{Draw, EndpointView};

/// The most usable backends that are all compared.
const EXACT_MAX: usize = 64;

/// How many are compared when there are more.
const DRAWN: u64 = 16;

/// Up to 64 usable backends: compares open backends until one is idle, or all of them; equally busy ones take turns.
/// Idle backends are equally busy whatever their weight, so weights have an effect only under load.
///
/// More than 64: the least busy of 16, drawn in proportion to weight: at equal distances along the sum of all weights,
/// from a random start. So each backend is among the 16 at least as often as its share of the requests requires. On
/// average, the picked one is among the least busy sixteenth.
/// more often. The picked one is then among the least busy sixteenth on average.
#[derive(Clone, Debug)]
pub struct LeastConnections {
    weights: Vec<u32>,
    cursors: Cursors,
    shares: Shares,
}

impl LeastConnections {
    /// One weight for each backend.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        Self { weights: weights.to_vec(), cursors: Cursors::default(), shares: Shares::default() }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let usable = endpoints.usable();
        if usable.len() > EXACT_MAX
            && let Some(picked) = self.of_drawn(endpoints, draw.random)
        {
            return Some(picked);
        }
        let cursor = self.cursors.of(draw.retry);
        let picked = least(endpoints, &self.weights, around(usable, *cursor))?;
        *cursor = picked + 1;
        Some(picked)
    }

    /// The least busy of the drawn backends; `None`: none of them is open.
    fn of_drawn(&mut self, endpoints: &impl EndpointView, random: u64) -> Option<usize> {
        self.shares.follow(endpoints, &self.weights);
        let total = self.shares.total();
        let start = splitmix64(random) % total.max(1);
        let drawn = (0..DRAWN).filter_map(|nth| {
            let at = start + total / DRAWN * nth;
            let place = self.shares.place(if at < total { at } else { at - total });
            endpoints.usable().get(place).copied()
        });
        least(endpoints, &self.weights, drawn)
    }
}

/// The open backend of `among` with the fewest requests in flight for its weight; the first of equals.
fn least(endpoints: &impl EndpointView, weights: &[u32], among: impl Iterator<Item = usize>) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for index in among.filter(|&index| endpoints.open(index)) {
        let weight = u64::from(weights.get(index).copied().unwrap_or(1).max(1));
        let in_flight = u64::from(endpoints.in_flight(index));
        // Compares in_flight / weight without a division.
        if best.is_none_or(|(_, least, its_weight)| in_flight * its_weight < least * weight) {
            best = Some((index, in_flight, weight));
        }
        if in_flight == 0 {
            // No other backend can have fewer.
            break;
        }
    }
    best.map(|(index, ..)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::{Scripted, assert_binomial};
    use super::*;

    const FIRST: Draw = Draw { key: 0, random: 0, retry: false };
    const RETRY: Draw = Draw { key: 0, random: 0, retry: true };

    #[test]
    fn the_least_busy_is_picked() {
        let mut scripted = Scripted::of(3);
        scripted.in_flight = vec![4, 2, 3];
        assert_eq!(LeastConnections::new(&[1, 1, 1]).pick(&scripted, &FIRST), Some(1));
    }

    #[test]
    fn equals_take_turns_and_busier_ones_wait() {
        let mut scripted = Scripted::of(4);
        scripted.in_flight = vec![1, 0, 1, 0];
        let mut balancer = LeastConnections::new(&[1; 4]);
        let picks: Vec<_> = (0..6).filter_map(|_| balancer.pick(&scripted, &FIRST)).collect();
        assert_eq!(picks, [1, 3, 1, 3, 1, 3]);
    }

    #[test]
    fn first_tries_stay_even_when_one_backend_fails_every_request_at_once() {
        let mut balancer = LeastConnections::new(&[1, 1]);
        let mut firsts = [0; 2];
        for _ in 0..100 {
            let mut scripted = Scripted::of(2);
            let picked = balancer.pick(&scripted, &FIRST).expect("all are open");
            firsts[picked] += 1;
            scripted.free[picked] = picked != 0;
            if picked == 0 {
                assert_eq!(balancer.pick(&scripted, &RETRY), Some(1));
            }
        }
        assert_eq!(firsts, [50, 50]);
    }

    #[test]
    fn the_greatest_loads_and_weights_do_not_overflow() {
        let mut scripted = Scripted::of(2);
        scripted.in_flight = vec![u32::MAX, u32::MAX];
        assert_eq!(LeastConnections::new(&[1, u32::MAX]).pick(&scripted, &FIRST), Some(1));
    }

    #[test]
    fn of_ten_thousand_busy_endpoints_sixteen_are_looked_at() {
        let mut scripted = Scripted::of(10_000);
        scripted.in_flight = vec![1; 10_000];
        LeastConnections::new(&[1; 10_000]).pick(&scripted, &FIRST);
        assert_eq!(scripted.asked(), 16);
    }

    #[test]
    fn no_endpoint_is_looked_at_behind_an_idle_one() {
        let mut scripted = Scripted::of(64);
        scripted.in_flight = vec![1; 64];
        scripted.in_flight[7] = 0;
        assert_eq!(LeastConnections::new(&[1; 64]).pick(&scripted, &FIRST), Some(7));
        assert_eq!(scripted.asked(), 8);
    }

    #[test]
    fn the_last_open_ones_of_many_are_found() {
        let mut scripted = Scripted::of(10_000);
        scripted.in_flight = vec![1; 10_000];
        scripted.free.fill(false);
        (scripted.free[5], scripted.free[9_000]) = (true, true);
        scripted.in_flight[5] = 2;
        assert_eq!(LeastConnections::new(&[1; 10_000]).pick(&scripted, &FIRST), Some(9_000));
    }

    #[test]
    fn idle_backends_among_many_get_equal_shares() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut balancer = LeastConnections::new(&[1; 100]);
        let mut counts = [0; 100];
        for _ in 0..20_000 {
            let draw = Draw { random: rng.u64(..), ..FIRST };
            counts[balancer.pick(&Scripted::of(100), &draw).expect("all are open")] += 1;
        }
        for count in counts {
            assert_binomial(count, 20_000, 0.01);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn up_to_64_no_open_one_is_less_busy_than_the_picked(
            endpoints in prop::collection::vec((0_u32..50, 1_u32..9, any::<bool>()), 1..=64),
            turns in 0_usize..5,
        ) {
            let weights: Vec<u32> = endpoints.iter().map(|(_, weight, _)| *weight).collect();
            let mut scripted = Scripted::of(endpoints.len());
            scripted.in_flight = endpoints.iter().map(|(in_flight, ..)| *in_flight).collect();
            scripted.free = endpoints.iter().map(|(.., free)| *free).collect();
            let mut balancer = LeastConnections::new(&weights);
            for _ in 0..turns {
                balancer.pick(&scripted, &FIRST);
            }
            if let Some(picked) = balancer.pick(&scripted, &FIRST) {
                let load = |index: usize| f64::from(scripted.in_flight[index]) / f64::from(weights[index]);
                prop_assert!((0..endpoints.len()).filter(|i| scripted.free[*i]).all(|i| load(i) >= load(picked) - 1e-9));
            }
        }

        #[test]
        fn requests_that_stay_spread_in_proportion_to_weight(
            weights in prop::collection::vec(1_u32..9, 1..=64),
            rounds in 1_u32..5,
        ) {
            let mut scripted = Scripted::of(weights.len());
            let mut balancer = LeastConnections::new(&weights);
            for _ in 0..rounds * weights.iter().sum::<u32>() {
                let picked = balancer.pick(&scripted, &FIRST).expect("all are open");
                scripted.in_flight[picked] += 1;
            }
            for (in_flight, weight) in scripted.in_flight.iter().zip(weights) {
                prop_assert!((1..=rounds * weight + 1).contains(in_flight));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 16,
            rng_seed: prop::test_runner::RngSeed::Fixed(7),
            ..ProptestConfig::default()
        })]

        #[test]
        fn requests_that_come_and_go_keep_many_backends_near_their_share(
            weights in prop::collection::vec(1_u32..9, 65..=300),
            heavy in prop::option::of(100_u32..=1_000),
            seed in any::<u64>(),
        ) {
            let mut weights = weights;
            weights[0] = heavy.unwrap_or(weights[0]);
            let total: u32 = weights.iter().sum();
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut scripted = Scripted::of(weights.len());
            let mut balancer = LeastConnections::new(&weights);
            let mut held = Vec::new();
            for nth in 0..6 * total {
                let draw = Draw { random: rng.u64(..), ..FIRST };
                let picked = balancer.pick(&scripted, &draw).expect("all are open");
                scripted.in_flight[picked] += 1;
                held.push(picked);
                if nth >= 3 * total {
                    scripted.in_flight[held.swap_remove(rng.usize(..held.len()))] -= 1;
                }
            }
            // Three for each unit of weight; with one random choice, the most loaded of 300 would have over ten.
            for (in_flight, weight) in scripted.in_flight.iter().zip(&weights) {
                prop_assert!(*in_flight <= 3 * weight + 3 + weight / 4, "{in_flight} at weight {weight}");
            }
        }
    }
}
