//! A route's mirror: selects the requests to copy, limits concurrent copies, and counts the results.
//!
//! On the request's path it only draws a random sample, takes a slot, and passes the copy to another thread; without a
//! free slot the request is not copied. `mirror_worker` sends the copies.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderName, Method, Uri};
use message::{Fields, Known, KnownSet};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::comparison::ComparisonReport;
use super::copied_request::CopiedRequest;
use super::tee::{self, RecordedResponse};
use crate::config::plan::{self, Upstream};
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::telemetry::counters::Counter;
use crate::upstream::resolver::Resolver;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::upload::ReplayBody;

/// Marks a copy, so that its receiver can recognise it.
pub(crate) static FOREBAY_MIRROR: HeaderName = HeaderName::from_static("forebay-mirror");

/// A route's mirror, shared by all threads.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// The route.
    pub route: Arc<str>,
    /// Its configuration.
    pub plan: Arc<plan::Mirror>,
    /// The upstream of the copies, with its own connections, health and counters, even if other routes use the same
    /// backends.
    pub target: Arc<SharedUpstream>,
    /// The upstream that gets a second copy, to detect noise.
    pub noise: Option<Arc<SharedUpstream>>,
    /// The counters of copies.
    pub counts: Counts,
    /// The results of comparisons; `None`: responses are not compared.
    pub report: Option<Mutex<ComparisonReport>>,
    in_flight: AtomicUsize,
    queue: mpsc::Sender<Copy>,
}

/// Counters of copies by result.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Copies sent.
    pub sent: Counter,
    /// Copies without a complete response: refused, reset, truncated.
    pub failed: Counter,
    /// Copies without a response in time.
    pub timed_out: Counter,
    /// Requests not copied because too many copies were in flight.
    pub busy: Counter,
    /// Requests not copied because the body was too long or was not read completely.
    pub body: Counter,
    /// Copies not sent because the worker's queue was full.
    pub late: Counter,
}

/// A slot of the mirror's `in_flight_max`. Dropping it releases the slot.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Mirror>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A copy in flight.
#[derive(Debug)]
pub(crate) struct Copy {
    /// Its slot, which also refers to its mirror.
    slot: Slot,
    /// The copied request.
    pub request: CopiedRequest,
    /// When the client's response began, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Receives the client's response when it is complete; `None`: responses are not compared.
    pub ours: Option<oneshot::Receiver<RecordedResponse>>,
}

impl Copy {
    /// Its mirror.
    #[must_use]
    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.slot.0
    }
}

/// A request that is copied when its response begins.
#[derive(Debug)]
pub(crate) struct Sampled {
    slot: Slot,
    method: Method,
    target: Uri,
    headers: Fields,
    source: Option<Rc<ReplayBody>>,
}

impl Mirror {
    /// The upstream as used for copies.
    #[must_use]
    pub(crate) fn group(plan: &Upstream, resolver: &Arc<dyn Resolver>) -> Arc<SharedUpstream> {
        Arc::new(SharedUpstream::new(for_copies(plan), None, Arc::clone(resolver), clock::now()))
    }

    /// The mirror of a route, with the upstream of each index; `None` if its upstream is unknown, which a checked plan
    /// excludes.
    #[must_use]
    pub(crate) fn new(
        route: &Arc<str>,
        written: &Arc<plan::Mirror>,
        group: impl Fn(usize) -> Option<Arc<SharedUpstream>>,
        queue: mpsc::Sender<Copy>,
    ) -> Option<Self> {
        let compare = written.compare.as_ref();
        Some(Self {
            route: Arc::clone(route),
            plan: Arc::clone(written),
            target: group(written.upstream)?,
            noise: compare.and_then(|compare| compare.noise_from).and_then(&group),
            counts: Counts::default(),
            report: compare.map(|compare| Mutex::new(ComparisonReport::new(compare))),
            in_flight: AtomicUsize::new(0),
            queue,
        })
    }

