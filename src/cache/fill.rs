//! Taking in a response: to the client and into the store at once.
//!
//! A task of its own fetches the body, at the pace of the reader that is furthest and not much ahead of it. The client
//! reads along like anybody else, so that its leaving stops nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use message::{Field, Fields, Known};
use policy::cache::facts::{RequestFacts, ResponseFacts};
use policy::cache::freshness::Lifetime;
use policy::cache::lookup::is_error;
use policy::cache::partial::{Part, is_resumable};
use policy::cache::storable::{Extent, storable};
use policy::cache::stored::Stored;
use policy::cache::{freshness, headers as fields, written};
use policy::message::vary::Vary;
use policy::time::Now;

use super::coalesce::Lead;
use super::entry::{Blocks, Entry, HANDLE_BYTES, StoredContent, cost};
use super::head::{StoredHead, add_date};
use super::origin::Caching;
use super::partial;
use super::streaming::{Appetite, Bounds, StreamingContent};
use crate::config::plan::RouteCache;
use crate::exchange::Answer;
use crate::exchange::body::Flow;
use crate::exchange::deadline::{Deadline, attended};
use crate::exchange::error::ProxyError;
use crate::telemetry::clock;

/// How long a reader that is too far behind, and can get the rest nowhere else, may hold the others.
const HELD_MAX: Duration = Duration::from_secs(2);
/// What a piece of a growing body costs beside its bytes: its place in a queue that may be half empty.
const PIECE_BYTES: u64 = 2 * HANDLE_BYTES;
/// A body of unknown length takes room in steps of this many bytes.
const STEP_BYTES: u64 = 64 * 1024;

/// What was asked, as far as it matters for storing what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The request.
    pub facts: RequestFacts<'a>,
    /// Its fields.
    pub headers: &'a Fields,
    /// When it went out.
    pub sent: Now,
}

/// Why a response was not stored: the detail of `Cache-Status`.
pub(crate) type Reason = &'static str;

/// What became of a response.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is, or will be, stored; the entry can be served at once, and these fields are for the one who asked alone.
    Stored(Entry, Fields),
    /// It is for the one who asked.
    Passed(Box<Answer>, Reason),
}

/// Takes in a response if it may be stored, and lets all who wait read along.
#[must_use]
pub(crate) fn take(caching: &Caching, asked: &Asked<'_>, lead: Lead, answer: Answer, now: Now) -> Taken {
    let mut taken = judge(caching, asked, lead, answer, now);
    if let Taken::Passed(answer, _) = &mut taken {
        caching.hide_tags(&mut answer.fields);
    }
    taken
}

fn judge(caching: &Caching, asked: &Asked<'_>, mut lead: Lead, answer: Answer, now: Now) -> Taken {
    let (head, withheld) = match head(&caching.rules, asked, &answer, now) {
        Ok((head, withheld)) => (Arc::new(head), withheld),
        Err(reason) => {
            if is_error(answer.status) {
                lead.unshared_now();
            } else {
                lead.unshared();
            }
            return Taken::Passed(Box::new(answer), reason);
        }
    };
    let part_bytes = head.part().map(|part| part.range().bytes());
    let length = part_bytes.or(http_body::Body::size_hint(&answer.body).exact());
    let object_bytes_max = caching.limits.object_bytes_max;
    let is_large = length.is_some_and(|length| length > object_bytes_max);
    if is_large && !is_read_through(&mut lead, &head, length, now) {
        return Taken::Passed(Box::new(answer), "too-large");
    }
    let reserved = length.filter(|_| !is_large).map_or(STEP_BYTES, cost);
    if !lead.reserve(reserved) {
        lead.unshared_now();
        return Taken::Passed(Box::new(answer), "memory");
    }
    if (part_bytes.is_some() && !lead.is_of_range()) || !is_shared(&head, now) {
        lead.unshared();
    }
    let Some(flow) = answer.body.into_flow() else {
        let entry = Entry { head, content: StoredContent::One(Bytes::new()) };
        lead.shared(&entry);
        lead.store_whole(entry.clone(), reserved);
        return Taken::Stored(entry, withheld);
    };
    let mut flow = match part_bytes {
        Some(bytes) => partial::exactly(flow, bytes),
        None => flow,
    };
    let limits = &caching.limits;
    // One who comes when it is about to outgrow the store has some time to catch up.
    let lag_bytes_max = object_bytes_max.saturating_add(limits.fetch_ahead_bytes_max);
    let is_resumable = is_resumable(head.status(), &head.fields, now.wall);
    let bounds = Bounds { fetch_ahead_bytes_max: limits.fetch_ahead_bytes_max, lag_bytes_max, is_resumable };
    let growth = Arc::new(StreamingContent::new(length, bounds));
    let entry = Entry { head: Arc::clone(&head), content: StoredContent::Growing(Arc::clone(&growth)) };
    lead.shared(&entry);
    let blocks = Blocks::new(length);
    let fill = Fill { lead, head, growth, blocks, received: 0, taken: 0, reserved, is_kept: true, object_bytes_max };
    let deadline = Rc::new(Deadline::default());
    // At once: when the task begins, the client's own deadline may be that of its next request.
    flow.as_mut().wait_under(&deadline);
    tokio::task::spawn_local(async move { attended(&deadline, pour(flow, fill, &deadline)).await });
    Taken::Stored(entry, withheld)
}

