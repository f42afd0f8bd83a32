//! One upstream, as one worker has it: its endpoints with their connections, its balancer, its retry budget.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::balance::peak_ewma::Ewma;
use policy::balance::{Balancer, RoundRobin};
use policy::retry::budget::Budget;

use super::endpoint::Endpoint;
use super::endpoints::Endpoints;
use super::shared::SharedUpstream;
use super::transport::http2;
use super::transport::pool::Pool;
use crate::config::plan::Protocol;
use crate::telemetry::counters::Counters;
use crate::telemetry::endpoint_stats::EndpointStats;
use crate::telemetry::random;

/// One upstream, as one worker has it.
pub struct LocalUpstream {
    /// What all workers share.
    pub shared: Arc<SharedUpstream>,
    /// The upstream's name.
    pub name: Rc<str>,
    /// How many retries are left.
    pub budget: RefCell<Budget>,
    /// What this worker has counted.
    pub counters: Arc<Counters>,
    endpoints: RefCell<Rc<LocalEndpoints>>,
}

/// The endpoints of an upstream at one moment, as one worker has them.
pub struct LocalEndpoints {
    /// That of the set that all workers share.
    version: u64,
    /// In the order of that set.
    pub seats: Vec<LocalSeat>,
    /// Chooses among them.
    pub balancer: RefCell<Balancer>,
    in_service: RefCell<Rc<InService>>,
}

/// Which endpoints of a set are in service, as of one epoch: positions in ascending order.
#[derive(Default)]
pub struct InService {
    epoch: Option<u64>,
    /// Usable ones that are no backups.
    pub primary: Vec<usize>,
    /// Usable backups.
    pub backup: Vec<usize>,
    /// Those that are usable, or would be but for a connection that failed a moment ago; backups too.
    pub doubted: Vec<usize>,
}

/// An endpoint as one worker has it, and how this plan uses it.
pub struct LocalSeat {
    /// The endpoint.
    pub endpoint: Rc<LocalEndpoint>,
    /// What all workers share of it: here too, since a balancer may look at many endpoints for one request.
    pub shared: Arc<Endpoint>,
    /// The most requests in flight, all workers together; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// Used only for requests that no other endpoint can take.
    pub backup: bool,
}

/// One endpoint, as one worker has it.
pub struct LocalEndpoint {
    /// What all workers share.
    pub shared: Arc<Endpoint>,
    /// The name of its backend.
    pub backend: Rc<str>,
    /// Its address; `None`: the backend's name says it.
    pub address: Option<Rc<str>>,
    /// Connections of HTTP/1.1 that wait for a request.
    pub pool: Pool,
    /// The version of HTTP that it gets.
    pub protocol: Protocol,
    /// Connections of HTTP/2; `None`: it never speaks that.
    pub(crate) http2: Option<http2::pool::Pool>,
    /// How fast it answered lately.
    pub latency: RefCell<Ewma>,
    /// What this worker has counted of its requests.
    pub(crate) stats: Arc<EndpointStats>,
}

impl LocalUpstream {
    /// This worker's part of a group; connections to endpoints that the part before had too are kept, unless TLS has other
    /// terms now: what was opened under the terms before may lead to a backend that is not believed any more.
    #[must_use]
    pub fn new(shared: Arc<SharedUpstream>, before: Option<&Self>, counters: &Arc<Counters>, workers: usize) -> Self {
        let retry = &shared.plan.retry;
        let floor = f64::from(retry.budget_floor) / f64::from(u32::try_from(workers).unwrap_or(u32::MAX)).max(1.0);
        let before = before.filter(|before| before.shared.speaks_like(&shared));
        let before = before.map(|before| Rc::clone(&before.endpoints.borrow()));
        let endpoints = LocalEndpoints::new(&shared.endpoints(), before.as_deref());
        Self {
            name: Rc::from(&*shared.plan.name),
            budget: RefCell::new(Budget::new(retry.budget_percent, floor)),
            counters: Arc::clone(counters),
            endpoints: RefCell::new(Rc::new(endpoints)),
            shared,
        }
    }

    /// The endpoints that it has now. When they have changed, this worker's part is made anew: connections to endpoints
    /// that stay are kept, those to others are closed as soon as they are idle.
    #[must_use]
    pub fn endpoints(&self) -> Rc<LocalEndpoints> {
        let mut endpoints = self.endpoints.borrow_mut();
        if endpoints.version < self.shared.version() {
            let next = Rc::new(LocalEndpoints::new(&self.shared.endpoints(), Some(&**endpoints)));
            endpoints.leave(Some(&*next));
            *endpoints = next;
        }
        Rc::clone(&endpoints)
    }

