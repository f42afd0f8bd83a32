//! Which backend of an upstream gets the next request.
//!
//! Eight ways to choose, one file each, behind one [`Balancer`]. A balancer sees the backends as [`Seats`]: it asks
//! which are open and how busy they are, and answers with an index. Who is usable at all is decided in
//! [`crate::health`], whether a failed request may be tried again in [`crate::retry`].
//!
//! Each worker has balancers of its own, so a pick takes no lock; only what [`Seats`] tells is shared. As long as most
//! usable backends are open, the cost of a pick does not grow with their number: at most 64 are looked at. What depends
//! on the set of usable backends is computed once for each [`Seats::epoch`].

pub mod consistent;
mod cursor;
pub mod dice;
pub mod ip_hash;
pub mod key;
pub mod least_connections;
mod pair;
pub mod peak_ewma;
pub mod random;
mod ring;
pub mod round_robin;
#[cfg(test)]
pub(crate) mod scripted;
mod shares;
pub mod two_choices;
pub mod weighted;

pub use consistent::Consistent;
pub use ip_hash::IpHash;
pub use least_connections::LeastConnections;
pub use peak_ewma::PeakEwma;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use two_choices::TwoChoices;
pub use weighted::Weighted;

/// What a balancer sees of an upstream's backends at the moment of a pick.
///
/// The answers may change between two calls, because other workers pick at the same time.
pub trait Seats {
    /// How many backends the upstream has, usable or not. The same for as long as the balancer lives.
    fn len(&self) -> usize;

    /// Whether the upstream has no backend at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The backends in service, in ascending order: up, not ejected, not drained, not a backup that is not needed.
    /// They may be full, or tried already. Changes only together with [`Seats::epoch`].
    fn usable(&self) -> &[usize];

    /// Whether this backend may be given this request: usable, below its limit, not tried yet.
    fn open(&self, index: usize) -> bool;

    /// Requests in flight at this backend, all workers together.
    fn in_flight(&self, index: usize) -> u32;

    /// Requests in flight at all backends, usable or not, all workers together. Asked by [`Consistent`] only.
    fn in_flight_total(&self) -> u64;

    /// Recent latency for [`PeakEwma`], decayed to now, in nanoseconds; 0: none known.
    fn latency(&self, index: usize) -> f64;

    /// Grows whenever the set of usable backends changes.
    fn epoch(&self) -> u64;
}

/// What a pick draws on besides the seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// Hash of the request's key, from [`key`]; balancers that don't hash ignore it.
    pub key: u64,
    /// One random number, fresh for each pick; more are derived from it with [`dice::splitmix64`].
    pub dice: u64,
    /// Whether this request had a pick before. Balancers that take turns count retries apart: of two backends, one
    /// dead, a shared count would send every first try to the dead one and every retry to the other.
    pub retry: bool,
}

/// One upstream's way to choose, with the state of one worker.
///
/// A weight of 0 counts as 1. Clones share the points of a ring, so each worker is given a clone.
#[derive(Clone, Debug)]
pub enum Balancer {
    /// One after the other.
    RoundRobin(RoundRobin),
    /// One after the other in proportion to weight, smoothly.
    Weighted(Weighted),
    /// The one with the fewest requests in flight for its weight.
    LeastConnections(LeastConnections),
    /// By the client's address.
    IpHash(IpHash),
    /// By chance, in proportion to weight.
    Random(Random),
    /// The less busy of two drawn by chance.
    TwoChoices(TwoChoices),
    /// The cheaper of two drawn by chance, by recent latency and requests in flight.
    PeakEwma(PeakEwma),
    /// Consistent hash of a key of the request, with bounded load.
    Consistent(Consistent),
}

