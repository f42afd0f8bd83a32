//! The endpoints of an upstream at one moment: a set that never changes. A reload, or a change of a name's addresses,
//! makes another, which keeps the endpoints that are in both.

use std::collections::HashMap;
use std::sync::Arc;

use policy::balance::{
    Balancer, Consistent, IpHash, LeastConnections, PeakEwma, Random, RoundRobin, TwoChoices, Weighted,
};

use super::endpoint::{Endpoint, Peer};
use crate::config::plan::{self, Balance, Protocol};

/// The endpoints of an upstream at one moment.
#[derive(Debug)]
pub struct Endpoints {
    /// Counts the sets of one upstream.
    pub version: u64,
    /// In the order of the backends in the file, those of one name in the order of their addresses.
    pub seats: Vec<EndpointSlot>,
    /// Chooses among them, in their order. Made once, as a large ring takes its time; each worker has a clone.
    pub balancer: Balancer,
}

/// An endpoint, and how this plan uses it.
#[derive(Clone, Debug)]
pub struct EndpointSlot {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The most requests in flight, all workers together; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// Used only for requests that no other endpoint can take.
    pub backup: bool,
    /// The version of HTTP that it gets.
    pub protocol: Protocol,
}

impl EndpointSlot {
    /// Whether it is usable, and below its limit.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.endpoint.is_usable() && self.max_in_flight.is_none_or(|max| self.endpoint.in_flight() < max)
    }
}

/// A set, and where each of its endpoints stood in the one before.
pub(super) struct Successor {
    pub(super) endpoints: Endpoints,
    /// `None`: it is new.
    pub(super) mapping: Vec<Option<usize>>,
}

impl Endpoints {
    /// The set of an upstream that has no endpoint yet.
    pub(super) fn none() -> Self {
        Self { version: 0, seats: Vec::new(), balancer: Balancer::TwoChoices(TwoChoices) }
    }

    /// The set that follows this one: for each backend of the plan, in order, the peers that it has now.
    pub(super) fn successor(&self, plan: &plan::Upstream, peers: &[Vec<Peer>]) -> Successor {
        let known = self.seats.iter().enumerate();
        let known: HashMap<(&str, &Peer), usize> =
            known.map(|(index, seat)| ((&*seat.endpoint.backend, &seat.endpoint.peer), index)).collect();
        let mut mapping = Vec::with_capacity(self.seats.len());
        let mut seats = Vec::with_capacity(self.seats.len());
        let mut weights = Vec::with_capacity(self.seats.len());
        for (backend, peers) in plan.backends.iter().zip(peers) {
            for peer in peers {
                let old = known.get(&(&*backend.name, peer)).copied();
                let kept = old.and_then(|index| self.seats.get(index)).map(|seat| Arc::clone(&seat.endpoint));
                let endpoint = kept.unwrap_or_else(|| Arc::new(Endpoint::new(backend, peer.clone())));
                let (max_in_flight, backup) = (backend.max_in_flight, backend.backup);
                // Without TLS there is no ALPN to negotiate the protocol.
                let chooses_nothing = backend.protocol == Protocol::Auto && backend.server_name.is_none();
                let protocol = if chooses_nothing { Protocol::Http1 } else { backend.protocol };
                seats.push(EndpointSlot { endpoint, max_in_flight, backup, protocol });
                mapping.push(old);
                weights.push(backend.weight);
            }
        }
        let balancer = balancer(&plan.balance, &seats, &weights);
        Successor { endpoints: Self { version: self.version + 1, seats, balancer }, mapping }
    }

    /// The version of HTTP that this endpoint gets.
    pub(super) fn protocol(&self, endpoint: &Endpoint) -> Protocol {
        let seat = self.index(endpoint).and_then(|index| self.seats.get(index));
        seat.map_or(Protocol::Http1, |seat| seat.protocol)
    }

    /// Where this endpoint stands here; `None`: it has left.
    pub(super) fn index(&self, endpoint: &Endpoint) -> Option<usize> {
        let place = endpoint.place();
        self.seats.get(place).filter(|seat| std::ptr::eq(&*seat.endpoint, endpoint)).map(|_| place)
    }
}

fn balancer(balance: &Balance, seats: &[EndpointSlot], weights: &[u32]) -> Balancer {
    let keys = || -> Vec<String> { seats.iter().map(|seat| seat.endpoint.key()).collect() };
    match balance {
        Balance::RoundRobin => Balancer::RoundRobin(RoundRobin::new(0)),
        Balance::Weighted => Balancer::Weighted(Weighted::new(weights)),
        Balance::LeastConnections => Balancer::LeastConnections(LeastConnections::new(weights)),
        Balance::IpHash => Balancer::IpHash(IpHash::new(&texts(&keys()))),
        Balance::Random => Balancer::Random(Random::new(weights)),
        Balance::TwoChoices => Balancer::TwoChoices(TwoChoices),
        Balance::PeakEwma => Balancer::PeakEwma(PeakEwma),
        Balance::Hash(_) => Balancer::Consistent(Consistent::new(&texts(&keys()), weights)),
    }
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
