//! Load balancing: picks the backend of an upstream for a request.
//!
//! Eight policies, one file each, behind one [`Balancer`]. A balancer sees the backends as [`EndpointView`], which says
//! which are open and how busy they are, and returns an index. [`crate::health`] decides which are usable,
//! [`crate::retry`] whether a failed request is retried.
//!
//! Each worker has its own balancers, so a pick takes no lock; workers share only the data behind [`EndpointView`]. As
//! long as most usable backends are open, the cost of a pick does not grow with their number: at most 64 are examined.
//! What depends on the set of usable backends is computed once for each [`EndpointView::epoch`].

pub mod consistent;
mod cursor;
pub mod ip_hash;
pub mod key;
pub mod least_connections;
mod pair;
pub mod peak_ewma;
pub mod prng;
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

/// The endpoints of an upstream as a balancer sees them during a pick.
///
/// Values may change between two calls, because other workers pick at the same time.
pub trait EndpointView {
    /// The number of endpoints of the upstream, usable or not. Constant while the balancer exists.
    fn len(&self) -> usize;

    /// Whether the upstream has no endpoint at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints in service, in ascending order: up, not ejected, not drained, and no backup that is not needed.
    /// They may be full or tried already. Changes only together with [`EndpointView::epoch`].
    fn usable(&self) -> &[usize];

    /// Whether this endpoint may receive this request: usable, below its limit, not tried yet.
    fn open(&self, index: usize) -> bool;

    /// Requests in flight at this endpoint, of all workers.
    fn in_flight(&self, index: usize) -> u32;

    /// Requests in flight at all endpoints, usable or not, of all workers. Only [`Consistent`] calls it.
    fn in_flight_total(&self) -> u64;

    /// Recent latency for [`PeakEwma`], decayed to now, in nanoseconds; 0: unknown.
    fn latency(&self, index: usize) -> f64;

    /// Increases whenever the set of usable endpoints changes.
    fn epoch(&self) -> u64;
}

/// The inputs of a pick besides the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// Hash of the request's key, see [`key`]; ignored by balancers that do not hash.
    pub key: u64,
    /// A random number, fresh for each pick; [`prng::splitmix64`] derives more from it.
    pub random: u64,
    /// Whether this pick is for a retry. Balancers that take turns count retries separately: of two backends of which
    /// one is dead, a shared count would send every first attempt to the dead one and every retry to the other.
    pub retry: bool,
}

/// A balancing policy of one upstream, with the state of one worker.
///
/// A weight of 0 counts as 1. Clones share the points of a ring, so each worker gets a clone.
#[derive(Clone, Debug)]
pub enum Balancer {
    /// One backend after the other.
    RoundRobin(RoundRobin),
    /// One backend after the other, in proportion to weight and without bursts.
    Weighted(Weighted),
    /// The backend with the fewest requests in flight for its weight.
    LeastConnections(LeastConnections),
    /// By a hash of the client's address.
    IpHash(IpHash),
    /// Random, in proportion to weight.
    Random(Random),
    /// The less busy of two random backends.
    TwoChoices(TwoChoices),
    /// The cheaper of two random backends, by recent latency and requests in flight.
    PeakEwma(PeakEwma),
    /// Consistent hash of a key of the request, with bounded load.
    Consistent(Consistent),
}

impl Balancer {
    /// Picks the backend for one request; `None`: none is open. For a retry, it is called again with fewer endpoints
    /// open.
    pub fn pick(&mut self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        match self {
            Self::RoundRobin(balancer) => balancer.pick(endpoints, draw),
            Self::Weighted(balancer) => balancer.pick(endpoints, draw),
            Self::LeastConnections(balancer) => balancer.pick(endpoints, draw),
            Self::IpHash(balancer) => balancer.pick(endpoints, draw),
            Self::Random(balancer) => balancer.pick(endpoints, draw),
            Self::TwoChoices(balancer) => balancer.pick(endpoints, draw),
            Self::PeakEwma(balancer) => balancer.pick(endpoints, draw),
            Self::Consistent(balancer) => balancer.pick(endpoints, draw),
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
            for random in 0..20 {
                let draw = Draw { key: random << 59, random, retry: random % 3 == 0 };
                assert_eq!(balancer.pick(&scripted, &draw), Some(0), "{balancer:?}");
            }
        }
    }

    #[test]
    fn a_weight_of_zero_counts_as_one() {
        for mut balancer in all_balancers(&[0, 0]) {
            assert!(balancer.pick(&Scripted::of(2), &Draw::default()).is_some(), "{balancer:?}");
        }
    }

    /// The changes to one endpoint before a pick: its state, and its load.
    fn endpoint() -> impl Strategy<Value = (bool, bool, u32, f64)> {
        (prop::bool::weighted(0.7), prop::bool::weighted(0.7), 0_u32..5, 0.0..1e9)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_closed_endpoint_is_never_picked_and_none_means_that_nothing_is_open(
            weights in prop::collection::vec(0_u32..9, 1..40),
            rounds in prop::collection::vec(
                (prop::collection::vec(endpoint(), 40), any::<u64>(), any::<u64>(), any::<bool>()), 1..20),
        ) {
            for mut balancer in all_balancers(&weights) {
                let mut scripted = Scripted::of(weights.len());
                for (endpoints, key, random, retry) in &rounds {
                    for (index, (usable, free, in_flight, latency)) in endpoints.iter().take(weights.len()).enumerate() {
                        scripted.set_usable(index, *usable);
                        scripted.free[index] = *free;
                        scripted.in_flight[index] = *in_flight;
                        scripted.latency[index] = *latency;
                    }
                    match balancer.pick(&scripted, &Draw { key: *key, random: *random, retry: *retry }) {
                        Some(index) => prop_assert!(scripted.open(index)),
                        None => prop_assert!((0..weights.len()).all(|index| !scripted.open(index))),
                    }
                }
            }
        }

        #[test]
        fn retries_visit_every_backend_once_and_then_end(
            weights in prop::collection::vec(1_u32..9, 1..30),
            random in any::<u64>(),
        ) {
            for mut balancer in all_balancers(&weights) {
                let mut scripted = Scripted::of(weights.len());
                for nth in 0..weights.len() {
                    let draw = Draw { key: random, random: prng::splitmix64(random ^ nth as u64), retry: nth > 0 };
                    let index = balancer.pick(&scripted, &draw).expect("one is untried");
                    prop_assert!(scripted.open(index));
                    scripted.free[index] = false;
                }
                prop_assert_eq!(balancer.pick(&scripted, &Draw { key: random, random, retry: true }), None);
            }
        }
    }
}
