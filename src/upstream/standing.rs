//! How an upstream's endpoints stand: which are out and why, whose trial is due, who waits. Shared by all workers and by
//! the groups of one upstream over reloads: requests that began under a plan before are judged with the others.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policy::health::active::{CheckVerdict, Checks};
use policy::health::ejection::{Ejection, Rules};
use policy::time::Now;

use super::endpoint::{Endpoint, Out, Peer};
use super::endpoints::Endpoints;
use super::health_history::HealthEvent;
use super::queue::Queue;
use crate::config::plan;
use crate::telemetry::clock;

/// How an upstream's endpoints stand.
#[derive(Debug)]
pub struct Standing {
    /// The upstream's name.
    upstream: Arc<str>,
    /// Who waits.
    pub queue: Queue,
    /// Requests in flight at all endpoints together, those that have left included. Kept only for a plan whose balancer
    /// reads it.
    pub load: Load,
    /// When the next trial falls due, in microseconds of monotonic time; `u64::MAX`: never.
    trial_due: AtomicU64,
    epoch: AtomicU64,
    judge: Mutex<Judge>,
}

/// A count of requests in flight, on a cache line of its own: all workers write it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load(AtomicU64);

impl Load {
    /// One more.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Judge {
    /// The newest set.
    endpoints: Arc<Endpoints>,
    /// Ejections, in the order of the newest set.
    ejection: Ejection,
}

impl Judge {
    /// The ejection machine and where this endpoint stands in it; `None`: it has left, and is not judged.
    fn of(&mut self, endpoint: &Endpoint) -> Option<(&mut Ejection, usize)> {
        let index = self.endpoints.index(endpoint)?;
        Some((&mut self.ejection, index))
    }
}

impl Standing {
    /// That of an upstream without endpoints.
    #[must_use]
    pub fn new(plan: &plan::Upstream) -> Self {
        let judge = Judge { endpoints: Arc::new(Endpoints::none()), ejection: Ejection::new(rules(&plan.ejection), 0) };
        Self {
            upstream: Arc::clone(&plan.name),
            queue: Queue::default(),
            load: Load::default(),
            trial_due: AtomicU64::new(u64::MAX),
            epoch: AtomicU64::default(),
            judge: Mutex::new(judge),
        }
    }

    /// From here on the upstream has the endpoints that this plan and these peers of its backends make. What is known of
    /// an endpoint that stays is kept.
    pub fn adopt(&self, plan: &plan::Upstream, peers: &[Vec<Peer>], now: Now) -> Arc<Endpoints> {
        let mut judge = self.judge.lock();
        let next = judge.endpoints.successor(plan, peers);
        judge.ejection = judge.ejection.carry(&next.mapping, rules(&plan.ejection));
        judge.endpoints = Arc::new(next.endpoints);
        let joins_others = next.mapping.iter().any(Option::is_some);
        for (index, (seat, old)) in judge.endpoints.seats.iter().zip(&next.mapping).enumerate() {
            let endpoint = &seat.endpoint;
            endpoint.set_place(index);
            if joins_others && old.is_none() {
                endpoint.join(now.mono);
            }
            // What the new plan does not let count is invalidated.
            if endpoint.is_out(Out::Ejected) && !judge.ejection.is_ejected(index) {
                endpoint.bring_back(Out::Ejected, Duration::ZERO);
            }
            if plan.health.is_none() && endpoint.is_out(Out::Down) {
                endpoint.bring_back(Out::Down, Duration::ZERO);
                *endpoint.checks.lock() = Checks::new(1, 1);
            }
        }
        self.note_trial(&judge.ejection);
        self.begin_epoch();
        Arc::clone(&judge.endpoints)
    }

    /// Grows whenever the set of usable endpoints has changed: what is read of them after it is of this epoch or newer.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The set of usable endpoints has changed.
    fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether the trial of an ejected endpoint is due.
    #[must_use]
    pub fn is_trial_due(&self, now: Now) -> bool {
        micros(now.mono) >= self.trial_due.load(Ordering::Relaxed)
    }

    /// When the next trial falls due (monotonic time): a queue with nobody usable waits for that too.
    #[must_use]
    pub fn trial_due(&self) -> Option<Duration> {
        let due = self.trial_due.load(Ordering::Relaxed);
        (due != u64::MAX).then(|| Duration::from_micros(due))
    }

