//! The state of the proxy, its routes and its endpoints, for the admin API and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::AdminService;
use super::history::Sums;
use super::numbers::{milliseconds, quantile_ms, rounded};
use crate::admin::api::status as api;
use crate::admin::api::{EndpointMetrics, HistogramMetrics, ProcessMetrics, ReloadMetrics, RouteMetrics};
use crate::admin::{ApiError, Readiness, Service as _};
use crate::config::plan::{Action, Route};
use crate::telemetry::clock;
use crate::telemetry::counters::CacheResults;
use crate::telemetry::endpoint_stats::FailureKind;
use crate::telemetry::latency_stats::Latency;
use crate::telemetry::process::{self, Process};
use crate::telemetry::route_stats::{CODES, METHODS, RouteTotals};
use crate::telemetry::window::{Period, Recent};
use crate::upstream::endpoint::{Endpoint, Out};
use crate::upstream::endpoints::EndpointSlot;
use crate::upstream::shared::SharedUpstream;

/// The bounds of the buckets of latency histograms, in milliseconds.
const BOUNDS_MS: [f64; 14] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0];

/// The reasons why an endpoint gets no requests, each with its name in the API.
const REASONS: [(Out, &str); 4] =
    [(Out::Down, "down"), (Out::Suspect, "unreachable"), (Out::Ejected, "ejected"), (Out::Drained, "drained")];

impl AdminService {
    /// Ends a slot of the windows over the latest requests: to be called every [`crate::telemetry::window::TICK_EVERY`].
    pub(crate) fn tick(&self) {
        let moment = clock::now();
        let now = moment.mono;
        let snapshot = self.snapshot.load();
        let mut sums = Sums::default();
        for route in &snapshot.traffic {
            route.tick(now);
            sums.add(&route.totals());
        }
        self.history.tick(sums, moment);
        for upstream in &snapshot.groups {
            upstream.endpoints().seats.iter().for_each(|seat| seat.endpoint.traffic.tick(now));
        }
    }