/// Whether those who wait now read along from what is too long to be stored. If not, they have been told to go on.
fn is_read_through(lead: &mut Lead, head: &StoredHead, length: Option<u64>, now: Now) -> bool {
    if head.part().is_none()
        && let Some(length) = length
    {
        lead.note_length(length);
    }
    // A reader that falls behind must be able to go on by itself.
    let is_for_all = head.part().is_none() && is_resumable(head.status(), &head.fields, now.wall);
    if !is_for_all || !is_shared(head, now) {
        lead.unshared();
        return false;
    }
    let is_awaited = lead.is_awaited();
    if !is_awaited {
        // The next ones may find company.
        lead.unshared_now();
    }
    is_awaited
}

/// Whether those who asked meanwhile may have it too: if it is fresh, as if it had been stored a moment ago.
pub(super) fn is_shared(head: &StoredHead, now: Now) -> bool {
    head.stored.freshness(now).is_fresh() && !head.stored.is_no_cache()
}

/// The head to store, and the fields that are not stored because a directive names them.
///
/// # Errors
/// Why there is none.
pub(crate) fn head(
    rules: &RouteCache,
    asked: &Asked<'_>,
    answer: &Answer,
    now: Now,
) -> Result<(StoredHead, Fields), Reason> {
    let mut facts = ResponseFacts::of(answer.status, &answer.fields, now);
    let lifetime = freshness::lifetime(&facts, &rules.ttl);
    let mut status = answer.status;
    match storable(&asked.facts, &facts, lifetime, rules.exceptions) {
        Ok(Extent::Whole) => {}
        Ok(Extent::Part(part)) if is_all(part, asked.headers, answer) => status = StatusCode::OK,
        Ok(Extent::Part(_)) if is_part_told(asked, &answer.fields) => {}
        Ok(Extent::Part(_)) => return Err("partial"),
        Err(refusal) => return Err(refusal.word()),
    };
    let is_useless = lifetime.is_none_or(|lifetime| lifetime.duration.is_zero())
        && !facts.has_validator
        && facts.directives.stale_while_revalidate.is_none()
        && facts.directives.stale_if_error.is_none();
    if is_useless {
        return Err("no-freshness");
    }
    let mut headers = fields::stored(&answer.fields);
    if status != answer.status {
        headers.drop_known(Known::ContentRange);
        (facts.status, facts.part) = (status, None);
    }
    assemble(rules, asked, Storable { headers, facts, lifetime }, now)
}

/// The head of what a write has left at its target, as `policy::cache::written` says.
///
/// # Errors
/// Why there is none.
pub(crate) fn written(
    rules: &RouteCache,
    asked: &Asked<'_>,
    stored: written::WrittenResponse,
    now: Now,
) -> Result<StoredHead, Reason> {
    let written::WrittenResponse { headers, facts, lifetime, content: _ } = stored;
    let (head, _for_the_writer) = assemble(rules, asked, Storable { headers, facts, lifetime }, now)?;
    Ok(head)
}