impl Balancer {
    /// The backend for one request; `None`: none is open. Called again for a retry, with fewer seats open.
    pub fn pick(&mut self, seats: &impl Seats, draw: &Draw) -> Option<usize> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(seats, draw),
            Self::Weighted(balancer) => balancer.pick(seats, draw),
            Self::LeastConnections(balancer) => balancer.pick(seats, draw),
            Self::IpHash(balancer) => balancer.pick(seats, draw),
            Self::Random(balancer) => balancer.pick(seats, draw),
            Self::TwoChoices(balancer) => balancer.pick(seats, draw),
            Self::PeakEwma(balancer) => balancer.pick(seats, draw),
            Self::Consistent(balancer) => balancer.pick(seats, draw),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::scripted::Scripted;
    use super::*;

    fn all_balancers(weights: &[u32]) -> Vec<Balancer> {
        let names: Vec<String> = (0..weights.len()).map(|index| format!("http://10.0.0.{index}:80")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        vec![
            Balancer::RoundRobin(RoundRobin::new(3)),
            Balancer::Weighted(Weighted::new(weights)),
            Balancer::LeastConnections(LeastConnections::new(weights)),
            Balancer::IpHash(IpHash::new(&names)),
            Balancer::Random(Random::new(weights)),
            Balancer::TwoChoices(TwoChoices),
            Balancer::PeakEwma(PeakEwma),
            Balancer::Consistent(Consistent::new(&names, weights)),
        ]
    }

    #[test]
    fn an_upstream_without_backends_gives_none() {
        for mut balancer in all_balancers(&[]) {
            assert_eq!(balancer.pick(&Scripted::of(0), &Draw::default()), None, "{balancer:?}");
        }
    }

    #[test]
    fn a_lone_backend_gets_everything() {
        for mut balancer in all_balancers(&[1]) {
            let scripted = Scripted::of(1);
            for dice in 0..20 {
                let draw = Draw { key: dice << 59, dice, retry: dice % 3 == 0 };
                assert_eq!(balancer.pick(&scripted, &draw), Some(0), "{balancer:?}");
            }
        }
    }

    #[test]
    fn a_weight_of_nought_counts_as_one() {
        for mut balancer in all_balancers(&[0, 0]) {
            assert!(balancer.pick(&Scripted::of(2), &Draw::default()).is_some(), "{balancer:?}");
        }
    }

    /// What happens to one seat before a pick: its state, and the load it shows.
    fn seat() -> impl Strategy<Value = (bool, bool, u32, f64)> {
        (prop::bool::weighted(0.7), prop::bool::weighted(0.7), 0_u32..5, 0.0..1e9)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_closed_seat_is_never_picked_and_none_means_that_nothing_is_open(
            weights in prop::collection::vec(0_u32..9, 1..40),
            rounds in prop::collection::vec(
                (prop::collection::vec(seat(), 40), any::<u64>(), any::<u64>(), any::<bool>()), 1..20),
        ) {
            for mut balancer in all_balancers(&weights) {
                let mut scripted = Scripted::of(weights.len());
                for (seats, key, dice, retry) in &rounds {
                    for (index, (usable, free, in_flight, latency)) in seats.iter().take(weights.len()).enumerate() {
                        scripted.set_usable(index, *usable);
                        scripted.free[index] = *free;
                        scripted.in_flight[index] = *in_flight;
                        scripted.latency[index] = *latency;
                    }
                    match balancer.pick(&scripted, &Draw { key: *key, dice: *dice, retry: *retry }) {
                        Some(index) => prop_assert!(scripted.open(index)),
                        None => prop_assert!((0..weights.len()).all(|index| !scripted.open(index))),
                    }
                }
            }
        }

        #[test]
        fn retries_visit_every_backend_once_and_then_end(
            weights in prop::collection::vec(1_u32..9, 1..30),
            dice in any::<u64>(),
        ) {
            for mut balancer in all_balancers(&weights) {
                let mut scripted = Scripted::of(weights.len());
                for nth in 0..weights.len() {
                    let draw = Draw { key: dice, dice: dice::splitmix64(dice ^ nth as u64), retry: nth > 0 };
                    let index = balancer.pick(&scripted, &draw).expect("one is untried");
                    prop_assert!(scripted.open(index));
                    scripted.free[index] = false;
                }
                prop_assert_eq!(balancer.pick(&scripted, &Draw { key: dice, dice, retry: true }), None);
            }
        }
    }
}