    pub(super) fn view_overview(&self) -> api::Overview {
        let now = clock::mono();
        let snapshot = self.snapshot.load();
        let mut all = Recent::default();
        snapshot.traffic.iter().for_each(|route| all.merge(&route.recent(now)));
        let upstreams = snapshot.groups.iter().map(|upstream| upstream.endpoints()).collect::<Vec<_>>();
        let endpoints = || upstreams.iter().flat_map(|endpoints| &endpoints.seats);
        let status = match self.readiness() {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Draining => "draining",
        };
        api::Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            status: status.to_owned(),
            started_unix_ms: milliseconds(process::started()),
            workers: snapshot.plan.server.workers.get(),
            reload: self.reloads.reloads().last.map(|last| api::Reload {
                at_unix_ms: milliseconds(last.at),
                succeeded: last.succeeded,
                message: last.message,
            }),
            connections: self.sum(|counters| counters.connections.get()),
            requests_in_flight: self.sum(|counters| counters.exchanges.get()),
            requests_queued: self.sum(|counters| counters.queued.get()),
            backend_connections: self.sum(|counters| counters.backend_connections.get()),
            minute: period(&all.minute),
            quarter: period(&all.quarter),
            endpoints_up: endpoints().filter(|seat| seat.endpoint.is_usable()).count(),
            endpoints: endpoints().count(),
            cache: api::CacheState {
                keys: snapshot.store.len() as u64,
                bytes: snapshot.store.bytes(),
                bytes_max: snapshot.plan.cache.memory_max,
            },
            journal: self.journal_metrics().map(|journal| api::JournalState {
                pending: journal.pending,
                oldest_ms: journal.oldest_ms,
                dead: journal.dead,
            }),
        }
    }

    pub(super) fn view_upstreams(&self) -> Vec<api::Upstream> {
        let now = clock::mono();
        self.snapshot.load().groups.iter().map(|upstream| view_upstream(upstream, now)).collect()
    }

    pub(super) fn view_routes(&self) -> Vec<api::Route> {
        let now = clock::mono();
        let snapshot = self.snapshot.load();
        let routes = snapshot.plan.routes.iter().zip(&snapshot.traffic);
        let upstream = |index: usize| snapshot.plan.upstreams.get(index).map(|upstream| upstream.name.to_string());
        let upstreams = |route: &Route| match &route.action {
            Action::Forward(index) => upstream(*index).into_iter().collect(),
            Action::Split(split) => split.sides.iter().filter_map(|side| upstream(side.upstream)).collect(),
            Action::Redirect(_) | Action::Respond(_) => Vec::new(),
        };
        let view = |(route, traffic): (&Route, &Arc<crate::telemetry::route_stats::RouteTraffic>)| {
            let totals = traffic.totals();
            let recent = traffic.recent(now);
            let results = || CacheResults::ALL.iter().zip(totals.cache);
            let cache = || results().map(|(result, count)| (result.as_str().to_owned(), count)).collect();
            api::Route {
                name: route.name.to_string(),
                upstreams: upstreams(route),
                requests: totals.all(),
                errors: totals.errors(),
                bytes_sent: totals.bytes_sent,
                cache: route.cache.as_ref().map(|_| cache()),
                minute: period(&recent.minute),
                quarter: period(&recent.quarter),
            }
        };
        routes.map(view).collect()
    }

    pub(super) fn drain_endpoints(
        &self,
        upstream: &str,
        order: &api::EndpointOrder,
        drains: bool,
    ) -> Result<api::Upstream, ApiError> {
        let none = |what: String| ApiError::new(StatusCode::NOT_FOUND, what);
        let snapshot = self.snapshot.load();
        let found = snapshot.groups.iter().find(|group| *group.plan.name == *upstream);
        let found = found.ok_or_else(|| none(format!("there is no upstream {upstream}")))?;
        let endpoints = found.endpoints();
        let matches = |endpoint: &Endpoint| {
            *endpoint.backend == *order.backend
                && order.address.as_ref().is_none_or(|address| endpoint.address.as_deref() == Some(address.as_str()))
        };
        let selected: Vec<_> = endpoints.seats.iter().filter(|seat| matches(&seat.endpoint)).collect();
        if selected.is_empty() {
            let backends: Vec<&str> = endpoints.seats.iter().map(|seat| &*seat.endpoint.backend).take(20).collect();
            let hint = backends.join(", ");
            return Err(none(format!("upstream {upstream} has no such endpoint; its backends are {hint}")));
        }
        let by = order.by.as_deref().unwrap_or("api");
        selected.iter().for_each(|seat| found.standing.set_drained(&seat.endpoint, drains, by, clock::now()));
        Ok(view_upstream(found, clock::mono()))
    }

    pub(super) fn endpoint_metrics(&self) -> Vec<EndpointMetrics> {
        let snapshot = self.snapshot.load();
        let mut metrics = Vec::new();
        for upstream in &snapshot.groups {
            metrics.extend(upstream.endpoints().seats.iter().map(|seat| metrics_of(upstream, seat)));
        }
        metrics
    }

    pub(super) fn route_metrics(&self) -> Vec<RouteMetrics> {
        let snapshot = self.snapshot.load();
        let routes = snapshot.plan.routes.iter().zip(&snapshot.traffic);
        routes.map(|(route, traffic)| route_metrics(&route.name, &traffic.totals(), route.cache.is_some())).collect()
    }

    pub(super) fn process_metrics(&self) -> ProcessMetrics {
        let Process { resident_bytes, cpu_seconds, open_descriptors, max_descriptors } = Process::now();
        let started = process::started().as_secs_f64();
        ProcessMetrics { started, resident_bytes, cpu_seconds, open_descriptors, max_descriptors }
    }

    pub(super) fn reload_metrics(&self) -> ReloadMetrics {
        let reloads = self.reloads.reloads();
        ReloadMetrics {
            succeeded: reloads.succeeded,
            failed: reloads.failed,
            last_succeeded: reloads.last.map(|last| last.succeeded),
            in_force_since: reloads.in_force_since.unwrap_or_else(process::started).as_secs_f64(),
        }
    }
}

