//! Consistent hashing with bounded load: one backend for each key, as long as it is open and not much busier than the
//! others.
//!
//! The configuration says what the key is (a header, a cookie, the path …).
//!
//! Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads", 2016.

use super::ring::Ring;
use super::{Draw, EndpointView};

/// The load that a backend may have, relative to the mean for its weight: 5/4.
const BOUND: (u128, u128) = (5, 4);

/// The largest number of backends whose requests in flight are added up one by one.
const ASKED_MAX: usize = 16;

/// A ring with 160 points for each unit of weight. A backend that is closed, or would exceed 1.25 times its share of
/// the requests in flight, is skipped for the next one along the ring.
#[derive(Clone, Debug)]
pub struct Consistent {
    ring: Ring,
    weights: Vec<u32>,
    epoch: Option<u64>,
    /// The sum of the weights of all usable backends, as of `epoch`.
    usable_weight: u128,
    /// The backends that are not usable, as of `epoch`.
    out: Vec<usize>,
}

/// The load of all usable backends.
struct SeatLoad {
    in_flight: u128,
    weight: u128,
}

impl Consistent {
    /// One name and one weight for each backend. A backend keeps its keys across a reload as long as it keeps its name.
    #[must_use]
    pub fn new(names: &[&str], weights: &[u32]) -> Self {
        let backends = names.iter().copied().zip(weights.iter().copied().chain(std::iter::repeat(1)));
        Self { ring: Ring::new(backends), weights: weights.to_vec(), epoch: None, usable_weight: 0, out: Vec::new() }
    }

