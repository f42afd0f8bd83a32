//! The way of a queued write to its backend: for the flusher, on the control thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use policy::message::cache_control::delta_seconds;
use policy::write::outcome::{Outcome, judge};
use policy::write::queue::Class;
use policy::write::record::IDEMPOTENCY_KEY;

use super::site::Generation;
use crate::config::plan::{CacheMode, Plan};
use crate::exchange::deadline::attended;
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};
use crate::observe::counters::Counters;
use crate::observe::{clock, dice};
use crate::upstream;
use crate::upstream::local::LocalGroup;
use crate::upstream::send::Draft;
use crate::upstream::upload::{Limits, Source};
use crate::writeback::flush::{Attempt, Way};
use crate::writeback::read::content;
use crate::writeback::take::FOREBAY_WRITE;

/// How long an attempt may take for a route that is gone.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The upstreams, as the flusher has them.
#[derive(Debug, Default)]
pub struct ToBackends {
    counters: Arc<Counters>,
    present: RefCell<Present>,
}

#[derive(Debug, Default)]
struct Present {
    groups: HashMap<Box<str>, Rc<LocalGroup>>,
    timeouts: HashMap<Box<str>, Duration>,
    limits: Option<Limits>,
}

impl ToBackends {
    /// What the sending of writes has counted.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Takes up a generation.
    pub fn adopt(&self, generation: &Generation) {
        let mut present = self.present.borrow_mut();
        let before = std::mem::take(&mut present.groups);
        for group in &generation.groups {
            let name: Box<str> = (&*group.plan.name).into();
            let kept = before.get(&name).filter(|old| Arc::ptr_eq(&old.shared, group));
            let local = kept.map_or_else(
                || Rc::new(LocalGroup::new(Arc::clone(group), None, &self.counters, std::num::NonZeroUsize::MIN.get())),
                Rc::clone,
            );
            present.groups.insert(name, local);
        }
        present.timeouts = timeouts(&generation.plan);
        present.limits = generation
            .groups
            .first()
            .map(|group| Limits { bytes_max: None, ..Limits::of(&generation.plan.server, &group.plan.retry) });
    }

    async fn attempt(self: Rc<Self>, attempt: Attempt) -> Outcome {
        let (group, timeout, limits) = {
            let present = self.present.borrow();
            let group = present.groups.get(&attempt.write.upstream).map(Rc::clone);
            let timeout = present.timeouts.get(&attempt.write.route).copied().unwrap_or(TIMEOUT);
            (group, timeout, present.limits)
        };
        let (Some(group), Some(limits)) = (group, limits) else { return Outcome::Unsent };
        let Some(draft) = draft(&attempt, limits, &self.counters) else { return Outcome::Refused { status: 400 } };
        let class = match attempt.write.method {
            Method::PUT => Class::Put,
            Method::DELETE => Class::Delete,
            _ => Class::Other,
        };
        let mut ex = Exchange::alone(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), clock::now(), dice::roll());
        let deadline = Rc::clone(&ex.connection.deadline);
        let sent = attended(&deadline, upstream::forward(&group, &mut ex, &draft));
        match tokio::time::timeout(timeout, sent).await {
            Ok(Ok(answer)) => {
                let outcome = judge(class, answer.status(), retry_after(answer.headers()));
                let _late = tokio::time::timeout(timeout, attended(&deadline, read(answer))).await;
                outcome
            }
            Ok(Err(fault)) if is_unsent(&fault) => Outcome::Unsent,
            Ok(Err(_)) | Err(_) => Outcome::Retry { status: None, after: None },
        }
    }
}

impl Way for Rc<ToBackends> {
    fn send(&self, attempt: Attempt) -> impl Future<Output = Outcome> + 'static {
        let backends = Rc::clone(self);
        async move {
            let outcome = Rc::clone(&backends).attempt(attempt).await;
            match outcome {
                Outcome::Done => backends.counters.writes_sent.up(),
                Outcome::Retry { .. } | Outcome::Refused { .. } => backends.counters.write_failures.up(),
                Outcome::Unsent => {}
            }
            outcome
        }
    }

    fn leads_to(&self, upstream: &str) -> bool {
        self.present.borrow().groups.contains_key(upstream)
    }
}

fn timeouts(plan: &Plan) -> HashMap<Box<str>, Duration> {
    let of_route = |route: &crate::config::plan::Route| match &route.cache.as_ref()?.mode {
        CacheMode::Back(back) => Some(((&*route.name).into(), back.timeout)),
        CacheMode::Aside | CacheMode::Through => None,
    };
    plan.routes.iter().filter_map(of_route).collect()
}

/// Whether no backend can have seen it.
fn is_unsent(fault: &Fault) -> bool {
    !fault.leaves_doubt()
}

fn draft(attempt: &Attempt, limits: Limits, counters: &Arc<Counters>) -> Option<Draft> {
    let write = &attempt.write;
    let target: Uri = write.target.parse().ok()?;
    let mut headers: HeaderMap = write.headers.iter().cloned().collect();
    headers.insert(&IDEMPOTENCY_KEY, write.idempotency_key(attempt.journal, attempt.seq));
    let (seq, number, accepted) = (attempt.seq, attempt.number, write.accepted.as_secs());
    let note = format!("flush; seq={seq}; attempt={number}; accepted={accepted}");
    headers.extend(HeaderValue::try_from(note).ok().map(|note| (FOREBAY_WRITE.clone(), note)));
    let has_body = !write.body.is_empty() || write.method == Method::PUT;
    let source = has_body.then(|| Rc::new(Source::whole(content(write), limits, Arc::clone(counters))));
    if source.is_some() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(write.body.len()));
    }
    Some(Draft { method: write.method.clone(), target, headers, source, switches: None })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    delta_seconds(headers.get(header::RETRY_AFTER)?.as_bytes().trim_ascii())
}

/// Reads an answer to its end, within bounds.
async fn read(answer: Answer) {
    let Some(mut flow) = answer.into_body().into_flow() else { return };
    let mut bytes = 0;
    while bytes < ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = poll_fn(|cx| flow.as_mut().poll_frame(cx)).await
    {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
}
