//! A write on a route that keeps writes: into the journal where that may be, else through, in order behind what is there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;
use message::Known;
use policy::cache::key::{Key, Space, Target};
use policy::cache::overlap::Writer;
use policy::message::conditions::{self, Dates, Outcome, Role, Selected};
use policy::message::etag::EntityTag;
use policy::write::kept;
use policy::write::record::{Packing, Write};

use super::cached;
use super::onward::Onward;
use super::site::Site;
use super::through::Outgoing;
use crate::config::plan::{OnDiskError, WriteBack};
use crate::exchange::body::Body;
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};
use crate::observe::clock;
use crate::store::Caching;
use crate::upstream::send::Draft;
use crate::upstream::upload::{Limits, Source};
use crate::writeback::desk::{Desk, Found};
use crate::writeback::journal::Failed;
use crate::writeback::queued::Queued;
use crate::writeback::read;
use crate::writeback::submit::Reservation;
use crate::writeback::take::{FOREBAY_WRITE, Terms, take};

/// Room for content of unknown length is set aside in steps of this, and of a quarter of what has come.
const STEP_BYTES: usize = 64 * 1024;

/// The URI that a write's order is kept by.
#[must_use]
pub fn line(caching: &Caching, target: &Target<'_>) -> Key {
    Key::of_uri(Space { name: &caching.space, rules: &caching.rules.key }, target)
}

/// A write on its way: what it is about, and where it may go.
pub struct Writing<'a> {
    /// The plan.
    pub site: &'a Site,
    /// What is pending.
    pub desk: &'a Arc<Desk>,
    /// The route's name.
    pub route: &'a str,
    /// How the route caches.
    pub caching: &'a Rc<Caching>,
    /// Where it leads.
    pub onward: &'a Rc<Onward>,
    /// How it keeps writes; `None`: it does so no more, but some are still pending.
    pub back: Option<&'a WriteBack>,
    /// What is written.
    pub target: Target<'static>,
}

