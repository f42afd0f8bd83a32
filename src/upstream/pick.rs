//! Which backend gets a request: asks the balancer, claims a place, waits in the queue if there is none.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use policy::balance::{Draw, Seats, consistent, ip_hash};
use policy::health::slow_start;
use policy::message::{cookies, query};
use policy::time::Now;

use super::group::{Group, Place};
use super::local::{LocalBackend, LocalGroup};
use crate::config::plan::{Balance, HashKey};
use crate::exchange::Exchange;
use crate::exchange::fault::Fault;
use crate::observe::clock;
use crate::observe::counters::Counters;

/// A failure counts as an answer this slow: it must not make a backend look quick, however fast it comes.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);

/// A backend's place that a request holds. Gives it back on drop, whatever became of the request.
pub struct Claim {
    group: Rc<LocalGroup>,
    backend: Rc<LocalBackend>,
    index: usize,
    since: Duration,
    /// Whether the request is the trial of an ejected backend, and its outcome not yet reported.
    trial: Cell<bool>,
}

impl Claim {
    /// The upstream it is a place of.
    #[must_use]
    pub fn group(&self) -> &Rc<LocalGroup> {
        &self.group
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Rc<LocalBackend> {
        &self.backend
    }

    /// The backend's place in the file.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// When it was claimed (monotonic time).
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// The request went well, as far as the backend goes.
    pub fn succeeded(&self, now: Now) {
        self.group.shared.succeeded(self.index, self.trial.take(), now);
    }

    /// The response head came in, so long after the request went out.
    pub fn answered(&self, after: Duration, now: Duration) {
        if self.group.shared.plan.balance == Balance::PeakEwma {
            self.backend.latency.borrow_mut().observe(after, Now::at(now));
        }
    }

    /// The request failed, by the backend's fault.
    pub fn failed(&self, now: Now) {
        self.answered(FAILURE_LATENCY, now.mono);
        self.group.shared.failed(self.index, self.trial.take(), now);
    }

    /// The backend takes no connection.
    pub fn doubt(&self) {
        self.group.shared.doubt(self.index);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.backend.shared.end();
        if self.trial.get() {
            self.group.shared.release_trial(self.index, clock::now());
        }
        self.group.shared.queue.capacity_freed();
    }
}

/// Which backends are looked at, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Primary = 0,
    Backup,
    /// Also those that took no connection a moment ago: better than nothing, when nobody may wait.
    Doubted,
}

/// Claims a place without waiting. `None`: no backend that is not in `tried` can take the request now.
#[must_use]
pub fn claim(group: &Rc<LocalGroup>, ex: &Exchange, tried: &[usize], now: Now) -> Option<Claim> {
    if let Some(index) = group.shared.take_trial(tried, now) {
        if let Some(claim) = seat(group, index, now) {
            claim.trial.set(true);
            return Some(claim);
        }
        group.shared.release_trial(index, now);
    }
    let draw = Draw { key: ex.key, dice: ex.dice.wrapping_add(tried.len() as u64), retry: !tried.is_empty() };
    let last = if group.shared.plan.queue.is_none() { Reach::Doubted } else { Reach::Backup };
    [Reach::Primary, Reach::Backup, Reach::Doubted]
        .into_iter()
        .take_while(|reach| *reach != Reach::Doubted || last == Reach::Doubted)
        .find_map(|reach| claim_within(group, tried, &draw, (reach, now)))
}

fn claim_within(group: &Rc<LocalGroup>, tried: &[usize], draw: &Draw, at: (Reach, Now)) -> Option<Claim> {
    let (reach, now) = at;
    let view = View { group, tried, reach, now, thinned: Cell::new(None) };
    // A place can be lost to another worker between the pick and the claim; then it is not open any more.
    for _ in 0..=group.backends.len() {
        let picked = group.balancer.borrow_mut().pick(&view, draw)?;
        let index = thin(&view, picked, draw);
        if let Some(claim) = seat(group, index, now) {
            return Some(claim);
        }
    }
    None
}

/// A backend that came back a moment ago gets only a share of what it is picked for (`slow_start`).
fn thin(view: &View<'_>, picked: usize, draw: &Draw) -> usize {
    let plan = &view.group.shared.plan;
    if plan.slow_start.is_zero() || matches!(plan.balance, Balance::IpHash | Balance::Hash(_)) {
        return picked;
    }
    let Some(back) = view.group.backends.get(picked).and_then(|backend| backend.shared.back_at()) else {
        return picked;
    };
    if slow_start::admits(view.now.mono.saturating_sub(back), plan.slow_start, draw.dice) {
        return picked;
    }
    view.thinned.set(Some(picked));
    let other = view.group.balancer.borrow_mut().pick(view, draw);
    view.thinned.set(None);
    other.unwrap_or(picked)
}

fn seat(group: &Rc<LocalGroup>, index: usize, now: Now) -> Option<Claim> {
    let backend = group.backends.get(index)?;
    let max = group.shared.plan.backends.get(index)?.max_in_flight;
    backend.shared.begin(max).then(|| Claim {
        group: Rc::clone(group),
        backend: Rc::clone(backend),
        index,
        since: now.mono,
        trial: Cell::new(false),
    })
}

