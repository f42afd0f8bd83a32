//! The implementation of the admin API's `Service`: metrics, purges, events, the journal, splits, canaries and mirrors.
//!
//! `admin` has the listener and the JSON. Each call works on the snapshot in force, also after a reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use message::Fields;

use self::numbers::milliseconds;
use crate::acme::Acme;
use crate::admin::api::{CacheMetrics, CertificateMetrics, Details, EventMetrics, JournalMetrics, Metrics, Page};
use crate::admin::api::{certificates as certificates_api, rollout, status as api_status};
use crate::admin::{ApiError, ApiFuture, CanaryCommand, Invalidated, JournalQuery, Purge, Readiness, Service};
use crate::downstream::listener::Listener;
use crate::proxy::worker_state::Snapshot;
use crate::rollout::Rollout;
use crate::telemetry::counters::{CacheResults, Counter, Counters};
use crate::telemetry::reload_log::ReloadLog;
use crate::telemetry::{clock, events};

mod certificates;
mod history;
mod invalidation;
mod journal;
mod numbers;
mod status;
mod weights;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Implements [`Service`] on the state of this proxy.
#[derive(Debug)]
pub(crate) struct AdminService {
    snapshot: ArcSwap<Snapshot>,
    /// The counters of each worker, of the sender of queued writes, and of the mirrors.
    counters: Vec<Arc<Counters>>,
    readiness: AtomicU8,
    events: EventCounters,
    flushing: Arc<journal::Flushing>,
    rollout: Arc<Rollout>,
    reloads: Arc<ReloadLog>,
    history: history::History,
    /// When the certificates of listeners expire.
    certificates: ArcSwap<Vec<CertificateMetrics>>,
    acme: Arc<Acme>,
    listeners: ArcSwap<Vec<Arc<Listener>>>,
}

/// Counts of invalidation events, by whether a rule has their type.
#[derive(Debug, Default)]
struct EventCounters {
    known: Counter,
    unknown: Counter,
    refused: Counter,
}

