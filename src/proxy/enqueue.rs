//! A write on a route that queues writes: into the journal where that may be, else on to its turn.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;
use message::Known;
use policy::cache::key::Target;
use policy::course::{Conditions, Queueable};
use policy::message::conditions::{self, Dates, Evaluation, Role, Selected};
use policy::message::etag::EntityTag;
use policy::write::record::{Packing, Write};
use policy::write::retained;

use super::invalidation::{invalidate_others, line};
use super::way::{Queue, Way};
use super::worker_state::WorkerState;
use crate::config::plan::{OnDiskError, WriteBack};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::upload::{Limits, ReplayBody};
use crate::write_queue::commands::Failed;
use crate::write_queue::enqueue::{FOREBAY_WRITE, Terms, enqueue};
use crate::write_queue::queue::PendingContent;
use crate::write_queue::queued::Queued;
use crate::write_queue::read;
use crate::write_queue::reservation::Reservation;

/// Room for content of unknown length is set aside in steps of this, and of a quarter of what has come.
const STEP_BYTES: usize = 64 * 1024;

/// Whether a write may be queued.
pub(super) fn queueable(draft: &UpstreamRequest, back: &WriteBack) -> Queueable {
    match draft.headers.first(&FOREBAY_WRITE) {
        Some(b"through") => return Queueable::No,
        Some(_) => return Queueable::BadOrder,
        None => {}
    }
    let is_queued = matches!(draft.method, Method::PUT | Method::DELETE) || back.queue.contains(&draft.method);
    let is_hindered = || retained::not_queueable(&draft.headers, &back.keep_headers).is_some();
    if is_queued && !is_hindered() { Queueable::Yes } else { Queueable::No }
}

/// What a write's conditions come to, and the number of the pending write that they were judged on.
pub(super) fn judged(draft: &UpstreamRequest, found: &PendingContent, ex: &Exchange) -> (Conditions, u64) {
    if !conditions::asks_the_origin(&draft.headers) && !draft.headers.has(Known::IfNoneMatch) {
        return (Conditions::Absent, 0);
    }
    match found {
        PendingContent::Dirty(seq, last) if holds(draft, last, ex) => (Conditions::Hold, *seq),
        PendingContent::Dirty(seq, _) => (Conditions::Fail, *seq),
        PendingContent::Clean | PendingContent::Opaque => (Conditions::Unknown, 0),
    }
}

/// The answer to a write whose conditions fail on the pending write of this number.
pub(super) fn failed(seq: u64) -> Answer {
    let mut answer = Answer { status: StatusCode::PRECONDITION_FAILED, ..Answer::default() };
    read::mark(&mut answer, seq);
    answer
}

/// What has come of a write that was to be queued.
pub(super) enum Enqueued {
    /// It is in the journal: its answer.
    Accepted(Answer),
    /// There is no room, or the journal can't take it: it goes on to its turn. What has come of its content keeps its room
    /// until it is sent.
    MustWait(UpstreamRequest, Option<Reservation>),
}

/// A write that is to be queued.
pub(super) struct Enqueue<'a> {
    pub(super) way: &'a Way<'a>,
    pub(super) queue: Queue<'a>,
    pub(super) target: &'a Target<'static>,
}