    /// Claims the trial of an ejected endpoint, if one is due and nothing else speaks against the endpoint.
    #[must_use]
    pub fn take_trial(&self, was_tried: impl Fn(&Endpoint) -> bool, now: Now) -> Option<Arc<Endpoint>> {
        if !self.is_trial_due(now) {
            return None;
        }
        let mut judge = self.judge.lock();
        let index = judge.ejection.trial(now)?;
        let endpoint = judge.endpoints.seats.get(index).map(|seat| Arc::clone(&seat.endpoint))?;
        let was_tried = was_tried(&endpoint);
        if was_tried {
            judge.ejection.release(index, now);
        }
        self.note_trial(&judge.ejection);
        // Where something else speaks against the endpoint the trial stays claimed, until a check passes.
        (!was_tried && endpoint.is_but_ejected()).then_some(endpoint)
    }

    /// Gives back a trial that has no outcome: another request may make it.
    pub fn release_trial(&self, endpoint: &Endpoint, now: Now) {
        let mut judge = self.judge.lock();
        if let Some((ejection, index)) = judge.of(endpoint) {
            ejection.release(index, now);
            self.note_trial(ejection);
        }
    }

    /// A request to this endpoint went well.
    pub fn succeeded(&self, endpoint: &Endpoint, trial: bool, now: Now) {
        if !trial && !endpoint.is_failing() {
            return;
        }
        let is_back = {
            let mut judge = self.judge.lock();
            let Some((ejection, index)) = judge.of(endpoint) else { return };
            let is_back = ejection.succeeded(index, trial, now);
            endpoint.set_failing(ejection.is_ejected(index));
            self.follow(ejection, (endpoint, index), now);
            is_back
        };
        if is_back {
            endpoint.history.add(now.wall, HealthEvent::Returned, &"its trial request succeeded");
            let (upstream, backend, address) = self.names(endpoint);
            tracing::info!(%upstream, %backend, address, "backend {endpoint} is back: its trial request succeeded");
        }
    }

    /// A request to this endpoint failed by the endpoint's fault; `why` says which.
    pub fn failed(&self, endpoint: &Endpoint, trial: bool, now: Now, why: &dyn Display) {
        let ejected = {
            let mut judge = self.judge.lock();
            let Some((ejection, index)) = judge.of(endpoint) else { return };
            endpoint.set_failing(true);
            let ejected = ejection.failed(index, trial, now);
            self.follow(ejection, (endpoint, index), now);
            ejected
        };
        if let Some(ejected) = ejected {
            endpoint.history.add(now.wall, HealthEvent::Ejected, why);
            let seconds = ejected.until.saturating_sub(now.mono).as_secs_f64();
            let (upstream, backend, address) = self.names(endpoint);
            tracing::warn!(%upstream, %backend, address, times = ejected.times,
                "backend {endpoint} is ejected for {seconds:.1} s: it fails requests, the last one: {why}");
        }
    }

    /// This endpoint takes no connection: it is not asked again until a check has passed.
    pub fn doubt(&self, endpoint: &Endpoint, why: &dyn Display) {
        if endpoint.is_out(Out::Suspect) {
            return;
        }
        self.take_out(endpoint, Out::Suspect);
        endpoint.history.add(clock::now().wall, HealthEvent::Unreachable, why);
        let (upstream, backend, address) = self.names(endpoint);
        tracing::warn!(%upstream, %backend, address, "backend {endpoint} takes no connection: {why}");
        endpoint.doubted.notify_one();
    }

    /// An active check has changed its verdict on this endpoint; `check` says what the last one found.
    pub fn judged(&self, endpoint: &Endpoint, verdict: CheckVerdict, now: Now, check: &dyn Display) {
        let (upstream, backend, address) = self.names(endpoint);
        match verdict {
            CheckVerdict::Up => {
                if endpoint.is_out(Out::Down) {
                    self.pardon(endpoint, now);
                }
                self.bring_back(endpoint, Out::Down, now);
                endpoint.history.add(now.wall, HealthEvent::Up, &format_args!("check {check}"));
                tracing::info!(%upstream, %backend, address, "backend {endpoint} is up: check {check}");
            }
            CheckVerdict::Down => {
                self.take_out(endpoint, Out::Down);
                endpoint.history.add(now.wall, HealthEvent::Down, &format_args!("check {check}"));
                tracing::warn!(%upstream, %backend, address, "backend {endpoint} is down: check {check}");
            }
            CheckVerdict::Unknown => {}
        }
    }

    /// Checks have passed for an endpoint that took no connection; `check` says what the last one found.
    pub fn trust(&self, endpoint: &Endpoint, now: Now, check: &dyn Display) {
        self.pardon(endpoint, now);
        self.bring_back(endpoint, Out::Suspect, now);
        endpoint.history.add(now.wall, HealthEvent::Reachable, &format_args!("check {check}"));
        let (upstream, backend, address) = self.names(endpoint);
        tracing::info!(%upstream, %backend, address, "backend {endpoint} takes connections again: check {check}");
    }