impl Writing<'_> {
    /// Takes a write, or lets it through.
    ///
    /// # Errors
    /// What the client is to be told instead of an answer.
    pub async fn answer(&self, ex: &mut Exchange, mut draft: Draft) -> Result<Answer, Fault> {
        let line = line(self.caching, &self.target);
        let Some(back) = self.back else { return self.through(ex, draft, &line).await };
        match draft.headers.first(&FOREBAY_WRITE).map(|order| order == b"through") {
            None => {}
            Some(true) => {
                draft.headers.drop_named(&FOREBAY_WRITE);
                return self.through(ex, draft, &line).await;
            }
            Some(false) => return Err(Fault::BadRequest("forebay-write is through, or not there")),
        }
        let is_queued = matches!(draft.method, Method::PUT | Method::DELETE) || back.queue.contains(&draft.method);
        if !is_queued || kept::hindrance(&draft.headers, &back.keep_headers).is_some() {
            return self.through(ex, draft, &line).await;
        }
        if conditions::asks_the_origin(&draft.headers) || draft.headers.has(Known::IfNoneMatch) {
            let Found::Dirty(seq, last) = self.desk.find(line.bytes()) else {
                return self.through(ex, draft, &line).await;
            };
            if !holds(&draft, &last, ex) {
                let mut answer = Answer::new(Body::default());
                answer.status = StatusCode::PRECONDITION_FAILED;
                read::mark(&mut answer, seq);
                return Ok(answer);
            }
        }
        let head = Write {
            route: self.route.into(),
            upstream: (&*self.onward.group.name).into(),
            key: line.bytes().into(),
            method: draft.method.clone(),
            target: draft.target.to_string().into(),
            headers: kept::kept(&draft.headers, &back.keep_headers),
            body: Bytes::new(),
            accepted: ex.started.wall,
        };
        match self.receive(ex, &draft, head, back).await? {
            Received::Whole(queued, room) => self.queue(ex, draft, (queued, room), back).await,
            // What has come of it takes its room until it is sent.
            Received::Part(_room) => self.through(ex, draft, &line).await,
        }
    }

    /// Puts a write into the journal, and answers it.
    async fn queue(
        &self,
        ex: &mut Exchange,
        draft: Draft,
        (queued, room): (Arc<Queued>, Reservation),
        back: &WriteBack,
    ) -> Result<Answer, Fault> {
        let is_tagged = draft.method == Method::PUT;
        let terms = Terms { durability: back.durability, wait_max: back.ack_timeout, is_tagged };
        let failed = match take(self.desk, &ex.connection.deadline, (Arc::clone(&queued), room), terms).await {
            Ok(answer) => {
                // What is stored under its own key went when reads began to see the write. By now its backend may have
                // it, and what it wrote may be stored anew.
                cached::forget_others(self.site, &self.target, &line(self.caching, &self.target));
                self.site.counters.writes_accepted.up();
                return Ok(answer);
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
            return self.through(ex, with_body(self.site, draft, write.body), &line(self.caching, &self.target)).await;
        }
        self.site.counters.writes_refused.up();
        Err(Fault::Journal { reason: failed.to_string().into() })
    }

    /// Takes in the content of a write, if there is room for it.
    async fn receive(&self, ex: &Exchange, draft: &Draft, head: Write, back: &WriteBack) -> Result<Received, Fault> {
        let length = draft.source.as_ref().map_or(Some(0), |source| source.length());
        let known = length.unwrap_or(0);
        let most = usize::try_from(back.body_bytes_max).unwrap_or(usize::MAX);
        let (Ok(place), true) = (usize::try_from(known), known <= back.body_bytes_max) else {
            return Ok(Received::Part(None));
        };
        let Some(mut room) = self.desk.reserve(&head, known) else { return Ok(Received::Part(None)) };
        let mut packing = Packing::begin(&head, place);
        let Some(source) = &draft.source else { return Ok(Received::whole(packing, room)) };
        source.keep_none();
        source.release();
        let mut upload = source.upload(clock::mono());
        loop {
            let next = pin!(poll_fn(|cx| Pin::new(&mut upload).poll_frame(cx)));
            let until = clock::mono() + source.limits().stall_max;
            let frame = match ex.connection.deadline.wait(until, next).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Ok(Received::whole(packing, room)),
                Err(_expired) => return Err(Fault::BodyTooSlow),
            };
            let Ok(piece) = frame.into_data() else { continue };
            if packing.content_bytes() + piece.len() > most || !has_place(&mut packing, &mut room, piece.len()) {
                source.put_back([packing.into_content(), piece]);
                return Ok(Received::Part(Some(room)));
            }
            packing.put(&piece);
        }
    }

    /// Waits until all that is pending for the URI has gone out, and forwards the write then.
    async fn through(&self, ex: &mut Exchange, draft: Draft, line: &Key) -> Result<Answer, Fault> {
        self.site.counters.writes_through.up();
        let limit = self.onward.group.shared.plan.timeouts.request;
        let turn = {
            let waiting = pin!(self.desk.wait_turn(line.bytes()));
            ex.connection.deadline.wait(ex.started.mono + limit, waiting).await
        };
        let Ok(turn) = turn else { return Err(Fault::WaitedInVain) };
        let outgoing = Outgoing { draft: &draft, target: &self.target, writer: Writer::Client };
        let answered = cached::write(self.site, self.onward, ex, outgoing).await;
        drop(turn);
        let mut answer = answered?;
        answer.fields.set(&FOREBAY_WRITE, "through");
        self.caching.hide_tags(&mut answer.fields);
        Ok(answer)
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
fn with_body(site: &Site, draft: Draft, body: Bytes) -> Draft {
    let Some(source) = &draft.source else { return draft };
    let limits = Limits { bytes_max: None, ..source.limits() };
    let source = Some(Rc::new(Source::whole(body, limits, Arc::clone(&site.counters))));
    Draft { source, ..draft }
}

/// Whether a write's conditions hold for what the last write of its URI has left (RFC 9110 §13.2.2).
fn holds(draft: &Draft, last: &Arc<Queued>, ex: &Exchange) -> bool {
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
    conditions::evaluate(Role::Origin, &draft.method, &draft.headers, dates, &selected) != Outcome::PreconditionFailed
}

/// What a read gets of a URI with writes pending; `None`: nothing of them concerns it.
pub enum Pending {
    /// The last write says all.
    Answer(Answer),
    /// Only the backend can say; the answer is to be marked.
    Ask,
}

/// What is pending for this read.
#[must_use]
pub fn pending(desk: &Desk, line: &Key, wanted: &crate::store::serve::Wanted<'_>, ex: &Exchange) -> Option<Pending> {
    let (seq, queued) = match desk.find(line.bytes()) {
        Found::Clean => return None,
        Found::Opaque => return Some(Pending::Ask),
        Found::Dirty(seq, queued) => (seq, queued),
    };
    let Some(write) = queued.unpack().filter(|write| read::is_readers(write, wanted.headers)) else {
        return Some(Pending::Ask);
    };
    let mut answer = read::serve(wanted, &write, &queued.tag(), ex.started);
    read::mark(&mut answer, seq);
    Some(Pending::Answer(answer))
}
