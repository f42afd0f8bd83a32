//! Smooth weighted round robin: one backend after the other in proportion to weight, without bursts.
//!
//! Backends of equal weight form a class. Credit schedules the classes, and the members of a class take plain turns. So
//! the cost of a pick grows with the number of distinct weights, not of backends.
//!
//! With each pick every class earns its share, and the chosen class pays for one pick. Among the classes with credit,
//! the one whose credit would be used up first is chosen. This keeps every backend within one pick of its exact share
//! at any time; always choosing the greatest credit does not.
//!
//! Source: R. Tijdeman, "The chairman assignment problem", 1980.

use std::collections::BTreeMap;

use super::cursor::Cursors;
use super::{Draw, EndpointView};

/// Exact and smooth turns by weight, for first attempts and for retries separately.
#[derive(Clone, Debug)]
pub struct Weighted {
    classes: Vec<WeightClass>,
    epoch: Option<u64>,
    /// The sum of the weights of all usable backends, as of `epoch`.
    total: i64,
}

/// The backends of one weight.
#[derive(Clone, Debug)]
struct WeightClass {
    weight: i64,
    members: Vec<usize>,
    /// The usable members in order, as of the epoch.
    usable: Vec<usize>,
    cursors: Cursors,
    credits: Credits,
    /// The member that is picked if the class is chosen; computed anew in each pick.
    next: Option<usize>,
}

/// The credit of a class, separate for first attempts and retries. One pick costs the sum of the weights that took part
/// in it.
#[derive(Clone, Copy, Debug, Default)]
struct Credits {
    first: i64,
    again: i64,
}

impl Credits {
    fn of(&mut self, retry: bool) -> &mut i64 {
        if retry { &mut self.again } else { &mut self.first }
    }
}

impl WeightClass {
    fn share(&self) -> i64 {
        self.weight * self.usable.len() as i64
    }

    /// The open member whose turn it is.
    fn turn(&mut self, endpoints: &impl EndpointView, retry: bool) -> Option<usize> {
        let cursor = *self.cursors.of(retry);
        let start = self.usable.partition_point(|&member| member < cursor);
        let (before, after) = self.usable.split_at_checked(start)?;
        after.iter().chain(before).copied().find(|&member| endpoints.open(member))
    }
}