    /// From now on this endpoint gets no new requests (`drains`), or gets them again, as `by` wants it. Requests in flight
    /// go on.
    pub(crate) fn set_drained(&self, endpoint: &Endpoint, drains: bool, by: &str, now: Now) {
        if endpoint.is_out(Out::Drained) == drains {
            return;
        }
        let (upstream, backend, address) = self.names(endpoint);
        if drains {
            self.take_out(endpoint, Out::Drained);
            endpoint.history.add(now.wall, HealthEvent::Drained, &by);
            tracing::warn!(%upstream, %backend, address, by, "backend {endpoint} is drained: it gets no new requests");
        } else {
            self.bring_back(endpoint, Out::Drained, now);
            endpoint.history.add(now.wall, HealthEvent::Readied, &by);
            tracing::warn!(%upstream, %backend, address, by, "backend {endpoint} gets requests again");
        }
    }

    /// What an endpoint failed at before it was gone is not held against it when it is back.
    fn pardon(&self, endpoint: &Endpoint, now: Now) {
        let mut judge = self.judge.lock();
        if let Some((ejection, index)) = judge.of(endpoint) {
            ejection.pardon(index, now);
            endpoint.set_failing(false);
            self.follow(ejection, (endpoint, index), now);
        }
    }

    /// What the machine says of an endpoint now holds for it. To be called before the machine is let go: two who changed
    /// it one after the other could follow it in another order, and the endpoint would stay out for good.
    fn follow(&self, ejection: &Ejection, (endpoint, index): (&Endpoint, usize), now: Now) {
        let has_changed = match ejection.is_ejected(index) {
            true => endpoint.take_out(Out::Ejected),
            false => endpoint.bring_back(Out::Ejected, now.mono),
        };
        self.note_trial(ejection);
        if has_changed {
            self.begin_epoch();
            // All that wait look again: for a place, or for when the trial is due, which any of them may have to make.
            self.queue.wake_all();
        }
    }

    fn take_out(&self, endpoint: &Endpoint, reason: Out) {
        if endpoint.take_out(reason) {
            self.begin_epoch();
        }
    }

    fn bring_back(&self, endpoint: &Endpoint, reason: Out, now: Now) {
        if endpoint.bring_back(reason, now.mono) {
            self.release_trial(endpoint, now);
            self.begin_epoch();
            self.queue.wake_all();
        }
    }

    fn note_trial(&self, ejection: &Ejection) {
        let due = ejection.next_trial().map_or(u64::MAX, micros);
        self.trial_due.store(due, Ordering::Relaxed);
    }

    /// What an event names: the upstream, the backend, and the address if the backend has it from DNS.
    fn names<'a>(&'a self, endpoint: &'a Endpoint) -> (&'a str, &'a str, Option<&'a str>) {
        (&self.upstream, &endpoint.backend, endpoint.address.as_deref())
    }
}

fn rules(plan: &plan::Ejection) -> Rules {
    Rules {
        consecutive_failures: plan.consecutive_failures,
        base_time: plan.base_time,
        max_time: plan.max_time,
        percent_max: plan.percent_max,
    }
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn an_endpoint_is_out_as_long_as_it_counts_as_ejected_however_its_judges_meet() {
        let text = "listen = [\"127.0.0.1:1\"]\n[[route]]\npath = \"/\"\nupstream = \"u\"\n[[upstream]]\n\
                    name = \"u\"\nbackends = [\"http://127.0.0.1:2\", \"http://127.0.0.1:3\"]\n\
                    [upstream.ejection]\nconsecutive_failures = 1";
        let plan = crate::config::parse("test.toml", text).unwrap().upstreams.remove(0);
        let standing = Standing::new(&plan);
        let peers = [2, 3].map(|port| vec![Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))]);
        let now = Now::at(Duration::from_secs(1));
        let endpoints = standing.adopt(&plan, &peers, now);
        let endpoint = &*endpoints.seats[0].endpoint;
        let rounds = 20_000;
        let met = AtomicU64::new(0);
        let meet = |number: u64| {
            met.fetch_add(1, Ordering::SeqCst);
            while met.load(Ordering::SeqCst) < 2 * number {
                std::thread::yield_now();
            }
        };
        let mut wrong = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..rounds {
                    meet(2 * round + 1);
                    standing.failed(endpoint, false, now, &"it failed");
                    meet(2 * round + 2);
                }
            });
            for round in 0..rounds {
                meet(2 * round + 1);
                standing.pardon(endpoint, now);
                meet(2 * round + 2);
                let is_ejected = standing.judge.lock().ejection.is_ejected(0);
                wrong += usize::from(endpoint.is_out(Out::Ejected) != is_ejected);
            }
        });
        assert_eq!(wrong, 0);
    }
}
