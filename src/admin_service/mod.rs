//! What the admin listener tells of the proxy and has it do: its numbers, purges, events, the journal.
//!
//! How it is asked is the business of `admin`. It sees the plan that is in force, also after a reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use message::Fields;

use crate::admin::api::rollout;
use crate::admin::api::{CacheFacts, Details, EndpointFacts, EventFacts, Facts, JournalFacts, Page};
use crate::admin::{Done, Order, Part, Pending, Purge, Readiness, Refusal, Service};
use crate::proxy::worker_state::Snapshot;
use crate::rollout::Rollout;
use crate::telemetry::counters::{CacheResults, Counter, Counters};
use crate::telemetry::{clock, events};

mod dead_letters;
mod invalidation;
mod weights;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// The proxy as the admin listener has it.
#[derive(Debug)]
pub(crate) struct AdminService {
    generation: ArcSwap<Snapshot>,
    /// Those of each worker, and those of the sending of writes.
    counters: Vec<Arc<Counters>>,
    readiness: AtomicU8,
    events: Events,
    flushing: Arc<dead_letters::Flushing>,
    rollout: Arc<Rollout>,
}

/// How many events there were.
#[derive(Debug, Default)]
struct Events {
    known: Counter,
    unknown: Counter,
    refused: Counter,
}

impl AdminService {
    /// A proxy that starts under this plan; `counters`: whatever counts, each of them once.
    #[must_use]
    pub(crate) fn new(generation: Arc<Snapshot>, counters: Vec<Arc<Counters>>, rollout: Arc<Rollout>) -> Self {
        Self {
            generation: ArcSwap::new(generation),
            counters,
            readiness: AtomicU8::new(STARTING),
            events: Events::default(),
            flushing: Arc::default(),
            rollout,
        }
    }

    /// Another plan is in force.
    pub(crate) fn adopt(&self, generation: Arc<Snapshot>) {
        self.generation.store(generation);
    }

    /// It listens for clients.
    pub(crate) fn set_ready(&self) {
        // Who drains before that stays so.
        let _drains = self.readiness.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// It takes no new clients.
    pub(crate) fn set_draining(&self) {
        self.readiness.store(DRAINING, Ordering::Relaxed);
        self.flushing.leave();
    }

    fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| read(counters)).sum()
    }

    fn journal_facts(&self) -> Option<JournalFacts> {
        let generation = self.generation.load();
        let desk = generation.desk.as_ref()?;
        let counts = desk.counts();
        let age = counts.oldest.map_or(0, |oldest| milliseconds(clock::now().wall.saturating_sub(oldest)));
        Some(JournalFacts {
            pending: counts.pending as u64,
            pending_bytes: counts.pending_bytes,
            oldest_ms: age,
            dead: counts.dead as u64,
            dead_dropped: desk.letters_dropped(),
            accepted: self.sum(|counters| counters.writes_accepted.get()),
            sent: self.sum(|counters| counters.writes_sent.get()),
            failures: self.sum(|counters| counters.write_failures.get()),
            through: self.sum(|counters| counters.writes_through.get()),
            refused: self.sum(|counters| counters.writes_refused.get()),
        })
    }

    fn cache_facts(&self) -> CacheFacts {
        let generation = self.generation.load();
        let (bans, bans_merged) = generation.store.bans();
        CacheFacts {
            bans: bans as u64,
            bans_merged,
            keys: generation.store.len() as u64,
            bytes: generation.store.bytes(),
            bytes_max: generation.plan.cache.memory_max,
            results: CacheResults::ALL
                .map(|result| (result.as_str(), self.sum(|counters| counters.cache.of(result).get())))
                .to_vec(),
        }
    }

    fn endpoint_facts(&self) -> Vec<EndpointFacts> {
        let mut facts = Vec::new();
        for group in &self.generation.load().groups {
            facts.extend(group.endpoints().seats.iter().map(|seat| EndpointFacts {
                upstream: Arc::clone(&group.plan.name),
                backend: Arc::clone(&seat.endpoint.backend),
                address: seat.endpoint.address.clone().unwrap_or_default(),
                is_usable: seat.endpoint.is_usable(),
                in_flight: seat.endpoint.in_flight().into(),
            }));
        }
        facts
    }

    fn responses(&self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for (class, count) in self.counters.iter().flat_map(|counters| counters.responses.all()) {
            match sums.iter_mut().find(|(known, _)| *known == class) {
                Some((_, sum)) => *sum += count,
                None => sums.push((class, count)),
            }
        }
        sums
    }
}

