//! Which endpoint gets a request: asks the balancer, claims a place, waits in the queue if there is none.

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use policy::balance::{Draw, EndpointView, key as hash};
use policy::health::slow_start;
use policy::message::{cookies, query};
use policy::time::Now;

use super::endpoint::Endpoint;
use super::local::{InService, LocalEndpoint, LocalEndpoints, LocalSeat, LocalUpstream};
use super::place::Place;
use super::shared::SharedUpstream;
use super::transport::pool::Pool;
use crate::config::plan::{Balance, HashKey};
use crate::exchange::Exchange;
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::telemetry::endpoint_stats::FailureKind;

/// A failure counts as an answer this slow: it must not make a backend look quick, however fast it comes.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);

/// An endpoint's place that a request holds. Gives it back on drop, whatever became of the request.
pub(crate) struct Lease {
    group: Rc<LocalUpstream>,
    endpoint: Rc<LocalEndpoint>,
    since: Duration,
    /// Whether it is counted in the load of the whole upstream.
    is_load: bool,
    /// Whether the request is the trial of an ejected endpoint, and its outcome not yet reported.
    trial: Cell<bool>,
    /// Whether the head of a response has been received.
    is_answered: Cell<bool>,
    /// Connections for the requests of one client only; empty: those that all share.
    own_pool: OnceCell<Rc<Pool>>,
}

impl Lease {
    /// The upstream it is a place of.
    #[must_use]
    pub(crate) fn group(&self) -> &Rc<LocalUpstream> {
        &self.group
    }

    /// The endpoint.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &Rc<LocalEndpoint> {
        &self.endpoint
    }

    /// Where connections for the request come from, and go back to.
    #[must_use]
    pub(crate) fn pool(&self) -> &Pool {
        self.own_pool.get().map_or(&self.endpoint.pool, |pool| pool)
    }

    /// Its connections come from this pool.
    pub(super) fn use_pool(&self, pool: Rc<Pool>) {
        let _first = self.own_pool.set(pool);
    }

    /// When it was claimed (monotonic time).
    #[must_use]
    pub(crate) fn since(&self) -> Duration {
        self.since
    }

    /// The request went well, as far as the endpoint goes.
    pub(crate) fn succeeded(&self, now: Now) {
        self.group.shared.standing.succeeded(&self.endpoint.shared, self.trial.take(), now);
    }

    /// The response head came in, so long after the request went out.
    pub(crate) fn answered(&self, after: Duration, now: Duration) {
        self.is_answered.set(true);
        self.endpoint.stats.answered(after);
        self.observe(after, now);
    }

    /// Tells the balancer how long a response took.
    fn observe(&self, after: Duration, now: Duration) {
        if self.group.shared.plan.balance == Balance::PeakEwma {
            self.endpoint.latency.borrow_mut().observe(after, Now::at(now));
        }
    }

    /// The request failed, by the endpoint's fault; `why` says which.
    pub(crate) fn failed(&self, now: Now, kind: FailureKind, why: &dyn Display) {
        self.endpoint.stats.failed(kind, self.is_answered.get());
        self.observe(FAILURE_LATENCY, now.mono);
        self.group.shared.standing.failed(&self.endpoint.shared, self.trial.take(), now, why);
    }

    /// The endpoint takes no connection.
    pub(crate) fn doubt(&self, why: &dyn Display) {
        self.group.shared.standing.doubt(&self.endpoint.shared, why);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.shared.end();
        let standing = &self.group.shared.standing;
        if self.is_load {
            standing.load.end();
        }
        if self.trial.get() {
            standing.release_trial(&self.endpoint.shared, clock::now());
        }
        standing.queue.capacity_freed();
    }
}

/// Which endpoints are looked at, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Primary = 0,
    Backup,
    /// Also those that took no connection a moment ago: better than nothing, when nobody may wait.
    Doubted,
}

/// The endpoints that were tried for a request. They outlive the set that they were chosen from.
pub(crate) type Tried = [Rc<LocalEndpoint>];

/// What the selection of an endpoint for a request goes by.
pub(crate) struct Asker {
    key: u64,
    dice: u64,
    /// Since when it looks for one.
    arrived: Now,
    /// What its waits count against.
    deadline: Rc<Deadline>,
}

impl Asker {
    /// This request, which looks for an endpoint from now on. One that comes by way of the cache may have waited there
    /// for another's answer.
    #[must_use]
    pub(crate) fn of(ex: &Exchange) -> Self {
        let has_waited = ex.record.tries > 0 || ex.cache_status.is_some();
        let arrived = if has_waited { clock::now() } else { ex.started };
        Self { key: ex.key, dice: ex.dice, arrived, deadline: Rc::clone(&ex.stream.deadline) }
    }
}

