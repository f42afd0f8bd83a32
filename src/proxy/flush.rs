//! The way of a queued write to its backend: for the flusher, on the control thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use message::{Fields, Known};
use policy::cache::key::{Key, Space, Target};
use policy::cache::overlap::Writer;
use policy::message::cache_control::delta_seconds;
use policy::write::class::Class;
use policy::write::outcome::{Outcome, classify};
use policy::write::record::{IDEMPOTENCY_KEY, Write};
use policy::write::retained::is_retained;

use super::invalidation::{Outgoing, invalidate_target};
use super::target::RouteTarget;
use super::worker_state::{Snapshot, WorkerState};
use super::write_through::Through;
use super::{invalidate, write_through};
use crate::cache::Caching;
use crate::config::plan::{CacheMode, Route};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::upstream::client::{Deadlines, Error, InternalRequest};
use crate::upstream::local::LocalUpstream;
use crate::upstream::send::UpstreamRequest;
use crate::write_queue::enqueue::FOREBAY_WRITE;
use crate::write_queue::flush::{Attempt, AttemptResult, WriteSender};
use crate::write_queue::queue::{PendingContent, WriteQueue};

/// How long an attempt may take for a route that is gone.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often old connections are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The plan, as the flusher has it.
#[derive(Debug, Default)]
pub(crate) struct ToBackends {
    counters: Arc<Counters>,
    present: RefCell<Option<Rc<Present>>>,
}

#[derive(Debug)]
struct Present {
    site: Rc<WorkerState>,
    upstreams: HashMap<Box<str>, Rc<RouteTarget>>,
    /// Of the routes that cache, their places.
    routes: HashMap<Box<str>, usize>,
}

impl ToBackends {
    /// What the sending of writes has counted.
    #[must_use]
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Takes up a generation.
    pub(crate) fn adopt(&self, generation: &Arc<Snapshot>) {
        let before = self.present.borrow().clone();
        let before = before.as_ref().map(|present| &*present.site);
        let site = Rc::new(WorkerState::new(Arc::clone(generation), before, &self.counters));
        let onward = |group: &Rc<LocalUpstream>| {
            let onward = RouteTarget { group: Rc::clone(group), tally: None, mirror: None };
            ((&*group.name).into(), Rc::new(onward))
        };
        let caching = generation.plan.routes.iter().enumerate().filter(|(_, route)| route.cache.is_some());
        let present = Present {
            upstreams: site.upstreams().map(onward).collect(),
            routes: caching.map(|(place, route)| ((&*route.name).into(), place)).collect(),
            site,
        };
        *self.present.borrow_mut() = Some(Rc::new(present));
    }

    /// Drops connections that have been idle too long, or that lead to endpoints that have left, for as long as the future
    /// is kept.
    pub(crate) async fn tidy(&self) {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            let now = clock::mono();
            let present = self.present.borrow().clone();
            present.iter().flat_map(|present| present.site.upstreams()).for_each(|group| group.tidy(now));
        }
    }

    async fn attempt(&self, attempt: Attempt) -> AttemptResult {
        let nowhere = AttemptResult { outcome: Outcome::Unsent, why: None };
        let Some(present) = self.present.borrow().clone() else { return nowhere };
        let Some(onward) = present.upstreams.get(&attempt.write.upstream) else { return nowhere };
        let timeout = present.timeout(&attempt.write);
        let deadlines = Deadlines::within(timeout).and_body_within(timeout);
        let Some(request) = request(&attempt, deadlines) else {
            return AttemptResult { outcome: Outcome::Refused { status: 400 }, why: None };
        };
        let class = match attempt.write.method {
            Method::PUT => Class::Put,
            Method::DELETE => Class::Delete,
            _ => Class::Other,
        };
        let forward =
            async |ex: &mut Exchange, draft: &UpstreamRequest| present.send(onward, ex, &attempt, draft).await;
        match request.send_by(&self.counters, forward).await {
            Ok(response) => {
                let outcome = classify(class, response.status, retry_after(&response.fields));
                let is_failed = matches!(outcome, Outcome::Retry { .. });
                let why = is_failed.then(|| format!("the backend answered {}", response.status).into());
                // Its content may be what is stored.
                let bytes_max = match response.fields.has(Known::ContentLocation) {
                    true => present.site.plan().cache.object_bytes_max,
                    false => ANSWER_BYTES_MAX,
                };
                response.discard(bytes_max).await;
                AttemptResult { outcome, why }
            }
            Err(Error::Failed(fault)) => {
                let unknown = Outcome::Retry { status: None, after: None };
                let outcome = if is_unsent(&fault) { Outcome::Unsent } else { unknown };
                AttemptResult { outcome, why: Some(fault.to_string().into()) }
            }
            Err(Error::Late) => {
                let why = format!("no answer within {timeout:?}");
                AttemptResult { outcome: Outcome::Retry { status: None, after: None }, why: Some(why.into()) }
            }
        }
    }
}

impl Present {
    /// The route that a write came by; `None`: it is gone.
    fn route(&self, write: &Write) -> Option<&Route> {
        self.site.plan().routes.get(*self.routes.get(&write.route)?)
    }

    fn timeout(&self, write: &Write) -> Duration {
        let rules = self.route(write).and_then(|route| route.cache.as_deref());
        match rules.map(|rules| &rules.mode) {
            Some(CacheMode::Back(back)) => back.timeout,
            Some(CacheMode::Aside | CacheMode::Through) | None => TIMEOUT,
        }
    }