    /// A plan without this upstream holds from now on, or one with the endpoints in `next`: to the others no request
    /// goes any more, save those under way.
    pub fn leave(&self, next: Option<&Self>) {
        let next = next.map(|next| Rc::clone(&next.endpoints.borrow()));
        self.endpoints.borrow().leave(next.as_deref());
    }

    /// Drops connections that have been idle too long, or that lead to endpoints that have left.
    pub fn tidy(&self, now: Duration) {
        for seat in &self.endpoints().seats {
            seat.endpoint.tidy(now, self.shared.plan.timeouts.pool_idle);
        }
    }
}

impl LocalEndpoints {
    /// This worker's part of a set.
    fn new(shared: &Endpoints, before: Option<&Self>) -> Self {
        // By address in memory: a search for each of thousands of endpoints would hold the worker up.
        let known: HashMap<*const Endpoint, &Rc<LocalEndpoint>> = before
            .iter()
            .flat_map(|before| &before.seats)
            .map(|seat| (Arc::as_ptr(&seat.shared), &seat.endpoint))
            .collect();
        let seats = shared.seats.iter().map(|seat| {
            let known = known.get(&Arc::as_ptr(&seat.endpoint)).filter(|known| known.protocol == seat.protocol);
            let endpoint = known
                .map_or_else(|| Rc::new(LocalEndpoint::new(&seat.endpoint, seat.protocol)), |known| Rc::clone(known));
            let shared = Arc::clone(&seat.endpoint);
            LocalSeat { endpoint, shared, max_in_flight: seat.max_in_flight, backup: seat.backup }
        });
        let seats: Vec<LocalSeat> = seats.collect();
        // In turn, each worker begins elsewhere, so that they don't all meet at the first endpoint.
        let balancer = match matches!(shared.balancer, Balancer::RoundRobin(_)) {
            true => Balancer::RoundRobin(RoundRobin::new(random::below(seats.len()))),
            false => shared.balancer.clone(),
        };
        Self { version: shared.version, seats, balancer: RefCell::new(balancer), in_service: RefCell::default() }
    }

    /// Which of them are in service. `epoch`: that of [`super::standing::Standing::epoch`], read before.
    #[must_use]
    pub fn in_service(&self, epoch: u64) -> Rc<InService> {
        let mut in_service = self.in_service.borrow_mut();
        if in_service.epoch != Some(epoch) {
            *in_service = Rc::new(InService::of(&self.seats, epoch));
        }
        Rc::clone(&in_service)
    }

    /// Where this endpoint stands here.
    #[must_use]
    pub fn position(&self, endpoint: &Arc<Endpoint>) -> Option<usize> {
        self.seats.iter().position(|seat| Arc::ptr_eq(&seat.shared, endpoint))
    }

    /// To endpoints that are not in `next` no request goes any more, save those under way.
    fn leave(&self, next: Option<&Self>) {
        let kept: HashSet<*const LocalEndpoint> =
            next.iter().flat_map(|next| &next.seats).map(|seat| Rc::as_ptr(&seat.endpoint)).collect();
        for seat in self.seats.iter().filter(|seat| !kept.contains(&Rc::as_ptr(&seat.endpoint))) {
            seat.endpoint.close();
        }
    }
}

impl InService {
    fn of(seats: &[LocalSeat], epoch: u64) -> Self {
        let mut in_service = Self { epoch: Some(epoch), ..Self::default() };
        for (index, seat) in seats.iter().enumerate() {
            if seat.shared.is_usable() {
                let list = if seat.backup { &mut in_service.backup } else { &mut in_service.primary };
                list.push(index);
            }
            if seat.shared.is_worth_a_try() {
                in_service.doubted.push(index);
            }
        }
        in_service
    }
}

impl LocalEndpoint {
    fn new(shared: &Arc<Endpoint>, protocol: Protocol) -> Self {
        Self {
            shared: Arc::clone(shared),
            backend: Rc::from(&*shared.backend),
            address: shared.address.as_deref().map(Rc::from),
            pool: Pool::default(),
            protocol,
            http2: (protocol != Protocol::Http1).then(|| http2::pool::Pool::new(protocol)),
            latency: RefCell::default(),
            stats: shared.traffic.enroll(),
        }
    }

    /// No request will come for its connections any more.
    fn close(&self) {
        self.pool.close();
        if let Some(pool) = &self.http2 {
            pool.close();
        }
    }

    fn tidy(&self, now: Duration, idle_max: Duration) {
        self.pool.tidy(now, idle_max);
        if let Some(pool) = &self.http2 {
            pool.tidy(now, idle_max);
        }
    }
}

impl std::fmt::Debug for LocalUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalUpstream").field("name", &self.name).finish_non_exhaustive()
    }
}