/// Claims a place without waiting. `None`: no endpoint that is not in `tried` can take the request now.
#[must_use]
pub(crate) fn claim(group: &Rc<LocalUpstream>, asker: &Asker, tried: &Tried, now: Now) -> Option<Lease> {
    let set = group.endpoints();
    let was_tried = |endpoint: &Endpoint| tried.iter().any(|tried| std::ptr::eq(&*tried.shared, endpoint));
    if let Some(endpoint) = group.shared.standing.take_trial(was_tried, now) {
        if let Some(claim) = set.position(&endpoint).and_then(|index| seat(group, &set, index, now)) {
            claim.trial.set(true);
            return Some(claim);
        }
        group.shared.standing.release_trial(&endpoint, now);
    }
    let draw = Draw { key: asker.key, random: asker.dice.wrapping_add(tried.len() as u64), retry: !tried.is_empty() };
    let epoch = group.shared.standing.epoch();
    let in_service = set.in_service(epoch);
    let InService { primary, backup, doubted, .. } = &*in_service;
    let within = |reach: Reach, usable: &[usize]| {
        if usable.is_empty() {
            return None;
        }
        // Backups are another set of usable endpoints, and so are those better than nothing.
        let epoch = epoch * 3 + reach as u64;
        let thinned = Cell::new(None);
        claim_within(&View { group, set: &set, tried, reach, usable, epoch, now, thinned }, &draw)
    };
    if let Some(claim) = within(Reach::Primary, primary) {
        return Some(claim);
    }
    let may_doubt = group.shared.plan.queue.is_none() && doubted.len() > primary.len() + backup.len();
    within(Reach::Backup, backup).or_else(|| if may_doubt { within(Reach::Doubted, doubted) } else { None })
}

fn claim_within(view: &View<'_>, draw: &Draw) -> Option<Lease> {
    // A place can be lost to another worker between the pick and the claim; then it is not open any more.
    for _ in 0..=view.set.seats.len() {
        let picked = view.set.balancer.borrow_mut().pick(view, draw)?;
        let index = thin(view, picked, draw);
        if let Some(claim) = seat(view.group, view.set, index, view.now) {
            return Some(claim);
        }
    }
    None
}

/// An endpoint that came back a moment ago gets only a share of what it is picked for (`slow_start`).
fn thin(view: &View<'_>, picked: usize, draw: &Draw) -> usize {
    let plan = &view.group.shared.plan;
    if plan.slow_start.is_zero() || matches!(plan.balance, Balance::IpHash | Balance::Hash(_)) {
        return picked;
    }
    let Some(back) = view.set.seats.get(picked).and_then(|seat| seat.shared.back_at()) else {
        return picked;
    };
    if slow_start::admits(view.now.mono.saturating_sub(back), plan.slow_start, draw.random) {
        return picked;
    }
    view.thinned.set(Some(picked));
    let other = view.set.balancer.borrow_mut().pick(view, draw);
    view.thinned.set(None);
    other.unwrap_or(picked)
}

fn seat(group: &Rc<LocalUpstream>, set: &LocalEndpoints, index: usize, now: Now) -> Option<Lease> {
    let seat = set.seats.get(index)?;
    if !seat.shared.begin(seat.max_in_flight) {
        return None;
    }
    // One counter for all workers: only where it is read.
    let is_load = matches!(group.shared.plan.balance, Balance::Hash(_));
    if is_load {
        group.shared.standing.load.begin();
    }
    Some(Lease {
        group: Rc::clone(group),
        endpoint: Rc::clone(&seat.endpoint),
        since: now.mono,
        is_load,
        trial: Cell::new(false),
        is_answered: Cell::new(false),
        own_pool: OnceCell::new(),
    })
}

/// The upstream as the balancer sees it for one request.
struct View<'a> {
    group: &'a Rc<LocalUpstream>,
    set: &'a LocalEndpoints,
    tried: &'a Tried,
    reach: Reach,
    /// Those in reach, as of the epoch.
    usable: &'a [usize],
    epoch: u64,
    now: Now,
    thinned: Cell<Option<usize>>,
}

impl View<'_> {
    fn is_in_reach(&self, seat: &LocalSeat) -> bool {
        match self.reach {
            Reach::Primary => !seat.backup && seat.shared.is_usable(),
            Reach::Backup => seat.backup && seat.shared.is_usable(),
            Reach::Doubted => seat.shared.is_worth_a_try(),
        }
    }
}

