//! The backend with the fewest requests in flight for its weight.

use super::cursor::{Cursors, around};
use super::{Draw, Seats};

/// Looks at open seats until one is idle, or at all; those equally busy take turns.
///
/// Idle backends are equally busy whatever they weigh, so weights show only under load.
#[derive(Clone, Debug)]
pub struct LeastConnections {
    weights: Vec<u32>,
    cursors: Cursors,
}

impl LeastConnections {
    /// One weight for each backend.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        Self { weights: weights.to_vec(), cursors: Cursors::default() }
    }

    pub(super) fn pick(&mut self, seats: &impl Seats, draw: &Draw) -> Option<usize> {
        let cursor = self.cursors.of(draw.retry);
        let mut best: Option<(usize, u64, u64)> = None;
        for index in around(*cursor, seats.len()).filter(|&index| seats.open(index)) {
            let weight = u64::from(self.weights.get(index).copied().unwrap_or(1).max(1));
            let in_flight = u64::from(seats.in_flight(index));
            // in_flight / weight, compared without dividing. Strictly less: of equals, the first from the cursor wins.
            if best.is_none_or(|(_, least, its_weight)| in_flight * its_weight < least * weight) {
                best = Some((index, in_flight, weight));
            }
            if in_flight == 0 {
                // Nobody further on can have fewer.
                break;
            }
        }
        let (picked, ..) = best?;
        *cursor = picked + 1;
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    const FIRST: Draw = Draw { key: 0, dice: 0, retry: false };
    const RETRY: Draw = Draw { key: 0, dice: 0, retry: true };

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
    fn ten_thousand_busy_seats_are_looked_at_once_each() {
        let mut scripted = Scripted::of(10_000);
        scripted.in_flight = vec![1; 10_000];
        LeastConnections::new(&[1; 10_000]).pick(&scripted, &FIRST);
        assert_eq!(scripted.asked(), 10_000);
    }

    #[test]
    fn nobody_is_looked_at_behind_an_idle_one() {
        let mut scripted = Scripted::of(10_000);
        scripted.in_flight = vec![1; 10_000];
        scripted.in_flight[7] = 0;
        assert_eq!(LeastConnections::new(&[1; 10_000]).pick(&scripted, &FIRST), Some(7));
        assert_eq!(scripted.asked(), 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn nobody_open_is_less_busy_than_the_picked(
            seats in prop::collection::vec((0_u32..50, 1_u32..9, any::<bool>()), 1..=200),
            turns in 0_usize..5,
        ) {
            let weights: Vec<u32> = seats.iter().map(|(_, weight, _)| *weight).collect();
            let mut scripted = Scripted::of(seats.len());
            scripted.in_flight = seats.iter().map(|(in_flight, ..)| *in_flight).collect();
            scripted.free = seats.iter().map(|(.., free)| *free).collect();
            let mut balancer = LeastConnections::new(&weights);
            for _ in 0..turns {
                balancer.pick(&scripted, &FIRST);
            }
            if let Some(picked) = balancer.pick(&scripted, &FIRST) {
                let load = |index: usize| f64::from(scripted.in_flight[index]) / f64::from(weights[index]);
                prop_assert!((0..seats.len()).filter(|i| scripted.free[*i]).all(|i| load(i) >= load(picked) - 1e-9));
            }
        }

        #[test]
        fn requests_that_stay_spread_in_proportion_to_weight(
            weights in prop::collection::vec(1_u32..9, 1..=200),
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
}