    /// Sends a write, and lets the cache follow while reads still see the write: what it has left at its target is
    /// stored, or nothing is.
    async fn send(
        &self,
        onward: &Rc<RouteTarget>,
        ex: &mut Exchange,
        attempt: &Attempt,
        draft: &UpstreamRequest,
    ) -> Result<Answer, ProxyError> {
        let uri = Key::from_bytes(&attempt.write.key);
        let Some(parts) = uri.parts() else { return onward.forward(ex, draft).await };
        let port = Some(parts.port);
        let target = Target::of_normal(parts.scheme, parts.host, port, parts.path, parts.query).into_owned();
        let caching = self.routes.get(&attempt.write.route).and_then(|place| self.site.caching_in(*place, parts.space));
        let outgoing = Outgoing { draft, target: &target, writer: Writer::Flush(attempt.seq) };
        let answered = match caching {
            Some(caching) if caching.rules.mode != CacheMode::Aside => {
                let key = self.key(caching, &target, attempt, draft);
                let through = Through { site: &self.site, onward, caching };
                write_through::write(through, ex, outgoing, key).await
            }
            Some(_) | None => invalidate::forward(&self.site, onward, ex, outgoing).await,
        };
        // Refused: reads get what the backend has. Or a DELETE found nothing to delete.
        if answered.as_ref().is_ok_and(|answer| answer.status.is_client_error()) {
            invalidate_target(&self.site, &target);
        }
        answered
    }

    /// What a GET with the fields of this write would be looked up by. `None`: what it writes is not to be stored, as
    /// another is queued behind it, the backend sees another query than the key holds, or of a field that keys are made
    /// of it is not known any more what the client said.
    fn key(&self, caching: &Caching, target: &Target<'_>, attempt: &Attempt, draft: &UpstreamRequest) -> Option<Key> {
        let keep_headers = match &caching.rules.mode {
            CacheMode::Back(back) => back.keep_headers.as_slice(),
            CacheMode::Aside | CacheMode::Through => &[],
        };
        let edits = &self.route(&attempt.write)?.request_headers;
        let is_set = |name: &HeaderName| edits.set.iter().any(|(set, _)| set == name) || edits.remove.contains(name);
        let line = &attempt.write.key;
        let is_last =
            |desk: &Arc<WriteQueue>| matches!(desk.find(line), PendingContent::Dirty(seq, _) if seq == attempt.seq);
        let is_known = caching.rules.key.headers.iter().all(|name| is_retained(name, keep_headers) && !is_set(name));
        let is_settled = draft.target.query() == target.query();
        if !is_known || !is_settled || !self.site.desk().is_some_and(is_last) {
            return None;
        }
        let mut headers = draft.headers.clone();
        for (name, _) in &edits.set {
            headers.drop_named(name);
        }
        settle_host(&mut headers, target);
        let space = Space { name: &caching.space, rules: &caching.rules.key };
        Key::of_request(space, &Method::GET, target, &headers, false)
    }
}

/// Gives the fields of a write the `Host` of its client again, for keys are made before a route's changes. A final dot of
/// it stays.
fn settle_host(headers: &mut Fields, target: &Target<'_>) {
    let uri = target.to_string();
    let authority = uri.split('/').nth(2).unwrap_or_default();
    let is_same = |kept: &[u8]| {
        let (name, port) = authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port)));
        let dotted = port.map_or_else(|| format!("{name}."), |port| format!("{name}.:{port}"));
        kept == authority.as_bytes() || kept == dotted.as_bytes()
    };
    if !headers.first(Known::Host).is_some_and(is_same) {
        headers.set(Known::Host, authority);
    }
}

impl WriteSender for Rc<ToBackends> {
    fn send(&self, attempt: Attempt) -> impl Future<Output = AttemptResult> + 'static {
        let backends = Rc::clone(self);
        async move {
            let came = backends.attempt(attempt).await;
            match came.outcome {
                Outcome::Done => backends.counters.writes_sent.up(),
                Outcome::Retry { .. } | Outcome::Refused { .. } => backends.counters.write_failures.up(),
                Outcome::Unsent => {}
            }
            came
        }
    }

    fn endpoints(&self, upstream: &str) -> usize {
        let present = self.present.borrow();
        let Some(onward) = present.as_ref().and_then(|present| present.upstreams.get(upstream)) else { return 0 };
        let shared = &onward.group.shared;
        if !shared.can_take(clock::now()) {
            return 0;
        }
        // None is usable, but one is to be tried.
        shared.endpoints().seats.iter().filter(|seat| seat.endpoint.is_usable()).count().max(1)
    }
}

/// Whether no backend can have seen it.
fn is_unsent(fault: &ProxyError) -> bool {
    !fault.leaves_doubt()
}

fn request(attempt: &Attempt, deadlines: Deadlines) -> Option<InternalRequest> {
    let write = &attempt.write;
    let mut fields: Fields = write.headers.iter().cloned().collect();
    fields.set(&IDEMPOTENCY_KEY, write.idempotency_key(attempt.journal, attempt.seq));
    let (seq, number, accepted) = (attempt.seq, attempt.number, write.accepted.as_secs());
    let note = format!("flush; seq={seq}; attempt={number}; accepted={accepted}");
    fields.append(&FOREBAY_WRITE, note);
    let has_body = !write.body.is_empty() || write.method == Method::PUT;
    let body = has_body.then(|| write.body.clone());
    Some(InternalRequest { method: write.method.clone(), target: write.target.parse().ok()?, fields, body, deadlines })
}

fn retry_after(headers: &Fields) -> Option<Duration> {
    delta_seconds(headers.first("retry-after")?.trim_ascii())
}