fn view_upstream(upstream: &SharedUpstream, now: Duration) -> api::Upstream {
    let weights = upstream.plan.backends.iter().map(|backend| (&backend.name, backend.weight));
    let weights: std::collections::HashMap<_, _> = weights.collect();
    let view = |seat: &EndpointSlot| {
        let endpoint = &seat.endpoint;
        let totals = endpoint.traffic.totals();
        let recent = endpoint.traffic.recent(now);
        let failures = FailureKind::ALL.iter().zip(totals.failures).filter(|(_, count)| *count > 0);
        let history = endpoint.history.changes().into_iter().map(|change| api::HealthChange {
            at_unix_ms: milliseconds(change.at),
            event: change.event.as_str().to_owned(),
            reason: change.reason.to_string(),
        });
        api::Endpoint {
            backend: endpoint.backend.to_string(),
            address: endpoint.address.as_deref().map(str::to_owned),
            up: endpoint.is_usable(),
            reasons: reasons(endpoint).filter(|(_, holds)| *holds).map(|(name, _)| name.to_owned()).collect(),
            backup: seat.backup,
            weight: weights.get(&endpoint.backend).copied().unwrap_or(1),
            max_in_flight: seat.max_in_flight,
            requests_in_flight: endpoint.in_flight().into(),
            requests: totals.requests,
            failures: failures.map(|(kind, count)| (kind.as_str().to_owned(), count)).collect(),
            minute: period(&recent.minute),
            quarter: period(&recent.quarter),
            history: history.collect(),
        }
    };
    api::Upstream {
        name: upstream.plan.name.to_string(),
        balance: upstream.plan.balance.word().to_owned(),
        endpoints: upstream.endpoints().seats.iter().map(view).collect(),
    }
}

/// Each reason for which an endpoint may get no requests, and whether it holds.
fn reasons(endpoint: &Endpoint) -> impl Iterator<Item = (&'static str, bool)> {
    REASONS.into_iter().map(|(out, name)| (name, endpoint.is_out(out)))
}

fn metrics_of(upstream: &SharedUpstream, seat: &EndpointSlot) -> EndpointMetrics {
    let endpoint = &seat.endpoint;
    let totals = endpoint.traffic.totals();
    let backend = upstream.plan.backends.iter().find(|backend| backend.name == endpoint.backend);
    EndpointMetrics {
        upstream: Arc::clone(&upstream.plan.name),
        backend: Arc::clone(&endpoint.backend),
        address: endpoint.address.clone().unwrap_or_default(),
        is_usable: endpoint.is_usable(),
        in_flight: endpoint.in_flight().into(),
        reasons: reasons(endpoint).collect(),
        weight: backend.map_or(1, |backend| backend.weight.into()),
        requests: totals.requests,
        failures: FailureKind::ALL.iter().map(|kind| kind.as_str()).zip(totals.failures).collect(),
        response_time: histogram(&totals.latency),
    }
}

/// The metrics of a route, or of the requests that matched no route.
pub(super) fn route_metrics(name: &Arc<str>, totals: &RouteTotals, caches: bool) -> RouteMetrics {
    let mut requests = Vec::new();
    for (method, codes) in METHODS.iter().zip(&totals.requests) {
        let counted = CODES.iter().zip(codes).filter(|(_, count)| **count > 0);
        requests.extend(counted.map(|(code, count)| (*method, *code, *count)));
    }
    let cache = CacheResults::ALL.iter().zip(totals.cache).map(|(result, count)| (result.as_str(), count));
    RouteMetrics {
        name: Arc::clone(name),
        requests,
        duration: histogram(&totals.duration),
        bytes_sent: totals.bytes_sent,
        cache: if caches { cache.collect() } else { Vec::new() },
    }
}

fn histogram(latency: &Latency) -> HistogramMetrics {
    let count = latency.histogram.total();
    let upto = |bound: f64| count.saturating_sub(latency.histogram.above(Duration::from_secs_f64(bound / 1e3)));
    HistogramMetrics {
        buckets: BOUNDS_MS.iter().map(|bound| (bound / 1e3, upto(*bound))).collect(),
        sum: latency.total.as_secs_f64(),
        count,
    }
}

fn period(period: &Period) -> api::Period {
    let seconds = period.length.as_secs_f64();
    let quantile = |share| quantile_ms(&period.latency, share);
    api::Period {
        seconds: rounded(seconds),
        requests: period.requests,
        errors: period.errors,
        rate: if seconds > 0.0 { rounded(period.requests as f64 / seconds) } else { 0.0 },
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
    }
}