/// A response that was found fit to be stored.
struct Storable {
    /// Without those that are never stored.
    headers: Fields,
    facts: ResponseFacts,
    lifetime: Option<Lifetime>,
}

/// Makes the head that is stored, and returns with it the fields that are withheld from the store.
fn assemble(
    rules: &RouteCache,
    asked: &Asked<'_>,
    Storable { mut headers, facts, lifetime }: Storable,
    now: Now,
) -> Result<(StoredHead, Fields), Reason> {
    let vary = Vary::of(&headers);
    let choice = vary.choice(asked.headers).ok_or("vary-star")?;
    let tags = take_tags(rules, &mut headers);
    let fields::Divided { stored: mut headers, withheld } = fields::withhold(headers, &facts.directives);
    add_date(&mut headers, now);
    let age_on_arrival = freshness::age_on_arrival(&facts, asked.sent, now);
    let stored = Stored::new(&facts, lifetime, age_on_arrival, now);
    let head =
        StoredHead::new(headers.compact(), stored).with_part(facts.part).with_variance(vary, choice).with_tags(tags);
    Ok((head, withheld))
}

/// Whether a 206 is a 200 in all but name (RFC 9110 §15.3.7.3), as when players ask for `bytes=0-`. After `If-Range` it
/// may lack fields that the client has already, and a body of unknown length might turn out shorter.
fn is_all(part: Part, request: &Fields, answer: &Answer) -> bool {
    let length = http_body::Body::size_hint(&answer.body).exact();
    part.is_whole() && length == Some(part.complete()) && !request.has(Known::IfRange)
}

/// Adds what was withheld from the store to the answer of the one who asked, where that has no such fields itself.
pub(super) fn give(answer: &mut Answer, withheld: &Fields) {
    let of_answer = answer.fields.tags();
    let is_there = |field: &Field<'_>| of_answer.contains(field.known) && answer.fields.contains(field.name);
    let lacking: Vec<_> = withheld.iter().filter(|field| !is_there(field)).collect();
    answer.fields.extend(lacking.into_iter().map(|field| (field.name, field.value)));
}

/// Gives the client the cookies of an origin's answer whose other fields went into a stored response: they replace those
/// that the stored response has.
pub(super) fn give_cookies(answer: &mut Answer, of_origin: &Fields) {
    if of_origin.has(Known::SetCookie) {
        answer.fields.drop_known(Known::SetCookie);
        of_origin.values(Known::SetCookie).for_each(|cookie| answer.fields.append(Known::SetCookie, cookie));
    }
}

/// Whether a part was asked for, and is told of in full: to `If-Range` an origin need not send the fields that the client
/// has already, and most that leave some out leave out `StoredContent-Type` (RFC 9110 §15.3.7).
fn is_part_told(asked: &Asked<'_>, answer: &Fields) -> bool {
    let is_asked_for = *asked.facts.method == Method::GET && asked.headers.has(Known::Range);
    is_asked_for && (!asked.headers.has(Known::IfRange) || answer.has(Known::ContentType))
}

/// Tags are for us: the client does not see them.
fn take_tags(rules: &RouteCache, headers: &mut Fields) -> Box<[Box<str>]> {
    let mut tags: Vec<Box<str>> = Vec::new();
    for name in &rules.tags_headers {
        let is_separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let words = headers.values(name).flat_map(|line| line.split(is_separator));
        tags.extend(
            words.filter(|word| !word.is_empty()).filter_map(|word| std::str::from_utf8(word).ok()).map(Box::from),
        );
        headers.drop_named(name);
    }
    tags.into()
}

/// A body on its way into the store, and to all who read along.
struct Fill {
    lead: Lead,
    head: Arc<StoredHead>,
    growth: Arc<StreamingContent>,
    blocks: Blocks,
    received: u64,
    /// What the pieces that have come cost, in bytes.
    taken: u64,
    /// What is taken of the store's room.
    reserved: u64,
    /// It will be stored, unless it breaks.
    is_kept: bool,
    object_bytes_max: u64,
}

