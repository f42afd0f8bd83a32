//! One backend for each key of a request, as long as that backend is open and not much busier than the others.
//!
//! What the key is (a header, a cookie, the path …) is decided by the configuration.
//!
//! Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads", 2016.

use super::ring::{Ring, place};
use super::{Draw, Seats};

/// A backend may have this share of the mean load for its weight: 5/4.
const BOUND: (u128, u128) = (5, 4);

/// A ring with 160 points for each unit of weight. A backend that is closed, or would exceed 1.25 times its share of
/// the requests in flight, is passed over for the next along the ring.
#[derive(Clone, Debug)]
pub struct Consistent {
    ring: Ring,
    weights: Vec<u32>,
}

/// What all usable backends have together.
struct Load {
    in_flight: u128,
    weight: u128,
}

impl Consistent {
    /// One name and one weight for each backend; a backend keeps its keys over a reload as long as it keeps its name.
    #[must_use]
    pub fn new(names: &[&str], weights: &[u32]) -> Self {
        let backends = names.iter().copied().zip(weights.iter().copied().chain(std::iter::repeat(1)));
        Self { ring: Ring::new(backends), weights: weights.to_vec() }
    }

    pub(super) fn pick(&mut self, seats: &impl Seats, draw: &Draw) -> Option<usize> {
        let load = self.load(seats);
        let takes = |index: usize| seats.open(index) && self.has_room(seats, index, &load);
        let owner = self.ring.walk(draw.key).next()?;
        if takes(owner) {
            return Some(owner);
        }
        // Asked by seat first: a walk in vain would go past every point of the ring.
        if (0..seats.len()).any(takes) {
            return self.ring.walk(draw.key).find(|&index| takes(index));
        }
        (0..seats.len()).find(|&index| seats.open(index))?;
        self.ring.walk(draw.key).find(|&index| seats.open(index))
    }

    /// Of usable backends only: if half of them are down, the others' fair share is twice what it was.
    fn load(&self, seats: &impl Seats) -> Load {
        let none = Load { in_flight: 0, weight: 0 };
        (0..seats.len()).filter(|&index| seats.usable(index)).fold(none, |load, index| Load {
            in_flight: load.in_flight + u128::from(seats.in_flight(index)),
            weight: load.weight + self.weight(index),
        })
    }

    /// Whether one more keeps it within ⌈1.25 × (all in flight + 1) × weight ÷ total weight⌉.
    fn has_room(&self, seats: &impl Seats, index: usize, load: &Load) -> bool {
        let (over, under) = BOUND;
        let allowed = over * (load.in_flight + 1) * self.weight(index);
        // n + 1 ≤ ⌈a ÷ b⌉ is n × b < a: no rounding.
        u128::from(seats.in_flight(index)) * under * load.weight < allowed
    }

    fn weight(&self, index: usize) -> u128 {
        u128::from(self.weights.get(index).copied().unwrap_or(1).max(1))
    }
}

/// The key of any bytes: the first half of their MD5.
#[must_use]
pub fn key(bytes: &[u8]) -> u64 {
    place(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    fn balancer(weights: &[u32]) -> Consistent {
        let names: Vec<String> = (0..weights.len()).map(|index| format!("http://10.2.0.{index}:80")).collect();
        Consistent::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), weights)
    }

    fn draw(user: u64) -> Draw {
        Draw { key: key(format!("user-{user}").as_bytes()), dice: 0, retry: false }
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
    fn ten_thousand_seats_are_asked_once_a_pick() {
        let mut balancer = balancer(&[1; 10_000]);
        let scripted = Scripted::of(10_000);
        for user in 0..10 {
            assert!(balancer.pick(&scripted, &draw(user)).is_some());
        }
        assert_eq!(scripted.asked(), 10);
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