/// The upstream as the balancer sees it for one request.
struct View<'a> {
    group: &'a LocalGroup,
    tried: &'a [usize],
    reach: Reach,
    now: Now,
    thinned: Cell<Option<usize>>,
}

impl Seats for View<'_> {
    fn len(&self) -> usize {
        self.group.backends.len()
    }

    fn usable(&self, index: usize) -> bool {
        let (Some(backend), Some(plan)) = (self.group.backends.get(index), self.group.shared.plan.backends.get(index))
        else {
            return false;
        };
        match self.reach {
            Reach::Primary => !plan.backup && backend.shared.is_usable(),
            Reach::Backup => plan.backup && backend.shared.is_usable(),
            Reach::Doubted => backend.shared.is_worth_a_try(),
        }
    }

    fn open(&self, index: usize) -> bool {
        let max = self.group.shared.plan.backends.get(index).and_then(|plan| plan.max_in_flight);
        self.usable(index)
            && max.is_none_or(|max| self.in_flight(index) < max)
            && self.thinned.get() != Some(index)
            && !self.tried.contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.group.backends.get(index).map_or(0, |backend| backend.shared.in_flight())
    }

    fn latency(&self, index: usize) -> f64 {
        self.group.backends.get(index).map_or(0.0, |backend| backend.latency.borrow().read(self.now))
    }

    fn epoch(&self) -> u64 {
        // Backups are another set of usable backends, and so are those better than nothing.
        self.group.shared.epoch() * 3 + self.reach as u64
    }
}

/// The hash of what an upstream's balancer goes by, if it hashes.
#[must_use]
pub fn key(balance: &Balance, ex: &Exchange) -> u64 {
    let headers = &ex.head.headers;
    match balance {
        Balance::RoundRobin
        | Balance::Weighted
        | Balance::LeastConnections
        | Balance::Random
        | Balance::TwoChoices
        | Balance::PeakEwma => 0,
        Balance::IpHash => ip_hash::key(&ex.client.to_string()),
        Balance::Hash(HashKey::ClientIp) => consistent::key(ex.client.to_string().as_bytes()),
        Balance::Hash(HashKey::Path) => consistent::key(ex.head.uri.path().as_bytes()),
        Balance::Hash(HashKey::Header(name)) => {
            consistent::key(headers.get(name).map_or(&[][..], |value| value.as_bytes()))
        }
        Balance::Hash(HashKey::Cookie(name)) => {
            consistent::key(cookies::find(headers, name).unwrap_or_default().as_bytes())
        }
        Balance::Hash(HashKey::Query(name)) => {
            let query = ex.head.uri.query().unwrap_or_default();
            consistent::key(query::find(query, name).unwrap_or_default().as_bytes())
        }
    }
}

/// Claims a place, and waits for one in the upstream's queue if there is none.
///
/// # Errors
/// [`Fault::NoBackend`] without a queue; [`Fault::QueueFull`]; [`Fault::QueueTimeout`] after `wait_max`, or when
/// `until` (monotonic time) comes first.
pub async fn claim_or_wait(group: &Rc<LocalGroup>, ex: &Exchange, until: Duration) -> Result<Claim, Fault> {
    // What comes by way of the cache may have waited there for another's answer.
    let is_new = ex.record.tries == 0 && ex.cache_status.is_none();
    let now = if is_new { ex.started } else { clock::now() };
    let Some(plan) = &group.shared.plan.queue else {
        return claim(group, ex, &[], now).ok_or_else(|| no_backend(&group.shared));
    };
    // Who comes while others wait gets in line behind them.
    if group.shared.queue.is_empty()
        && let Some(claim) = claim(group, ex, &[], now)
    {
        return Ok(claim);
    }
    let Some(place) = group.shared.queue_up(plan.length) else {
        return Err(Fault::QueueFull { upstream: group.shared.plan.name.clone(), length: plan.length });
    };
    let until = until.min(now.mono + plan.wait_max);
    let _queued = Queued::begin(&group.counters);
    Box::pin(wait(group, ex, &place, until))
        .await
        .ok_or_else(|| Fault::QueueTimeout { upstream: group.shared.plan.name.clone(), limit: plan.wait_max })
}

async fn wait(group: &Rc<LocalGroup>, ex: &Exchange, place: &Place<'_>, until: Duration) -> Option<Claim> {
    let mut was_woken = false;
    loop {
        let mut woken = place.line_up();
        let now = clock::now();
        if (was_woken || place.may_look())
            && let Some(claim) = claim(group, ex, &[], now)
        {
            return Some(claim);
        }
        was_woken = true;
        let trial = group.shared.trial_due().filter(|due| *due > now.mono && *due < until);
        if ex.connection.deadline.wait(trial.unwrap_or(until), woken.as_mut()).await.is_err() && trial.is_none() {
            return None;
        }
    }
}

fn no_backend(group: &Group) -> Fault {
    Fault::NoBackend { upstream: group.plan.name.clone(), total: group.backends.len() }
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
