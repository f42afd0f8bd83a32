//! Round robin: one backend after the other.
//!
//! Ignores weights; [`super::Weighted`] honours them.

use super::cursor::{Cursors, around};
use super::{Draw, EndpointView};

/// Equal turns: with the same endpoints open, counts differ by one at most.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    cursors: Cursors,
}

impl RoundRobin {
    /// The first pick is index `first`. Give each worker another one, so that the first requests after a start do not
    /// all reach the same backend.
    #[must_use]
    pub fn new(first: usize) -> Self {
        Self { cursors: Cursors::starting_at(first) }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let cursor = self.cursors.of(draw.retry);
        let picked = around(endpoints.usable(), *cursor).find(|&index| endpoints.open(index))?;
        *cursor = picked + 1;
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    const FIRST: Draw = Draw { key: 0, random: 0, retry: false };
    const RETRY: Draw = Draw { key: 0, random: 0, retry: true };

    #[test]
    fn endpoints_take_turns_from_the_given_start() {
        let mut balancer = RoundRobin::new(1);
        let scripted = Scripted::of(3);
        let picks: Vec<_> = (0..6).filter_map(|_| balancer.pick(&scripted, &FIRST)).collect();
        assert_eq!(picks, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn first_tries_stay_even_when_one_backend_fails_every_request() {
        let mut balancer = RoundRobin::new(0);
        let mut firsts = [0; 2];
        for _ in 0..100 {
            let mut scripted = Scripted::of(2);
            let picked = balancer.pick(&scripted, &FIRST).expect("all are open");
            firsts[picked] += 1;
            if picked == 0 {
                scripted.free[0] = false;
                assert_eq!(balancer.pick(&scripted, &RETRY), Some(1));
            }
        }
        assert_eq!(firsts, [50, 50]);
    }

    #[test]
    fn retries_spread_over_all_the_others() {
        let mut balancer = RoundRobin::new(0);
        let mut retries = [0; 5];
        let mut scripted = Scripted::of(5);
        scripted.free[0] = false;
        for _ in 0..40 {
            retries[balancer.pick(&scripted, &RETRY).expect("four are open")] += 1;
        }
        assert_eq!(retries, [0, 10, 10, 10, 10]);
    }

    #[test]
    fn ten_thousand_open_endpoints_cost_one_look_a_pick() {
        let mut balancer = RoundRobin::new(0);
        let scripted = Scripted::of(10_000);
        for index in 0..20_000 {
            assert_eq!(balancer.pick(&scripted, &FIRST), Some(index % 10_000));
        }
        assert_eq!(scripted.asked(), 20_000);
    }

    proptest! {
        #[test]
        fn open_endpoints_get_equal_counts(
            open in prop::collection::vec(any::<bool>(), 1..=200),
            start in 0_usize..300,
            picks in 1_usize..1_000,
        ) {
            let mut scripted = Scripted::of(open.len());
            scripted.free.clone_from(&open);
            let mut balancer = RoundRobin::new(start);
            let mut counts = vec![0_usize; open.len()];
            for _ in 0..picks {
                if let Some(index) = balancer.pick(&scripted, &FIRST) {
                    counts[index] += 1;
                }
            }
            let endpoints = open.iter().filter(|open| **open).count();
            for (count, open) in counts.into_iter().zip(open) {
                let fair = if open { picks / endpoints..=picks.div_ceil(endpoints) } else { 0..=0 };
                prop_assert!(fair.contains(&count));
            }
        }
    }
}
