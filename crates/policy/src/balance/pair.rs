//! Draws two distinct open endpoints for the balancers that compare two.

use super::EndpointView;
use super::prng::Prng;

/// Draws before all usable endpoints are examined.
const DRAWS_MAX: usize = 8;

/// Draws each open endpoint with equal probability. The second is `None` if only one is open.
pub(super) fn draw(endpoints: &impl EndpointView, seed: u64) -> Option<(usize, Option<usize>)> {
    let usable = endpoints.usable();
    let mut prng = Prng::new(seed);
    let first = open_one(endpoints, usable.len(), &mut prng, |drawn| drawn)?;
    // The second is drawn from the others: positions from the first on move up by one.
    let second = open_one(endpoints, usable.len() - 1, &mut prng, |drawn| drawn + usize::from(drawn >= first));
    let endpoint = |place: usize| usable.get(place).copied();
    Some((endpoint(first)?, second.and_then(endpoint)))
}

/// The position of a random open endpoint in the list of usable ones; `place` maps each of `count` draws to a position.
fn open_one(
    endpoints: &impl EndpointView,
    count: usize,
    prng: &mut Prng,
    place: impl Fn(usize) -> usize,
) -> Option<usize> {
    let is_open = |place: &usize| endpoints.usable().get(*place).is_some_and(|&endpoint| endpoints.open(endpoint));
    if count == 0 {
        return None;
    }
    for _ in 0..DRAWS_MAX {
        let drawn = place(prng.position(count));
        if is_open(&drawn) {
            return Some(drawn);
        }
    }
    // The n-th open endpoint replaces the choice so far with probability 1/n, so that all have the same probability.
    let mut found = 0;
    let mut chosen = None;
    for place in (0..count).map(place).filter(is_open) {
        found += 1;
        if prng.below(found) == 0 {
            chosen = Some(place);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Scripted, assert_binomial};
    use super::*;

    fn check_shares(scripted: &Scripted, seed: u64) {
        let open = (0..scripted.len()).filter(|index| scripted.open(*index)).count();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0_u64; scripted.len()];
        for _ in 0..20_000 {
            let (first, second) = draw(scripted, rng.u64(..)).expect("some are open");
            assert_ne!(Some(first), second);
            counts[first] += 1;
            counts[second.expect("two are open")] += 1;
        }
        for (index, count) in counts.into_iter().enumerate() {
            let share = if scripted.open(index) { 2.0 / open as f64 } else { 0.0 };
            assert_binomial(count, 20_000, share);
        }
    }

    #[test]
    fn all_open_endpoints_are_drawn_alike() {
        for count in [2, 3, 7, 200] {
            check_shares(&Scripted::of(count), count as u64);
        }
    }

    #[test]
    fn the_last_open_endpoints_among_many_closed_are_drawn_alike() {
        let mut scripted = Scripted::of(100);
        scripted.free.fill(false);
        for index in [3, 50, 99] {
            scripted.free[index] = true;
        }
        check_shares(&scripted, 5);
    }

    #[test]
    fn one_open_endpoint_has_no_rival_and_none_gives_none() {
        let mut scripted = Scripted::of(3);
        scripted.free = vec![false, true, false];
        assert_eq!(draw(&scripted, 1), Some((1, None)));
        scripted.free.fill(false);
        assert_eq!(draw(&scripted, 1), None);
    }

    #[test]
    fn ten_thousand_open_endpoints_cost_hardly_more_than_two_looks() {
        let scripted = Scripted::of(10_000);
        for seed in 0..1_000 {
            assert!(draw(&scripted, seed).is_some());
        }
        assert!(scripted.asked() < 2_010);
    }
}
