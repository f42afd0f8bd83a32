//! A route's mirror: which requests are copied, how many at once, and what has become of the copies.
//!
//! On the way of a request nothing is done but to draw, to take a seat, and to hand the copy to another thread; who finds
//! no seat is not copied. Sending is done in `shadow`.

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
use super::tee::{self, Seen};
use crate::config::plan::{self, Upstream};
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::telemetry::counters::Counter;
use crate::upstream::resolver::Resolver;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::shared::SharedUpstream;
use crate::upstream::upload::ReplayBody;

/// Marks a copy, so that whoever gets it can tell.
pub(crate) static FOREBAY_MIRROR: HeaderName = HeaderName::from_static("forebay-mirror");

/// A route's mirror, as all threads share it.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// The route.
    pub route: Arc<str>,
    /// What the file says.
    pub plan: Arc<plan::Mirror>,
    /// Where copies go: connections, standing and counts of its own, whoever else asks the same backends.
    pub target: Arc<SharedUpstream>,
    /// Who is asked a second time, to see what differs anyway.
    pub noise: Option<Arc<SharedUpstream>>,
    /// What has become of the copies.
    pub counts: Counts,
    /// What comparing has shown; `None`: nothing is compared.
    pub findings: Option<Mutex<ComparisonReport>>,
    in_flight: AtomicUsize,
    queue: mpsc::Sender<Copy>,
}

/// What has become of copies.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Sent.
    pub sent: Counter,
    /// Not answered: refused, reset, broken off.
    pub failed: Counter,
    /// Not answered in time.
    pub timed_out: Counter,
    /// Not made, as too many were under way.
    pub busy: Counter,
    /// Not made, as the request's body is too long, or was not read to its end.
    pub body: Counter,
    /// Not sent, as the thread that does it could take no more.
    pub late: Counter,
}

/// A seat that a copy holds until it is over. Gives it back on drop.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Mirror>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A copy on its way.
#[derive(Debug)]
pub(crate) struct Copy {
    /// Its seat, and so its mirror.
    seat: Seat,
    /// The request.
    pub request: CopiedRequest,
    /// When the client's answer began (the epoch's time), in milliseconds.
    pub at_ms: u64,
    /// What the client gets, when that is known; `None`: nothing is compared.
    pub ours: Option<oneshot::Receiver<Seen>>,
}

impl Copy {
    /// The mirror that it is for.
    #[must_use]
    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.seat.0
    }
}

/// A request that is to be copied when its answer begins.
#[derive(Debug)]
pub(crate) struct Sampled {
    seat: Seat,
    method: Method,
    target: Uri,
    headers: Fields,
    source: Option<Rc<ReplayBody>>,
}

impl Mirror {
    /// An upstream as copies see it.
    #[must_use]
    pub(crate) fn group(plan: &Upstream, resolver: &Arc<dyn Resolver>) -> Arc<SharedUpstream> {
        Arc::new(SharedUpstream::new(apart(plan), None, Arc::clone(resolver), clock::now()))
    }

    /// A route's mirror, by the upstream of each index; `None`: it leads nowhere, which a checked plan rules out.
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
            findings: compare.map(|compare| Mutex::new(ComparisonReport::new(compare))),
            in_flight: AtomicUsize::new(0),
            queue,
        })
    }

    /// Whether the other is for the same route, and would do the same.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let noise = |mirror: &Self| mirror.noise.as_ref().map(|group| group.plan.clone());
        let (mut one, mut two) = ((*self.plan).clone(), (*other.plan).clone());
        // Upstreams are told apart by what they are: a reload may have moved them.
        (one.upstream, two.upstream) = (0, 0);
        for compare in [&mut one, &mut two].into_iter().filter_map(|plan| plan.compare.as_mut()) {
            compare.noise_from = None;
        }
        self.route == other.route && one == two && self.target.plan == other.target.plan && noise(self) == noise(other)
    }

    /// Copies under way.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many pairs of answers were compared since it is there, and how many of them differed; `None`: none is
    /// compared.
    #[must_use]
    pub(crate) fn compared(&self) -> Option<(u64, u64)> {
        self.findings.as_ref().map(|findings| findings.lock().totals())
    }

    /// Whether this request is copied: drawn, of a method that is, with a seat free.
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
        let seat = Seat(Arc::clone(self));
        if let Some(source) = &draft.source {
            let most = self.plan.body_bytes_max;
            if source.length().is_some_and(|length| length > most as u64) {
                self.counts.body.up();
                return None;
            }
            source.keep(most);
        }
        let (method, target) = (draft.method.clone(), draft.target.clone());
        Some(Sampled { seat, method, target, headers: draft.headers.compact(), source: draft.source.clone() })
    }
}

impl Sampled {
    /// The answer has begun: the copy goes out. What comes back is the answer as it was.
    #[must_use]
    pub(crate) fn send(self, answer: Answer, ex: &Exchange) -> Answer {
        let mirror = Arc::clone(&self.seat.0);
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
        let (sender, ours) = match &mirror.findings {
            Some(_) => {
                let (sender, ours) = oneshot::channel();
                (Some(sender), Some(ours))
            }
            None => (None, None),
        };
        if mirror.queue.try_send(Copy { seat: self.seat, request, at_ms, ours }).is_err() {
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

/// The upstream as copies see it: each is sent once, and nothing is held against anybody.
fn apart(plan: &Upstream) -> Upstream {
    let mut apart = plan.clone();
    apart.retry.attempts = 0;
    apart.ejection.consecutive_failures = 0;
    (apart.health, apart.queue) = (None, None);
    apart.backends.iter_mut().for_each(|backend| backend.max_in_flight = None);
    apart
}
