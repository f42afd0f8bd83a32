//! What is to be done about a request on a route that caches: the facts that `policy::course` decides by.

use std::sync::Arc;

use http::Method;
use http_body::Body as _;
use policy::cache::key::{Key, Target};
use policy::course::{self, Bypass, Conditions, Mode, Pending, Queueable, Read, ReadFacts, Write, WriteFacts};
use policy::message::cache_control::RequestDirectives;
use policy::message::conditions::asks_the_origin;

use super::admit::Admitted;
use super::enqueue;
use super::invalidation::line;
use super::routing;
use super::way::{Queue, Way};
use crate::cache::serve::Wanted;
use crate::config::plan::CacheMode;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::upstream::send::UpstreamRequest;
use crate::write_queue::WriteQueue;
use crate::write_queue::queue::PendingContent;
use crate::write_queue::read;

/// What is to be done about a request, with what that takes.
pub(super) enum Course<'a> {
    /// It is answered.
    Answer(Box<Answer>),
    /// It is refused.
    Refuse(ProxyError),
    /// It is looked up under this key.
    Lookup(Key),
    /// It is forwarded past the cache.
    Forward { is_pending: bool },
    /// It is forwarded, and what it changes is invalidated. The key: what a GET with its fields would be looked up by.
    Invalidate(UpstreamRequest, Option<Key>),
    /// It is forwarded, and what it has written is stored.
    WriteThrough(UpstreamRequest, Option<Key>),
    /// It is queued here.
    Enqueue(Queue<'a>, UpstreamRequest),
    /// It is forwarded in its turn, behind what is pending here.
    WaitTurn(&'a Arc<WriteQueue>, UpstreamRequest),
}

/// What is pending for the URI of a read.
enum PendingRead {
    /// Nothing.
    Nothing,
    /// A write that says what the read gets: this.
    Readable(Box<Answer>),
    /// A write that only the backend can read.
    Unreadable,
}

/// Decides about a request whose method is safe.
pub(super) fn read<'a>(way: &Way<'a>, ex: &mut Exchange, admitted: &Admitted, target: &Target<'_>) -> Course<'a> {
    let head = &ex.head;
    let pending = pending(way, ex, target);
    let key = Key::of_request(way.space(), &head.method, target, &head.fields, has_body(ex));
    let facts = ReadFacts {
        method: &head.method,
        pending: match &pending {
            PendingRead::Nothing => Pending::Nothing,
            PendingRead::Readable(_) => Pending::Readable,
            PendingRead::Unreadable => Pending::Unreadable,
        },
        has_body: key.is_none(),
        switches: admitted.switches.is_some(),
        asks_the_origin: asks_the_origin(&head.fields),
        only_if_cached: RequestDirectives::of(&head.fields).only_if_cached,
    };
    let course = course::read(&facts);
    ex.cache_status = course.cache_status();
    match (course, key, pending) {
        (Read::Lookup, Some(key), _) => Course::Lookup(key),
        (Read::AnswerPending, _, PendingRead::Readable(answer)) => Course::Answer(answer),
        (Read::RefuseOnlyIfCached, ..) => Course::Refuse(ProxyError::OnlyIfCached),
        (Read::Forward(Bypass::Pending), ..) => Course::Forward { is_pending: true },
        (Read::Forward(_) | Read::Lookup | Read::AnswerPending, ..) => Course::Forward { is_pending: false },
    }
}

/// Decides about a request that may change something.
///
/// # Errors
/// [`ProxyError::BadRequest`] when its rewritten target is none.
pub(super) fn write<'a>(
    way: &Way<'a>,
    ex: &mut Exchange,
    admitted: &Admitted,
    target: &Target<'_>,
) -> Result<Course<'a>, ProxyError> {
    // Before the route's changes to the fields, as for a GET.
    let key = key_of_content(way, ex, target);
    let draft = routing::draft(way.site, way.route, &way.onward.group, (ex, admitted))?;
    let found = way.desk().map_or(PendingContent::Clean, |desk| desk.find(line(way.caching, target).bytes()));
    let queue = way.queue();
    let (queueable, (conditions, seq)) = match queue {
        Some(queue) => (enqueue::queueable(&draft, queue.back), enqueue::judged(&draft, &found, ex)),
        None => (Queueable::No, (Conditions::Absent, 0)),
    };
    let facts = WriteFacts {
        mode: match (&way.caching.rules.mode, queue) {
            (_, Some(_)) => Mode::Back,
            (CacheMode::Through, None) => Mode::Through,
            (CacheMode::Aside | CacheMode::Back(_), None) => Mode::Aside,
        },
        is_pending: !matches!(found, PendingContent::Clean),
        switches: draft.switches.is_some(),
        queueable,
        conditions,
    };
    let course = course::write(&facts);
    ex.cache_status = Some(course.cache_status());
    Ok(match (course, queue, way.site.desk()) {
        (Write::Through, ..) => Course::WriteThrough(draft, key),
        (Write::Enqueue, Some(queue), _) => Course::Enqueue(queue, draft),
        (Write::WaitTurn, _, Some(desk)) => Course::WaitTurn(desk, draft),
        (Write::RefuseCondition, ..) => Course::Answer(Box::new(enqueue::failed(seq))),
        (Write::RefuseOrder, ..) => Course::Refuse(ProxyError::BadRequest("forebay-write is through, or not there")),
        // Without a journal nothing is queued, nor pending.
        (Write::Invalidate | Write::Enqueue | Write::WaitTurn, ..) => Course::Invalidate(draft, key),
    })
}

/// What is pending for a read.
fn pending(way: &Way<'_>, ex: &Exchange, target: &Target<'_>) -> PendingRead {
    let head = &ex.head;
    let Some(desk) = way.desk().filter(|_| matches!(head.method, Method::GET | Method::HEAD)) else {
        return PendingRead::Nothing;
    };
    let (seq, queued) = match desk.find(line(way.caching, target).bytes()) {
        PendingContent::Clean => return PendingRead::Nothing,
        PendingContent::Opaque => return PendingRead::Unreadable,
        PendingContent::Dirty(seq, queued) => (seq, queued),
    };
    let Some(write) = queued.unpack().filter(|write| read::may_read(write, &head.fields)) else {
        return PendingRead::Unreadable;
    };
    let wanted = Wanted { method: &head.method, headers: &head.fields, dice: ex.dice };
    let mut answer = read::serve(&wanted, &write, &queued.tag(), ex.started);
    read::mark(&mut answer, seq);
    PendingRead::Readable(Box::new(answer))
}

/// The key of what a PUT or POST may bring for GETs to come. `None`: nothing, as where the backend sees another query
/// than the key holds.
fn key_of_content(way: &Way<'_>, ex: &Exchange, target: &Target<'_>) -> Option<Key> {
    let space = way.space();
    let is_settled = || space.rules.query(target.query()).as_deref() == target.query();
    matches!(ex.head.method, Method::PUT | Method::POST)
        .then(|| Key::of_request(space, &Method::GET, target, &ex.head.fields, false))
        .flatten()
        .filter(|_| is_settled())
}

fn has_body(ex: &Exchange) -> bool {
    ex.body.as_ref().is_some_and(|body| !body.is_end_stream())
}