async fn pour(mut flow: Flow, mut fill: Fill, deadline: &Deadline) {
    while is_wanted(&fill.growth, deadline).await {
        match poll_fn(|cx| flow.as_mut().poll_frame(cx)).await {
            None => return fill.finish(None, None),
            Some(Err(fault)) => {
                fill.keep_beginning();
                return fill.growth.fail(fault);
            }
            Some(Ok(frame)) => match frame.into_data() {
                // With the last piece the end is there, too: whoever has read it finds the whole stored.
                Ok(piece) if flow.is_end_stream() => return fill.finish(Some(&piece), None),
                Ok(piece) => fill.push(&piece),
                Err(frame) => return fill.finish(None, frame.into_trailers().ok().map(Fields::from)),
            },
        }
    }
}

/// Waits until more is wanted. `false`: nobody wants any more.
async fn is_wanted(growth: &StreamingContent, deadline: &Deadline) -> bool {
    loop {
        let appetite = poll_fn(|cx| match growth.poll_appetite(cx) {
            Appetite::Sated => Poll::Pending,
            appetite @ (Appetite::Hungry | Appetite::Gone | Appetite::Held) => Poll::Ready(appetite),
        });
        match appetite.await {
            Appetite::Hungry => return true,
            Appetite::Gone => return false,
            Appetite::Sated | Appetite::Held => {}
        }
        let moves = pin!(poll_fn(|cx| match growth.poll_appetite(cx) {
            Appetite::Held => Poll::Pending,
            Appetite::Hungry | Appetite::Gone | Appetite::Sated => Poll::Ready(()),
        }));
        if deadline.wait(clock::mono().saturating_add(HELD_MAX), moves).await.is_err() {
            growth.leave_out();
        }
    }
}

impl Fill {
    /// A copy: the piece itself is part of the buffer that it was read into, and would keep all of that.
    fn push(&mut self, piece: &Bytes) {
        self.make_room(piece.len());
        self.growth.push(self.blocks.copy(piece));
    }

    /// For so many more bytes. What they cost counts, not how many they are: a body can come byte by byte.
    fn make_room(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.taken += bytes as u64 + PIECE_BYTES;
        let is_small = self.received <= self.object_bytes_max;
        if !self.is_kept || (is_small && self.taken <= self.reserved) {
            return;
        }
        let more = self.taken.saturating_sub(self.reserved).next_multiple_of(STEP_BYTES);
        if is_small && self.lead.reserve(more) {
            self.reserved += more;
        } else {
            self.is_kept = false;
            self.lead.release(std::mem::take(&mut self.reserved));
            if self.growth.length().is_some() {
                self.lead.closed();
            } else {
                self.lead.outgrown();
            }
            self.growth.keep_no_more();
        }
    }

    /// The body is whole.
    fn finish(mut self, last: Option<&Bytes>, trailers: Option<Fields>) {
        let last = last.map(|piece| self.blocks.copy(piece)).unwrap_or_default();
        self.make_room(last.iter().map(Bytes::len).sum());
        if std::mem::take(&mut self.is_kept) {
            let pieces = self.growth.pieces().into_iter().chain(last.iter().cloned()).collect();
            let entry = Entry {
                head: Arc::clone(&self.head),
                content: StoredContent::gather(pieces, self.growth.length().is_some()),
            };
            self.store(entry);
        }
        self.growth.finish(last, trailers);
    }

    /// It broke off: what has come is of use if the rest can be asked for later.
    fn keep_beginning(&mut self) {
        if std::mem::take(&mut self.is_kept)
            && let Some(entry) = partial::cut_off(&self.head, self.growth.pieces())
        {
            self.store(entry);
        }
    }

    fn store(&mut self, entry: Entry) {
        let entry = partial::grown(self.lead.store(), self.lead.key(), entry, self.object_bytes_max);
        self.lead.store_whole(entry, std::mem::take(&mut self.reserved));
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.keep_beginning();
        if self.reserved > 0 {
            self.lead.release(self.reserved);
        }
        // If it has ended already, that stands.
        self.growth.fail(ProxyError::FetchBroken);
    }
}