    /// Whether the other mirror has the same route and configuration.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let noise = |mirror: &Self| mirror.noise.as_ref().map(|group| group.plan.clone());
        let (mut one, mut two) = ((*self.plan).clone(), (*other.plan).clone());
        // Compares upstreams by content, because a reload may have changed the indices.
        (one.upstream, two.upstream) = (0, 0);
        for compare in [&mut one, &mut two].into_iter().filter_map(|plan| plan.compare.as_mut()) {
            compare.noise_from = None;
        }
        self.route == other.route && one == two && self.target.plan == other.target.plan && noise(self) == noise(other)
    }

    /// The number of copies in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The number of compared pairs since the mirror was created, and of those that differed; `None`: responses are not
    /// compared.
    #[must_use]
    pub(crate) fn compared(&self) -> Option<(u64, u64)> {
        self.report.as_ref().map(|report| report.lock().totals())
    }

    /// Samples a request: `Some` if it was drawn, its method is mirrored, and a slot is free.
    #[must_use]
    pub(crate) fn sample(self: &Arc<Self>, draft: &UpstreamRequest, ex: &Exchange) -> Option<Sampled> {
        let is_drawn = self.plan.share.takes(ex.dice);
        if !is_drawn || draft.switches.is_some() || !self.plan.methods.contains(&draft.method) {
            return None;
        }
        let one_more = |now: usize| (now < self.plan.in_flight_max).then(|| now + 1);
        if self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            self.counts.busy.up();
            return None;
        }
        let slot = Slot(Arc::clone(self));
        if let Some(source) = &draft.source {
            let most = self.plan.body_bytes_max;
            if source.length().is_some_and(|length| length > most as u64) {
                self.counts.body.up();
                return None;
            }
            source.keep(most);
        }
        let (method, target) = (draft.method.clone(), draft.target.clone());
        Some(Sampled { slot, method, target, headers: draft.headers.compact(), source: draft.source.clone() })
    }
}

impl Sampled {
    /// Sends the copy when the response begins. Returns the response for the client.
    #[must_use]
    pub(crate) fn send(self, answer: Answer, ex: &Exchange) -> Answer {
        let mirror = Arc::clone(&self.slot.0);
        let mut headers = self.headers;
        let body = match &self.source {
            None => None,
            Some(source) => match source.content().filter(|pieces| length(pieces) <= mirror.plan.body_bytes_max) {
                Some(pieces) => Some(pieces),
                None => {
                    mirror.counts.body.up();
                    return answer;
                }
            },
        };
        headers.drop_known(KnownSet::of(&[Known::Expect, Known::TransferEncoding, Known::Trailer]));
        if let Some(body) = &body {
            headers.set(Known::ContentLength, length(body).to_string());
        }
        headers.set(&FOREBAY_MIRROR, "1");
        let request = CopiedRequest { method: self.method, target: self.target, headers, body };
        let at_ms = u64::try_from(ex.started.wall.as_millis()).unwrap_or(u64::MAX);
        let (sender, ours) = match &mirror.report {
            Some(_) => {
                let (sender, ours) = oneshot::channel();
                (Some(sender), Some(ours))
            }
            None => (None, None),
        };
        if mirror.queue.try_send(Copy { slot: self.slot, request, at_ms, ours }).is_err() {
            mirror.counts.late.up();
            return answer;
        }
        match sender {
            Some(sender) => tee::watch(answer, mirror.plan.body_bytes_max, sender),
            None => answer,
        }
    }
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// The upstream as used for copies: without retries, outlier ejection, health checks, queue and limits.
fn for_copies(plan: &Upstream) -> Upstream {
    let mut for_copies = plan.clone();
    for_copies.retry.attempts = 0;
    for_copies.ejection.consecutive_failures = 0;
    (for_copies.health, for_copies.queue) = (None, None);
    for_copies.backends.iter_mut().for_each(|backend| backend.max_in_flight = None);
    for_copies
}
