//! A write on a route that keeps writes: into the journal where that may be, else through, in order behind what is there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use policy::cache::key::{Key, Space, Target};
use policy::cache::overlap::Writer;
use policy::message::conditions::{self, Dates, Outcome, Role, Selected};
use policy::message::etag::EntityTag;
use policy::write::kept;
use policy::write::record::Write;

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
use crate::writeback::read;
use crate::writeback::take::{FOREBAY_WRITE, Taken, take};

/// What a body may be longer by than what is kept of it, so that it can go through all the same: one read.
const READ_BYTES: usize = 256 * 1024;

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
        let asked = draft.headers.remove(&FOREBAY_WRITE);
        match asked.as_ref().map(HeaderValue::as_bytes) {
            None => {}
            Some(b"through") => return self.through(ex, draft, &line).await,
            Some(_) => return Err(Fault::BadRequest("forebay-write is through, or not there")),
        }
        let is_queued = matches!(draft.method, Method::PUT | Method::DELETE) || back.queue.contains(&draft.method);
        if !is_queued || kept::hindrance(&draft.headers, &back.keep_headers).is_some() {
            return self.through(ex, draft, &line).await;
        }
        if conditions::asks_the_origin(&draft.headers) || draft.headers.contains_key(http::header::IF_NONE_MATCH) {
            let Found::Dirty(seq, write) = self.desk.find(line.bytes()) else {
                return self.through(ex, draft, &line).await;
            };
            if !holds(&draft, &write, ex) {
                let mut answer = Answer::new(Body::default());
                *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
                read::mark(&mut answer, seq);
                return Ok(answer);
            }
        }
        let body = match content(ex, &draft, back).await? {
            Some(body) => body,
            None => return self.through(ex, draft, &line).await,
        };
        let write = Write {
            route: self.route.into(),
            upstream: (&*self.onward.group.name).into(),
            key: line.bytes().into(),
            method: draft.method.clone(),
            target: draft.target.to_string().into(),
            headers: kept::kept(&draft.headers, &back.keep_headers),
            body: body.to_vec(),
            accepted: ex.started.wall,
        };
        if !self.desk.has_room(self.route, (write.body.len() + write.key.len()) as u64) {
            return self.through(ex, with_body(self.site, draft, body), &line).await;
        }
        match take(self.desk, write, back.durability).await {
            Taken::Queued(answer) => {
                // What is stored under its own key went when reads began to see the write. By now its backend may have
                // it, and what it wrote may be stored anew.
                cached::forget_others(self.site, &self.target, &line);
                self.site.counters.writes_accepted.up();
                Ok(answer)
            }
            Taken::Failed(failed) => match back.on_disk_error {
                OnDiskError::Refuse => {
                    self.site.counters.writes_refused.up();
                    Err(Fault::Journal { reason: failed.to_string().into() })
                }
                OnDiskError::Through => self.through(ex, with_body(self.site, draft, body), &line).await,
            },
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
        answer.headers_mut().insert(FOREBAY_WRITE.clone(), HeaderValue::from_static("through"));
        self.caching.hide_tags(answer.headers_mut());
        Ok(answer)
    }
}

/// The write's content; `None`: it is too long to be kept.
async fn content(ex: &mut Exchange, draft: &Draft, back: &WriteBack) -> Result<Option<Bytes>, Fault> {
    let Some(source) = &draft.source else { return Ok(Some(Bytes::new())) };
    let most = usize::try_from(back.body_bytes_max).unwrap_or(usize::MAX);
    if source.length().is_some_and(|length| length > back.body_bytes_max) {
        return Ok(None);
    }
    source.keep(most.saturating_add(READ_BYTES));
    source.release();
    let mut upload = source.upload();
    let mut content = BytesMut::new();
    loop {
        let next = pin!(poll_fn(|cx| Pin::new(&mut upload).poll_frame(cx)));
        let until = clock::mono() + source.limits().stall_max;
        let frame = match ex.connection.deadline.wait(until, next).await {
            Ok(Some(frame)) => frame?,
            Ok(None) => return Ok(Some(content.freeze())),
            Err(_expired) => return Err(Fault::BodyTooSlow),
        };
        let Ok(piece) = frame.into_data() else { continue };
        content.extend_from_slice(&piece);
        if content.len() > most {
            return Ok(None);
        }
    }
}

/// The same request, with a content that has been read already.
fn with_body(site: &Site, draft: Draft, body: Bytes) -> Draft {
    let Some(source) = &draft.source else { return draft };
    let limits = Limits { bytes_max: None, ..source.limits() };
    let source = Some(Rc::new(Source::whole(body, limits, Arc::clone(&site.counters))));
    Draft { source, ..draft }
}

/// Whether a write's conditions hold for what the last write of its URI has left (RFC 9110 §13.2.2).
fn holds(draft: &Draft, last: &Arc<Write>, ex: &Exchange) -> bool {
    let entry = read::entry(last, ex.started);
    let headers = &entry.head.headers;
    let is_there = last.method != Method::DELETE;
    let status = StatusCode::OK;
    let selected = Selected::of(status, headers, ex.started.wall);
    if !is_there {
        // Nothing is there: whatever must match does not, whatever must not does not either.
        return !draft.headers.contains_key(http::header::IF_MATCH);
    }
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
    match desk.find(line.bytes()) {
        Found::Clean => None,
        Found::Opaque => Some(Pending::Ask),
        Found::Dirty(seq, write) if read::is_readers(&write, wanted.headers) => {
            Some(Pending::Answer(read::serve(wanted, (seq, &write), ex.started)))
        }
        Found::Dirty(_, _) => Some(Pending::Ask),
    }
}
