//! A request that says nothing but what it wants, answered with what is stored: without an exchange.
//!
//! This is the most frequent way of a cache, so it takes as little as it can. Which fields a head has tells whether
//! `admit`, `routing` and `lookup` could do anything but let the request pass; where they could, nothing is found here,
//! and the request takes its whole course.

use std::time::Duration;

use http::Method;
use message::{Known, KnownSet};
use policy::cache::key::{KeyBuffer, LookupKey, Space, Target};
use policy::message::{hop, names};
use policy::time::Now;

use super::admit;
use super::lookup::NOT_PLAIN;
use super::worker_state::WorkerState;
use crate::cache::hit::Hit;
use crate::cache::hit_at_once;
use crate::config::plan::{Action, Route};
use crate::exchange::ClientConnection;
use crate::telemetry::access_record::{AccessRecord, Request};
use crate::telemetry::counters::CacheResult;
use crate::telemetry::worker_telemetry::WorkerTelemetry;
use crate::telemetry::{clock, random};

/// A GET by HTTP/1.1, without a body, for a target in normal form, on a connection that persists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainGet<'h> {
    /// The only `Host`.
    pub host: &'h [u8],
    /// The path.
    pub path: &'h str,
    /// The query without its question mark.
    pub query: Option<&'h str>,
    /// The tags of its fields. Whatever `Connection` says has been looked at.
    pub tags: KnownSet,
}

/// What a plain request is answered with.
#[derive(Debug)]
pub(crate) struct FastHit {
    /// What is stored.
    pub stored: Hit,
    /// The index of the request's route.
    route: usize,
}

/// Fields that `admit` or `lookup` look at. `Connection` is not among them: a plain GET says `keep-alive` there.
const LOOKED_AT: KnownSet = NOT_PLAIN
    .union(hop::HOP_BY_HOP.without(KnownSet::of(&[Known::Connection])))
    .union(KnownSet::of(&[Known::Expect, Known::Underscore, Known::Via]));

/// Finds what is stored for a request and fresh, if the request can get it as it is.
pub(crate) fn find(site: &WorkerState, client: &ClientConnection, asked: &PlainGet<'_>, now: Now) -> Option<FastHit> {
    if asked.tags.intersects(LOOKED_AT) || !site.desk().is_none_or(|desk| desk.is_idle()) {
        return None;
    }
    let host = admit::valid(asked.host, client).ok()?;
    // A response that gets `Strict-Transport-Security` is not as it is stored.
    let may_pass = || client.tls.as_ref().is_none_or(|tls| tls.hsts.is_none() && !tls.misdirects(&host.name));
    if host.has_final_dot || !may_pass() || !site.serves_as_it_comes(client, asked.tags.intersects(names::FORWARDING)) {
        return None;
    }
    let plan = site.plan();
    let index = plan.table.find_by_path(&host.name, asked.path)?;
    let route = plan.routes.get(index)?;
    let caching = site.caching(index, 0).filter(|caching| caching.is_plain && is_plain(route))?;
    let target = Target::of_normal(client.scheme, &host.name, host.port, asked.path, asked.query);
    let space = Space { name: &caching.space, rules: &caching.rules.key };
    let mut buffer = KeyBuffer::new();
    let stored = hit_at_once(caching, LookupKey::of_uri(space, &target, &mut buffer), now)?;
    Some(FastHit { stored, route: index })
}

/// Whether a route leaves requests that its cache answers, and what it answers, as they are. All of its fields are named, so
/// that a new one is thought of here.
fn is_plain(route: &Route) -> bool {
    let Route {
        action,
        request_headers,
        response_headers,
        name: _,
        cache: _,
        mirror: _,
        is_conditional: _,
        strip_prefix: _,
        add_prefix: _,
        rewrite: _,
    } = route;
    matches!(action, Action::Forward(_)) && request_headers.is_empty() && response_headers.is_empty()
}

/// Counts a request that is answered with this, and logs it if requests are logged. `request`: `None` if they are not.
pub(crate) fn account(
    site: &WorkerState,
    ledger: &WorkerTelemetry,
    (client, request): (&ClientConnection, Option<Request>),
    hit: &FastHit,
    started: Now,
) {
    let status = hit.stored.status();
    ledger.counters.responses.count(status);
    ledger.counters.cache.of(CacheResult::Hit).up();
    ledger.count(started.mono);
    let route = site.route_record(hit.route);
    if let Some(route) = &route {
        // It takes some microseconds: to know how many, the clock would have to be read once more.
        route.stats.ended(&Method::GET, Some(status), Duration::ZERO, hit.stored.length());
        route.stats.cached(CacheResult::Hit);
    }
    let Some(request) = request else { return };
    let record = AccessRecord {
        id: Some(random::id(random::roll())),
        request: Some(Box::new(request)),
        route,
        cache: Some(CacheResult::Hit.as_str()),
        status: Some(status),
        body_bytes_sent: hit.stored.length(),
        ..AccessRecord::default()
    };
    ledger.log(&record, client.peer.ip().to_canonical(), started, clock::now());
}
