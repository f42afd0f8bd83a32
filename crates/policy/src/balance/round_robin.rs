//! One backend after the other.
//!
//! Weights are not looked at: that is [`super::Weighted`].

use super::cursor::{Cursors, around};
use super::{Draw, Seats};

/// Equal turns: with the same seats open, counts differ by one at most.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    cursors: Cursors,
}

impl RoundRobin {
    /// The first pick is seat `first`. Give each worker another one, so that the first requests after a start don't
    /// all meet at the same backend.
    #[must_use]
    pub fn new(first: usize) -> Self {
        Self { cursors: Cursors::starting_at(first) }
    }

    pub(super) fn pick(&mut self, seats: &impl Seats, draw: &Draw) -> Option<usize> {
        let cursor = self.cursors.of(draw.retry);
        let picked = around(seats.usable(), *cursor).find(|&index| seats.open(index))?;
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
    fn seats_take_turns_from_the_given_start() {
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
    fn ten_thousand_open_seats_cost_one_look_a_pick() {
        let mut balancer = RoundRobin::new(0);
        let scripted = Scripted::of(10_000);
        for index in 0..20_000 {
            assert_eq!(balancer.pick(&scripted, &FIRST), Some(index % 10_000));
        }
        assert_eq!(scripted.asked(), 20_000);
    }

    proptest! {
        #[test]
        fn open_seats_get_equal_counts(
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
            let seats = open.iter().filter(|open| **open).count();
            for (count, open) in counts.into_iter().zip(open) {
                let fair = if open { picks / seats..=picks.div_ceil(seats) } else { 0..=0 };
                prop_assert!(fair.contains(&count));
            }
        }
    }
}