    pub(super) fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let load = self.load(endpoints);
        let takes = |index: usize| endpoints.open(index) && self.has_room(endpoints, index, &load);
        let owner = self.ring.walk(draw.key).next()?;
        if takes(owner) {
            return Some(owner);
        }
        // Checked for each backend first: a walk that finds none would visit every point of the ring.
        if endpoints.usable().iter().copied().any(takes) {
            return self.ring.walk(draw.key).find(|&index| takes(index));
        }
        endpoints.usable().iter().find(|&&index| endpoints.open(index))?;
        self.ring.walk(draw.key).find(|&index| endpoints.open(index))
    }

    /// The load of the usable backends only: if half of them are down, the fair share of the others doubles.
    fn load(&mut self, endpoints: &impl EndpointView) -> SeatLoad {
        let (usable, epoch) = (endpoints.usable(), endpoints.epoch());
        if self.epoch != Some(epoch) {
            self.usable_weight = usable.iter().map(|&index| self.weight(index)).sum();
            self.out.clear();
            self.out.extend((0..endpoints.len()).filter(|index| usable.binary_search(index).is_err()));
            self.epoch = Some(epoch);
        }
        let sum = |backends: &[usize]| backends.iter().map(|&index| u64::from(endpoints.in_flight(index))).sum::<u64>();
        let in_flight = match usable.len() <= ASKED_MAX.max(self.out.len()) {
            true => sum(usable),
            // Other workers change the counts between the two calls.
            false => endpoints.in_flight_total().saturating_sub(sum(&self.out)),
        };
        SeatLoad { in_flight: u128::from(in_flight), weight: self.usable_weight }
    }

    /// Whether one more request keeps the backend within ⌈1.25 × (all in flight + 1) × weight ÷ total weight⌉.
    fn has_room(&self, endpoints: &impl EndpointView, index: usize, load: &SeatLoad) -> bool {
        let (over, under) = BOUND;
        let allowed = over * (load.in_flight + 1) * self.weight(index);
        // n + 1 ≤ ⌈a ÷ b⌉ is equivalent to n × b < a, which needs no rounding.
        u128::from(endpoints.in_flight(index)) * under * load.weight < allowed
    }

    fn weight(&self, index: usize) -> u128 {
        u128::from(self.weights.get(index).copied().unwrap_or(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key;
    use super::super::scripted::Scripted;
    use super::*;

    fn balancer(weights: &[u32]) -> Consistent {
        let names: Vec<String> = (0..weights.len()).map(|index| format!("http://10.2.0.{index}:80")).collect();
        Consistent::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), weights)
    }

    fn draw(user: u64) -> Draw {
        Draw { key: key::of_bytes(format!("user-{user}").as_bytes()), random: 0, retry: false }
    }

    #[test]
    fn an_idle_ring_gives_shares_in_proportion_to_weight() {
        let mut balancer = balancer(&[1, 2, 5]);
        let scripted = Scripted::of(3);
        let mut counts = [0_u32; 3];
        for user in 0..16_000 {
            counts[balancer.pick(&scripted, &draw(user)).expect("all are open")] += 1;
        }
        for (count, weight) in counts.into_iter().zip([1, 2, 5]) {
            assert!((2_000 * weight * 7 / 10..=2_000 * weight * 14 / 10).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn a_hot_key_spills_over_to_the_same_next_backends() {
        let mut balancer = balancer(&[1; 5]);
        let mut scripted = Scripted::of(5);
        let home = balancer.pick(&scripted, &draw(1)).expect("all are open");
        scripted.in_flight[home] = 8;
        let next = balancer.pick(&scripted, &draw(1)).expect("others have room");
        assert_ne!(next, home);
        assert_eq!(balancer.pick(&scripted, &draw(1)), Some(next));
        scripted.in_flight[home] = 0;
        assert_eq!(balancer.pick(&scripted, &draw(1)), Some(home));
    }

    #[test]
    fn when_all_the_open_are_over_their_bound_one_of_them_takes_it() {
        let mut balancer = balancer(&[1; 4]);
        let mut scripted = Scripted::of(4);
        scripted.in_flight = vec![90, 0, 0, 0];
        scripted.free = vec![true, false, false, false];
        assert!((0..50).all(|user| balancer.pick(&scripted, &draw(user)) == Some(0)));
    }

    #[test]
    fn the_fair_share_counts_usable_backends_only() {
        let mut balancer = balancer(&[1; 4]);
        let mut scripted = Scripted::of(4);
        scripted.set_usable(2, false);
        scripted.set_usable(3, false);
        scripted.in_flight = vec![10, 10, 0, 0];
        let mut counts = [0; 4];
        for user in 0..200 {
            counts[balancer.pick(&scripted, &draw(user)).expect("two are open")] += 1;
        }
        assert!(counts[0] > 40 && counts[1] > 40, "{counts:?}");
    }

    #[test]
    fn what_unusable_backends_still_have_in_flight_is_no_load_however_many_there_are() {
        for (count, out) in [(4, 2), (100, 1), (100, 40), (100, 70)] {
            let mut balancer = balancer(&vec![1; count]);
            let mut scripted = Scripted::of(count);
            let home = balancer.pick(&scripted, &draw(1)).expect("all are open");
            let gone: Vec<usize> = (0..count).filter(|index| *index != home).take(out).collect();
            for index in &gone {
                scripted.set_usable(*index, false);
                scripted.in_flight[*index] = 1_000;
            }
            // A third request would exceed its share of three requests.
            scripted.in_flight[home] = 2;
            let picked = balancer.pick(&scripted, &draw(1)).expect("some are open");
            assert!(picked != home && !gone.contains(&picked), "{out} of {count} are out");
        }
    }

    #[test]
    fn ten_thousand_endpoints_are_asked_once_a_pick() {
        let mut balancer = balancer(&[1; 10_000]);
        let scripted = Scripted::of(10_000);
        for user in 0..10 {
            assert!(balancer.pick(&scripted, &draw(user)).is_some());
        }
        assert_eq!(scripted.asked(), 10);
    }

    #[test]
    fn the_load_of_ten_thousand_endpoints_is_asked_once_for_all() {
        let mut balancer = balancer(&[1; 10_000]);
        let mut scripted = Scripted::of(10_000);
        scripted.in_flight = vec![3; 10_000];
        scripted.set_usable(17, false);
        scripted.loads_asked();
        for user in 0..10 {
            assert!(balancer.pick(&scripted, &draw(user)).is_some());
        }
        // The unusable backend, and the owner of the key.
        assert_eq!(scripted.loads_asked(), 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_backend_ever_exceeds_its_bound(
            weights in prop::collection::vec(1_u32..5, 1..=60),
            users in 1_u64..5,
        ) {
            let mut balancer = balancer(&weights);
            let mut scripted = Scripted::of(weights.len());
            let total_weight: u32 = weights.iter().sum();
            for nth in 0..400_u64 {
                let picked = balancer.pick(&scripted, &draw(nth % users)).expect("all are open");
                scripted.in_flight[picked] += 1;
                let mean = (nth + 1) as f64 * f64::from(weights[picked]) / f64::from(total_weight);
                prop_assert!(f64::from(scripted.in_flight[picked]) <= (mean * 1.25).ceil());
            }
        }

        #[test]
        fn only_the_keys_of_a_closed_backend_move_and_they_come_back(
            count in 2_usize..=100,
            closed in any::<prop::sample::Index>(),
        ) {
            let mut balancer = balancer(&vec![1; count]);
            let mut scripted = Scripted::of(count);
            let closed = closed.index(count);
            let home: Vec<_> = (0..300).map(|user| balancer.pick(&scripted, &draw(user))).collect();
            scripted.set_usable(closed, false);
            for (user, home) in (0..).zip(&home) {
                let now = balancer.pick(&scripted, &draw(user));
                prop_assert!(now != Some(closed));
                prop_assert!(now == *home || *home == Some(closed));
            }
            scripted.set_usable(closed, true);
            for (user, home) in (0..).zip(&home) {
                prop_assert_eq!(balancer.pick(&scripted, &draw(user)), *home);
            }
        }
    }
}