impl Service for AdminService {
    fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Relaxed) {
            STARTING => Readiness::Starting,
            READY => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            requests: self.sum(|counters| counters.requests.get()),
            responses: self.responses(),
            abandoned: self.sum(|counters| counters.abandoned.get()),
            unreadable: self.sum(|counters| counters.unreadable.get()),
            retries: self.sum(|counters| counters.retries.get()),
            connections: self.sum(|counters| counters.connections.get()),
            in_flight: self.sum(|counters| counters.exchanges.get()),
            queued: self.sum(|counters| counters.queued.get()),
            following: self.sum(|counters| counters.following.get()),
            backend_connections: self.sum(|counters| counters.backend_connections.get()),
            tls_handshakes: self.sum(|counters| counters.tls_handshakes.get()),
            tls_resumptions: self.sum(|counters| counters.tls_resumptions.get()),
            tls_failures: self.sum(|counters| counters.tls_failures.get()),
            accept_failures: self.sum(|counters| counters.accept_failures.get()),
            log_lines_dropped: self.sum(|counters| counters.log_lines_dropped.get()),
            log_events_dropped: events::dropped(),
            endpoints: self.endpoint_facts(),
            cache: self.cache_facts(),
            events: EventFacts {
                known: self.events.known.get(),
                unknown: self.events.unknown.get(),
                refused: self.events.refused.get(),
            },
            journal: self.journal_facts(),
        }
    }

    fn purge(&self, what: &Purge, soft: bool) -> Result<Done, Refusal> {
        Ok(self.forget(what, soft))
    }

    fn event(&self, fields: &Fields, body: &[u8]) -> Result<Done, Refusal> {
        self.take_event(fields, body)
    }

    fn journal(&self, part: Part) -> Result<Page, Refusal> {
        Ok(dead_letters::page(&*self.desk()?, part))
    }

    fn write(&self, seq: u64) -> Result<Details, Refusal> {
        dead_letters::details(&*self.desk()?, seq)
    }

    fn retry(&self, seq: u64) -> Pending<'_, ()> {
        Box::pin(async move {
            let desk = self.desk()?;
            if desk.revive(seq).await { Ok(()) } else { Err(dead_letters::no_letter(&desk, seq)) }
        })
    }

    fn discard(&self, seq: u64) -> Pending<'_, ()> {
        Box::pin(async move {
            let desk = self.desk()?;
            if desk.discard(seq).await { Ok(()) } else { Err(dead_letters::no_letter(&desk, seq)) }
        })
    }

    fn splits(&self) -> Vec<rollout::Split> {
        self.view_splits()
    }

    fn set_split(&self, route: &str, order: &rollout::SplitOrder) -> Result<rollout::Split, Refusal> {
        self.weigh(route, order)
    }

    fn reset_split(&self, route: &str, by: Option<&str>) -> Result<rollout::Split, Refusal> {
        self.unweigh(route, by)
    }

    fn canaries(&self) -> Vec<rollout::Canary> {
        self.view_canaries()
    }

    fn direct(&self, route: &str, order: Order, by: Option<&str>) -> Result<rollout::Canary, Refusal> {
        self.direct_canary(route, order, by)
    }

    fn mirrors(&self) -> Vec<rollout::Mirror> {
        self.view_mirrors()
    }

    fn reset_mirror(&self, route: &str) -> Result<rollout::Mirror, Refusal> {
        self.forget_findings(route)
    }

    fn flush(&self) -> Pending<'_, u64> {
        Box::pin(async move { Ok(self.flushing.begin(&self.desk()?)) })
    }
}

/// A time in milliseconds.
fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