impl Enqueue<'_> {
    /// Takes in the content of a write, and puts it into the journal.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub(super) async fn enqueue(&self, ex: &mut Exchange, draft: UpstreamRequest) -> Result<Enqueued, ProxyError> {
        let head = Write {
            route: (&*self.way.route.name).into(),
            upstream: (&*self.way.onward.group.name).into(),
            key: line(self.way.caching, self.target).bytes().into(),
            method: draft.method.clone(),
            target: draft.target.to_string().into(),
            headers: retained::retained(&draft.headers, &self.queue.back.keep_headers),
            body: Bytes::new(),
            accepted: ex.started.wall,
        };
        match self.receive(ex, &draft, head).await? {
            Received::Whole(queued, room) => self.submit(ex, draft, queued, room).await,
            Received::Part(room) => Ok(Enqueued::MustWait(draft, room)),
        }
    }

    /// Puts a write into the journal.
    async fn submit(
        &self,
        ex: &mut Exchange,
        draft: UpstreamRequest,
        queued: Arc<Queued>,
        room: Reservation,
    ) -> Result<Enqueued, ProxyError> {
        let (site, back) = (self.way.site, self.queue.back);
        let is_tagged = draft.method == Method::PUT;
        let terms = Terms { durability: back.durability, wait_max: back.ack_timeout, is_tagged };
        let failed = match enqueue(self.queue.desk, &ex.stream.deadline, Arc::clone(&queued), room, terms).await {
            Ok(answer) => {
                // What is stored under its own key went when reads began to see the write. By now its backend may have
                // it, and what it wrote may be stored anew.
                invalidate_others(site, self.target, &line(self.way.caching, self.target));
                site.counters.writes_accepted.up();
                return Ok(Enqueued::Accepted(answer));
            }
            Err(failed) => failed,
        };
        let goes_through = match &failed {
            Failed::Behind => true,
            Failed::Io(_) | Failed::Closed => back.on_disk_error == OnDiskError::Through,
            // It may be in the journal; behind it nothing goes before that is known.
            Failed::Late => false,
        };
        if goes_through && let Some(write) = queued.unpack() {
            return Ok(Enqueued::MustWait(with_body(site, draft, write.body), None));
        }
        site.counters.writes_refused.up();
        Err(ProxyError::Journal { reason: failed.to_string().into() })
    }

    /// Takes in the content of a write, if there is room for it.
    async fn receive(&self, ex: &Exchange, draft: &UpstreamRequest, head: Write) -> Result<Received, ProxyError> {
        let length = draft.source.as_ref().map_or(Some(0), |source| source.length());
        let known = length.unwrap_or(0);
        let most = usize::try_from(self.queue.back.body_bytes_max).unwrap_or(usize::MAX);
        let (Ok(place), true) = (usize::try_from(known), known <= self.queue.back.body_bytes_max) else {
            return Ok(Received::Part(None));
        };
        let Some(mut room) = self.queue.desk.reserve(&head, known) else { return Ok(Received::Part(None)) };
        let mut packing = Packing::begin(&head, place);
        let Some(source) = &draft.source else { return Ok(Received::whole(packing, room)) };
        source.keep_none();
        source.release();
        let mut upload = source.upload(clock::mono());
        loop {
            let next = pin!(poll_fn(|cx| Pin::new(&mut upload).poll_frame(cx)));
            let until = clock::mono() + source.limits().stall_max;
            let frame = match ex.stream.deadline.wait(until, next).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(Received::whole(packing, room)),
                Err(_expired) => return Err(ProxyError::BodyTooSlow),
            };
            let Ok(piece) = frame.into_data() else { continue };
            if packing.content_bytes() + piece.len() > most || !has_place(&mut packing, &mut room, piece.len()) {
                source.put_back([packing.into_content(), piece]);
                return Ok(Received::Part(Some(room)));
            }
            packing.put(&piece);
        }
    }
}

/// What has come of a write's content.
enum Received {
    /// All.
    Whole(Arc<Queued>, Reservation),
    /// Nothing, or as much as there was room for: it is sent before the rest.
    Part(Option<Reservation>),
}

impl Received {
    fn whole(packing: Packing, mut room: Reservation) -> Self {
        let spare = packing.place() as u64;
        let packed = packing.finish();
        room.shrink(spare);
        Self::Whole(Arc::new(Queued::new(packed)), room)
    }
}

/// Whether there is place for so much more content, or room to make it.
fn has_place(packing: &mut Packing, room: &mut Reservation, bytes: usize) -> bool {
    if packing.place() >= bytes {
        return true;
    }
    let step = bytes.max(STEP_BYTES).max(packing.content_bytes() / 4);
    let has_room = room.grow(step as u64);
    if has_room {
        packing.widen(step);
    }
    has_room
}

/// The same request, with a content that has been read already.
fn with_body(site: &WorkerState, draft: UpstreamRequest, body: Bytes) -> UpstreamRequest {
    let Some(source) = &draft.source else { return draft };
    let limits = Limits { bytes_max: None, ..source.limits() };
    let source = Some(Rc::new(ReplayBody::whole(body, limits, Arc::clone(&site.counters))));
    UpstreamRequest { source, ..draft }
}

/// Whether a write's conditions hold for what the last write of its URI has left (RFC 9110 §13.2.2).
fn holds(draft: &UpstreamRequest, last: &Arc<Queued>, ex: &Exchange) -> bool {
    let Some(write) = last.unpack() else { return false };
    if write.method == Method::DELETE {
        // Nothing is there: whatever must match does not, whatever must not does not either.
        return !draft.headers.has(Known::IfMatch);
    }
    let entry = read::entry(&write, &last.tag(), ex.started);
    let headers = &entry.head.fields;
    let selected = Selected::of(StatusCode::OK, headers, ex.started.wall);
    let dates = Dates::of(&draft.headers, ex.started.wall);
    debug_assert!(EntityTag::of(headers).is_some());
    conditions::evaluate(Role::Origin, &draft.method, &draft.headers, dates, &selected)
        != Evaluation::PreconditionFailed
}