impl Weighted {
    /// One weight for each backend.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let mut by_weight = BTreeMap::<u32, Vec<usize>>::new();
        for (index, weight) in weights.iter().enumerate() {
            by_weight.entry((*weight).max(1)).or_default().push(index);
        }
        let class = |(weight, members)| WeightClass {
            weight: i64::from(weight),
            members,
            usable: Vec::new(),
            cursors: Cursors::default(),
            credits: Credits::default(),
            next: None,
        };
        Self { classes: by_weight.into_iter().rev().map(class).collect(), epoch: None, total: 0 }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let epoch = endpoints.epoch();
        if self.epoch != Some(epoch) {
            self.recount(endpoints);
            self.epoch = Some(epoch);
        }
        let mut total = 0;
        for class in &mut self.classes {
            class.next = class.turn(endpoints, draw.retry);
            if class.next.is_some() {
                total += class.share();
            }
        }
        // A class without an open member neither earns nor pays; later it continues with the same credit.
        for class in self.classes.iter_mut().filter(|class| class.next.is_some()) {
            let share = class.share();
            *class.credits.of(draw.retry) += share;
        }
        match self.due(total, draw.retry) {
            Some(class) => {
                *class.credits.of(draw.retry) -= total;
                let picked = class.next?;
                *class.cursors.of(draw.retry) = picked + 1;
                Some(picked)
            }
            // The usable set may have grown since the epoch was read.
            None => endpoints.usable().iter().copied().find(|&index| endpoints.open(index)),
        }
    }

    /// The class to choose: among those with credit, else among all with an open member, the one whose credit ends
    /// first if it continues to earn.
    fn due(&mut self, total: i64, retry: bool) -> Option<&mut WeightClass> {
        self.classes.iter_mut().filter(|class| class.next.is_some()).reduce(|best, other| {
            let (best_credit, other_credit) = (*best.credits.of(retry), *other.credits.of(retry));
            let best_left = i128::from(total - best_credit) * i128::from(other.share());
            let other_left = i128::from(total - other_credit) * i128::from(best.share());
            if (other_credit <= 0, other_left) < (best_credit <= 0, best_left) { other } else { best }
        })
    }

    /// Counts the usable members of each class, and scales credits to the new total.
    fn recount(&mut self, endpoints: &impl EndpointView) {
        let total_before = i128::from(self.total);
        for class in &mut self.classes {
            class.usable.clear();
            let is_usable = |member: &usize| endpoints.usable().binary_search(member).is_ok();
            class.usable.extend(class.members.iter().copied().filter(is_usable));
        }
        self.total = self.classes.iter().map(WeightClass::share).sum();
        let total = i128::from(self.total);
        for retry in [false, true] {
            let mut sum = 0;
            for class in &mut self.classes {
                let live = total_before > 0 && !class.usable.is_empty();
                let credit = class.credits.of(retry);
                let restated = if live { i128::from(*credit) * total / total_before } else { 0 };
                *credit = i64::try_from(restated).unwrap_or(0);
                sum += *credit;
            }
            // Credits must add up to zero: one class takes what rounding and removed classes left over.
            if let Some(class) = self.classes.iter_mut().find(|class| !class.usable.is_empty()) {
                *class.credits.of(retry) -= sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    const FIRST: Draw = Draw { key: 0, random: 0, retry: false };
    const RETRY: Draw = Draw { key: 0, random: 0, retry: true };

    fn picks(balancer: &mut Weighted, scripted: &Scripted, count: usize) -> Vec<usize> {
        (0..count).map(|_| balancer.pick(scripted, &FIRST).expect("one is open")).collect()
    }

    fn counts(picks: &[usize], endpoints: usize) -> Vec<usize> {
        (0..endpoints).map(|endpoint| picks.iter().filter(|pick| **pick == endpoint).count()).collect()
    }

    #[test]
    fn five_to_one_to_one_gives_no_run_of_five() {
        let picks = picks(&mut Weighted::new(&[5, 1, 1]), &Scripted::of(3), 70);
        assert!(picks.windows(4).all(|window| window.iter().any(|pick| *pick != 0)), "{picks:?}");
        assert_eq!(counts(&picks, 3), [50, 10, 10]);
    }

    #[test]
    fn three_to_two_to_one_is_exact_over_any_six_picks_in_a_row() {
        let picks = picks(&mut Weighted::new(&[3, 2, 1]), &Scripted::of(3), 100);
        for window in picks.windows(6) {
            assert_eq!(counts(window, 3), [3, 2, 1], "{picks:?}");
        }
    }

    #[test]
    fn first_tries_stay_exact_when_one_backend_fails_every_request() {
        let mut balancer = Weighted::new(&[3, 2, 1]);
        let mut firsts = [0; 3];
        let mut retries = [0; 3];
        for _ in 0..600 {
            let mut scripted = Scripted::of(3);
            let picked = balancer.pick(&scripted, &FIRST).expect("all are open");
            firsts[picked] += 1;
            if picked == 0 {
                scripted.free[0] = false;
                retries[balancer.pick(&scripted, &RETRY).expect("two are open")] += 1;
            }
        }
        assert_eq!(firsts, [300, 200, 100]);
        assert_eq!(retries, [0, 200, 100]);
    }

    #[test]
    fn a_full_backend_does_not_catch_up_in_a_burst() {
        let mut balancer = Weighted::new(&[3, 2, 1]);
        let mut scripted = Scripted::of(3);
        scripted.free[0] = false;
        let meanwhile = picks(&mut balancer, &scripted, 3_000);
        assert_eq!(counts(&meanwhile, 3), [0, 2_000, 1_000]);
        scripted.free[0] = true;
        assert_eq!(counts(&picks(&mut balancer, &scripted, 6), 3), [3, 2, 1]);
    }

    #[test]
    fn a_pick_for_a_retry_does_not_shrink_its_class() {
        let mut balancer = Weighted::new(&[2, 2, 1]);
        let mut scripted = Scripted::of(3);
        scripted.free[0] = false;
        balancer.pick(&scripted, &RETRY);
        scripted.free[0] = true;
        assert_eq!(counts(&picks(&mut balancer, &scripted, 50), 3), [20, 20, 10]);
    }

    #[test]
    fn shares_follow_the_usable_set() {
        let mut balancer = Weighted::new(&[4, 4, 2, 1]);
        let mut scripted = Scripted::of(4);
        picks(&mut balancer, &scripted, 5);
        scripted.set_usable(1, false);
        assert_eq!(counts(&picks(&mut balancer, &scripted, 70), 4), [40, 0, 20, 10]);
        scripted.set_usable(1, true);
        scripted.set_usable(2, false);
        assert_eq!(counts(&picks(&mut balancer, &scripted, 90), 4), [40, 40, 0, 10]);
    }

    #[test]
    fn ten_thousand_endpoints_cost_one_look_for_each_distinct_weight() {
        let weights: Vec<u32> = (0..10_000).map(|index| index % 3 + 1).collect();
        let mut balancer = Weighted::new(&weights);
        let scripted = Scripted::of(10_000);
        picks(&mut balancer, &scripted, 20_000);
        assert_eq!(scripted.asked(), 3 * 20_000);
    }

    #[test]
    fn the_greatest_weights_do_not_overflow() {
        let mut balancer = Weighted::new(&[u32::MAX, u32::MAX - 1, 1]);
        let picks = picks(&mut balancer, &Scripted::of(3), 1_000);
        assert_eq!(counts(&picks, 3), [500, 500, 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_backend_is_always_within_one_pick_of_its_exact_share(
            weights in prop::collection::vec(1_u32..12, 1..=40),
        ) {
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            let picks = picks(&mut Weighted::new(&weights), &Scripted::of(weights.len()), total * 2);
            let mut counts = vec![0_i64; weights.len()];
            for (nth, pick) in picks.iter().enumerate() {
                counts[*pick] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let owed = (nth as i64 + 1) * i64::from(*weight);
                    prop_assert!((count * total as i64 - owed).abs() < total as i64);
                }
            }
            prop_assert_eq!(&picks[..total], &picks[total..]);
        }

        #[test]
        fn a_whole_period_from_anywhere_is_exact(
            weights in prop::collection::vec(1_u32..50, 1..=200),
            offset in 0_usize..500,
        ) {
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            let picks = picks(&mut Weighted::new(&weights), &Scripted::of(weights.len()), offset + total);
            let counts = counts(&picks[offset..], weights.len());
            prop_assert!(counts.iter().zip(weights).all(|(count, weight)| *count == weight as usize));
        }

        #[test]
        fn credits_stay_bounded_whatever_opens_and_closes(
            weights in prop::collection::vec(1_u32..20, 2..12),
            seed in any::<u64>(),
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut balancer = Weighted::new(&weights);
            let mut scripted = Scripted::of(weights.len());
            for _ in 0..2_000 {
                for index in 0..weights.len() {
                    scripted.free[index] = rng.u8(..4) > 0;
                    if rng.u8(..20) == 0 {
                        scripted.set_usable(index, rng.bool());
                    }
                }
                balancer.pick(&scripted, &FIRST);
                let sum: i64 = balancer.classes.iter().map(|class| class.credits.first).sum();
                prop_assert_eq!(sum, 0);
                let bound = balancer.total * (weights.len() as i64 + 1);
                prop_assert!(balancer.classes.iter().all(|class| class.credits.first.abs() <= bound));
            }
        }
    }
}