impl EndpointView for View<'_> {
    fn len(&self) -> usize {
        self.set.seats.len()
    }

    fn usable(&self) -> &[usize] {
        self.usable
    }

    fn open(&self, index: usize) -> bool {
        let Some(seat) = self.set.seats.get(index) else { return false };
        self.is_in_reach(seat)
            && seat.max_in_flight.is_none_or(|max| seat.shared.in_flight() < max)
            && self.thinned.get() != Some(index)
            && !self.tried.iter().any(|tried| Rc::ptr_eq(tried, &seat.endpoint))
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.set.seats.get(index).map_or(0, |seat| seat.shared.in_flight())
    }

    fn in_flight_total(&self) -> u64 {
        self.group.shared.standing.load.in_flight()
    }

    fn latency(&self, index: usize) -> f64 {
        self.set.seats.get(index).map_or(0.0, |seat| seat.endpoint.latency.borrow().read(self.now))
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// The hash of what an upstream's balancer goes by, if it hashes.
#[must_use]
pub(crate) fn key(balance: &Balance, ex: &Exchange) -> u64 {
    let headers = &ex.head.fields;
    match balance {
        Balance::RoundRobin
        | Balance::Weighted
        | Balance::LeastConnections
        | Balance::Random
        | Balance::TwoChoices
        | Balance::PeakEwma => 0,
        Balance::IpHash | Balance::Hash(HashKey::ClientIp) => hash::of_address(ex.client),
        Balance::Hash(HashKey::Path) => hash::of_bytes(ex.head.uri.path().as_bytes()),
        Balance::Hash(HashKey::Header(name)) => hash::of_bytes(headers.first(name).unwrap_or_default()),
        Balance::Hash(HashKey::Cookie(name)) => {
            hash::of_bytes(cookies::find(headers, name).unwrap_or_default().as_bytes())
        }
        Balance::Hash(HashKey::Query(name)) => {
            let query = ex.head.uri.query().unwrap_or_default();
            hash::of_bytes(query::find(query, name).unwrap_or_default().as_bytes())
        }
    }
}

/// Claims a place without waiting for one; a request that comes while others wait gets in line behind them.
#[must_use]
pub(crate) fn claim_at_once(group: &Rc<LocalUpstream>, asker: &Asker) -> Option<Lease> {
    if group.shared.plan.queue.is_some() && !group.shared.queue().is_empty() {
        return None;
    }
    claim(group, asker, &[], asker.arrived)
}

/// Waits for a place in the upstream's queue, where there was none at once.
///
/// # Errors
/// [`ProxyError::NoBackend`] without a queue; [`ProxyError::QueueFull`]; [`ProxyError::QueueTimeout`] after the queue's `wait_max`, or
/// when `until` (monotonic time) comes first.
pub(crate) async fn line_up(group: Rc<LocalUpstream>, asker: Asker, until: Duration) -> Result<Lease, ProxyError> {
    let Some(plan) = &group.shared.plan.queue else { return Err(no_backend(&group.shared)) };
    let Some(place) = group.shared.queue_up(plan.length) else {
        return Err(ProxyError::QueueFull { upstream: group.shared.plan.name.clone(), length: plan.length });
    };
    let until = until.min(asker.arrived.mono + plan.wait_max);
    let _queued = Queued::begin(&group.counters);
    wait(&group, &asker, &place, until)
        .await
        .ok_or_else(|| ProxyError::QueueTimeout { upstream: group.shared.plan.name.clone(), limit: plan.wait_max })
}

async fn wait(group: &Rc<LocalUpstream>, asker: &Asker, place: &Place<'_>, until: Duration) -> Option<Lease> {
    let mut was_woken = false;
    loop {
        let mut woken = place.woken();
        let now = clock::now();
        if (was_woken || place.may_look())
            && let Some(claim) = claim(group, asker, &[], now)
        {
            return Some(claim);
        }
        was_woken = true;
        let trial = group.shared.standing.trial_due().filter(|due| *due > now.mono && *due < until);
        if asker.deadline.wait(trial.unwrap_or(until), woken.as_mut()).await.is_err() && trial.is_none() {
            return None;
        }
    }
}

fn no_backend(group: &SharedUpstream) -> ProxyError {
    ProxyError::NoBackend { upstream: group.plan.name.clone(), total: group.endpoints().seats.len() }
}

/// Counts a request as one that waits.
struct Queued<'a>(&'a Counters);

impl<'a> Queued<'a> {
    fn begin(counters: &'a Counters) -> Self {
        counters.queued.up();
        Self(counters)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.down();
    }
}