impl AdminService {
    /// The service of a proxy that starts with this snapshot. `counters`: those of all threads, which are summed.
    #[must_use]
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        counters: Vec<Arc<Counters>>,
        rollout: Arc<Rollout>,
        reloads: Arc<ReloadLog>,
        acme: Arc<Acme>,
    ) -> Self {
        Self {
            snapshot: ArcSwap::new(snapshot),
            counters,
            readiness: AtomicU8::new(STARTING),
            events: EventCounters::default(),
            flushing: Arc::default(),
            rollout,
            reloads,
            history: history::History::default(),
            certificates: ArcSwap::default(),
            acme,
            listeners: ArcSwap::default(),
        }
    }

    /// Notes when the certificates of listeners expire.
    pub(crate) fn set_certificates(&self, certificates: Vec<CertificateMetrics>) {
        self.certificates.store(Arc::new(certificates));
    }

    /// Puts another snapshot in force.
    pub(crate) fn adopt(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// The proxy accepts client connections.
    pub(crate) fn set_ready(&self) {
        // Only from starting: a proxy that drains already never becomes ready.
        let _drains = self.readiness.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The proxy drains: `/ready` answers 503 from now on.
    pub(crate) fn set_draining(&self) {
        self.readiness.store(DRAINING, Ordering::Relaxed);
        self.flushing.disable();
    }

    fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| read(counters)).sum()
    }

    fn journal_metrics(&self) -> Option<JournalMetrics> {
        let snapshot = self.snapshot.load();
        let write_queue = snapshot.desk.as_ref()?;
        let counts = write_queue.counts();
        let age = counts.oldest.map_or(0, |oldest| milliseconds(clock::now().wall.saturating_sub(oldest)));
        Some(JournalMetrics {
            pending: counts.pending as u64,
            pending_bytes: counts.pending_bytes,
            oldest_ms: age,
            dead: counts.dead as u64,
            dead_dropped: write_queue.dead_letters_dropped(),
            accepted: self.sum(|counters| counters.writes_accepted.get()),
            sent: self.sum(|counters| counters.writes_sent.get()),
            failures: self.sum(|counters| counters.write_failures.get()),
            through: self.sum(|counters| counters.writes_through.get()),
            refused: self.sum(|counters| counters.writes_refused.get()),
        })
    }

    fn cache_metrics(&self) -> CacheMetrics {
        let snapshot = self.snapshot.load();
        let (bans, bans_merged) = snapshot.store.bans();
        CacheMetrics {
            bans: bans as u64,
            bans_merged,
            keys: snapshot.store.len() as u64,
            bytes: snapshot.store.bytes(),
            bytes_max: snapshot.plan.cache.memory_max,
            results: CacheResults::ALL
                .map(|result| (result.as_str(), self.sum(|counters| counters.cache.of(result).get())))
                .to_vec(),
        }
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

    fn metrics(&self) -> Metrics {
        Metrics {
            acme: self.acme_metrics(),
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
            proxy_headers: self.sum(|counters| counters.proxy_headers.get()),
            proxy_refusals: self.sum(|counters| counters.proxy_refusals.get()),
            tls_handshakes: self.sum(|counters| counters.tls_handshakes.get()),
            tls_1_2_handshakes: self.sum(|counters| counters.tls_1_2_handshakes.get()),
            certificates: self.certificates.load().to_vec(),
            tls_resumptions: self.sum(|counters| counters.tls_resumptions.get()),
            tls_failures: self.sum(|counters| counters.tls_failures.get()),
            accept_failures: self.sum(|counters| counters.accept_failures.get()),
            log_lines_dropped: self.sum(|counters| counters.log_lines_dropped.get()),
            log_events_dropped: events::dropped(),
            endpoints: self.endpoint_metrics(),
            routes: self.route_metrics(),
            process: self.process_metrics(),
            reloads: self.reload_metrics(),
            cache: self.cache_metrics(),
            events: EventMetrics {
                known: self.events.known.get(),
                unknown: self.events.unknown.get(),
                refused: self.events.refused.get(),
            },
            journal: self.journal_metrics(),
        }
    }

    fn overview(&self) -> api_status::Overview {
        self.view_overview()
    }

    fn history(&self) -> api_status::History {
        api_status::History { slots: self.history.slots() }
    }

    fn upstreams(&self) -> Vec<api_status::Upstream> {
        self.view_upstreams()
    }

    fn set_drained(
        &self,
        upstream: &str,
        order: &api_status::EndpointOrder,
        drains: bool,
    ) -> Result<api_status::Upstream, ApiError> {
        self.drain_endpoints(upstream, order, drains)
    }

    fn routes(&self) -> Vec<api_status::Route> {
        self.view_routes()
    }

    fn purge(&self, what: &Purge, soft: bool) -> Result<Invalidated, ApiError> {
        Ok(self.purge_cache(what, soft))
    }

    fn event(&self, fields: &Fields, body: &[u8]) -> Result<Invalidated, ApiError> {
        self.apply_event(fields, body)
    }

    fn journal(&self, query: JournalQuery) -> Result<Page, ApiError> {
        Ok(journal::page(&*self.write_queue()?, query))
    }

    fn write(&self, seq: u64) -> Result<Details, ApiError> {
        journal::details(&*self.write_queue()?, seq)
    }

    fn retry(&self, seq: u64) -> ApiFuture<'_, ()> {
        Box::pin(async move {
            let write_queue = self.write_queue()?;
            if write_queue.revive(seq).await { Ok(()) } else { Err(journal::not_a_dead_letter(&write_queue, seq)) }
        })
    }

    fn discard(&self, seq: u64) -> ApiFuture<'_, ()> {
        Box::pin(async move {
            let write_queue = self.write_queue()?;
            if write_queue.discard(seq).await { Ok(()) } else { Err(journal::not_a_dead_letter(&write_queue, seq)) }
        })
    }

    fn certificates(&self) -> Vec<certificates_api::Certificate> {
        self.all_certificates()
    }

    fn splits(&self) -> Vec<rollout::Split> {
        self.view_splits()
    }

    fn set_split(&self, route: &str, order: &rollout::WeightsRequest) -> Result<rollout::Split, ApiError> {
        self.set_split_weights(route, order)
    }

    fn reset_split(&self, route: &str, by: Option<&str>) -> Result<rollout::Split, ApiError> {
        self.reset_split_weights(route, by)
    }

    fn canaries(&self) -> Vec<rollout::Canary> {
        self.view_canaries()
    }

    fn command_canary(
        &self,
        route: &str,
        command: CanaryCommand,
        by: Option<&str>,
    ) -> Result<rollout::Canary, ApiError> {
        self.apply_canary_command(route, command, by)
    }

    fn mirrors(&self) -> Vec<rollout::Mirror> {
        self.view_mirrors()
    }

    fn reset_mirror(&self, route: &str) -> Result<rollout::Mirror, ApiError> {
        self.reset_comparison(route)
    }

    fn flush(&self) -> ApiFuture<'_, u64> {
        Box::pin(async move { Ok(self.flushing.begin(&self.write_queue()?)) })
    }
}
