//! Taking in a response: to the client and into the store at once.
//!
//! A task of its own fetches the body, at the pace of the reader that is furthest and not much ahead of it. The client
//! reads along like anybody else, so that its leaving stops nothing.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, DATE, IF_RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use policy::cache::facts::{RequestFacts, ResponseFacts};
use policy::cache::partial::Part;
use policy::cache::storable::{Extent, storable};
use policy::cache::{freshness, headers as fields};
use policy::message::dates;
use policy::message::vary::Vary;
use policy::time::Now;

use super::entry::{Content, Entry, Head, compact, cost};
use super::fetch::Caching;
use super::flight::Lead;
use super::growth::{Appetite, Bounds, Growth};
use crate::config::plan::RouteCache;
use crate::exchange::Answer;
use crate::exchange::body::Flow;
use crate::exchange::deadline::{Deadline, attended};
use crate::exchange::fault::Fault;

/// A body of unknown length takes room in steps of this many bytes.
const STEP_BYTES: u64 = 64 * 1024;

/// What was asked, as far as it matters for storing what comes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request.
    pub facts: RequestFacts<'a>,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// When it went out.
    pub sent: Now,
}

/// Why a response was not stored: the detail of `Cache-Status`.
pub type Reason = &'static str;

/// What became of a response.
#[derive(Debug)]
pub enum Taken {
    /// It is, or will be, stored; the entry can be served at once, and these fields are for the one who asked alone.
    Stored(Entry, HeaderMap),
    /// It is for the one who asked.
    Passed(Box<Answer>, Reason),
}

/// Takes in a response if it may be stored, and lets all who wait read along.
#[must_use]
pub fn take(caching: &Caching, asked: &Asked<'_>, lead: Lead, (answer, now): (Answer, Now)) -> Taken {
    let mut taken = judge(caching, asked, lead, (answer, now));
    if let Taken::Passed(answer, _) = &mut taken {
        caching.hide_tags(answer.headers_mut());
    }
    taken
}

fn judge(caching: &Caching, asked: &Asked<'_>, mut lead: Lead, (answer, now): (Answer, Now)) -> Taken {
    let (head, withheld) = match head(&caching.rules, asked, &answer, now) {
        Ok((head, withheld)) => (Arc::new(head), withheld),
        Err(reason) => {
            lead.unshared();
            return Taken::Passed(Box::new(answer), reason);
        }
    };
    let length = http_body::Body::size_hint(answer.body()).exact();
    let object_bytes_max = caching.limits.object_bytes_max;
    let reserved = length.map_or(STEP_BYTES, |length| cost(usize::try_from(length).unwrap_or(usize::MAX)));
    let refused = if length.is_some_and(|length| length > object_bytes_max) {
        Some("too-large")
    } else if lead.reserve(reserved) {
        None
    } else {
        Some("memory")
    };
    if let Some(reason) = refused {
        lead.unshared();
        return Taken::Passed(Box::new(answer), reason);
    }
    let is_shared = is_shared(&head, now);
    if !is_shared {
        lead.unshared();
    }
    let Some(flow) = answer.into_body().into_flow() else {
        let entry = Entry { head, content: Content::One(Bytes::new()) };
        lead.shared(&entry);
        lead.store_whole(entry.clone(), reserved);
        return Taken::Stored(entry, withheld);
    };
    let limits = &caching.limits;
    let bounds = Bounds { lead_bytes_max: limits.lead_bytes_max, lag_bytes_max: object_bytes_max };
    let growth = Arc::new(Growth::new(length, bounds));
    let entry = Entry { head: Arc::clone(&head), content: Content::Growing(Arc::clone(&growth)) };
    lead.shared(&entry);
    let fill = Fill { lead, head, growth, received: 0, reserved, is_kept: true, object_bytes_max };
    tokio::task::spawn_local(run(flow, fill));
    Taken::Stored(entry, withheld)
}

/// Whether those who asked meanwhile may have it too: if it is fresh, as if it had been stored a moment ago.
pub(super) fn is_shared(head: &Head, now: Now) -> bool {
    head.stored().freshness(now).is_fresh() && !head.facts.directives.no_cache.is_whole()
}

/// The head to store, and the fields that are not stored because a directive names them.
///
/// # Errors
/// Why there is none.
pub fn head(rules: &RouteCache, asked: &Asked<'_>, answer: &Answer, now: Now) -> Result<(Head, HeaderMap), Reason> {
    let facts = ResponseFacts::of(answer.status(), answer.headers(), now);
    let lifetime = freshness::lifetime(&facts, &rules.ttl);
    let is_part = match storable(&asked.facts, &facts, lifetime, rules.exceptions) {
        Ok(Extent::Whole) => false,
        Ok(Extent::Part(part)) if is_all(part, asked.headers, answer) => true,
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
    let vary = Vary::of(answer.headers());
    let choice = vary.choice(asked.headers).ok_or("vary-star")?;
    let mut headers = fields::stored(answer.headers());
    let tags = take_tags(rules, &mut headers);
    let withheld = fields::withhold(&mut headers, &facts.directives);
    let is_dated = headers.get(DATE).is_some_and(|date| dates::read(date.as_bytes(), now.wall).is_some());
    if !is_dated && let Ok(date) = HeaderValue::try_from(date(now)) {
        headers.insert(DATE, date);
    }
    let status = if is_part { StatusCode::OK } else { answer.status() };
    if is_part {
        headers.remove(CONTENT_RANGE);
    }
    let head = Head {
        status,
        headers: compact(&headers),
        age_on_arrival: freshness::age_on_arrival(&facts, asked.sent, now),
        facts,
        lifetime,
        received: now,
        vary,
        choice,
        tags,
    };
    Ok((head, withheld))
}

/// Whether a 206 is a 200 in all but name (RFC 9110 §15.3.7.3), as when players ask for `bytes=0-`. After `If-Range` it
/// may lack fields that the client has already, and a body of unknown length might turn out shorter.
fn is_all(part: Part, request: &HeaderMap, answer: &Answer) -> bool {
    let length = http_body::Body::size_hint(answer.body()).exact();
    part.is_whole() && length == Some(part.complete()) && !request.contains_key(IF_RANGE)
}

/// Adds what was withheld from the store to the answer of the one who asked, where that has no such fields itself.
pub(super) fn give(answer: &mut Answer, withheld: &HeaderMap) {
    let headers = answer.headers_mut();
    for name in withheld.keys().filter(|name| !headers.contains_key(*name)).collect::<Vec<_>>() {
        for value in withheld.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// A moment as `Date` writes it.
pub(super) fn date(now: Now) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + now.wall)
}

/// Tags are for us: the client does not see them.
fn take_tags(rules: &RouteCache, headers: &mut HeaderMap) -> Box<[Box<str>]> {
    let mut tags: Vec<Box<str>> = Vec::new();
    for name in &rules.tags_headers {
        let is_separator = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let words = headers.get_all(name).into_iter().flat_map(|line| line.as_bytes().split(is_separator));
        tags.extend(
            words.filter(|word| !word.is_empty()).filter_map(|word| std::str::from_utf8(word).ok()).map(Box::from),
        );
        headers.remove(name);
    }
    tags.into()
}

/// A body on its way into the store, and to all who read along.
struct Fill {
    lead: Lead,
    head: Arc<Head>,
    growth: Arc<Growth>,
    received: u64,
    /// What is taken of the store's room.
    reserved: u64,
    /// It will be stored, unless it breaks.
    is_kept: bool,
    object_bytes_max: u64,
}

async fn run(mut flow: Flow, fill: Fill) {
    let deadline = Rc::new(Deadline::default());
    flow.as_mut().wait_under(&deadline);
    attended(&deadline, pour(flow, fill)).await;
}

async fn pour(mut flow: Flow, mut fill: Fill) {
    loop {
        let appetite = poll_fn(|cx| match fill.growth.poll_appetite(cx) {
            Appetite::Sated => Poll::Pending,
            appetite @ (Appetite::Hungry | Appetite::Gone) => Poll::Ready(appetite),
        });
        if appetite.await == Appetite::Gone {
            return;
        }
        match poll_fn(|cx| flow.as_mut().poll_frame(cx)).await {
            None => return fill.finish(None, None),
            Some(Err(fault)) => return fill.growth.fail(fault),
            Some(Ok(frame)) => match frame.into_data() {
                // With the last piece the end is there, too: whoever has read it finds the whole stored.
                Ok(piece) if flow.is_end_stream() => return fill.finish(Some(&piece), None),
                Ok(piece) => fill.push(&piece),
                Err(frame) => return fill.finish(None, frame.into_trailers().ok()),
            },
        }
    }
}

impl Fill {
    /// A copy: the piece itself is part of the buffer that it was read into, and would keep all of that.
    fn push(&mut self, piece: &Bytes) {
        self.received += piece.len() as u64;
        self.make_room();
        self.growth.push(Bytes::copy_from_slice(piece));
    }

    fn make_room(&mut self) {
        let is_small = self.received <= self.object_bytes_max;
        if !self.is_kept || (is_small && self.received <= self.reserved) {
            return;
        }
        let more = self.received.saturating_sub(self.reserved).next_multiple_of(STEP_BYTES);
        if is_small && self.lead.reserve(more) {
            self.reserved += more;
        } else {
            self.is_kept = false;
            self.lead.release(std::mem::take(&mut self.reserved));
            self.lead.outgrown();
            self.growth.keep_no_more();
        }
    }

    /// The body is whole.
    fn finish(mut self, last: Option<&Bytes>, trailers: Option<HeaderMap>) {
        let last = last.map(|piece| Bytes::copy_from_slice(piece));
        self.received += last.as_ref().map_or(0, |piece| piece.len() as u64);
        self.make_room();
        if std::mem::take(&mut self.is_kept) {
            let pieces = self.growth.pieces().into_iter().chain(last.clone()).collect();
            let entry = Entry { head: Arc::clone(&self.head), content: Content::gather(pieces) };
            self.lead.store_whole(entry, std::mem::take(&mut self.reserved));
        }
        self.growth.finish(last, trailers);
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.reserved > 0 {
            self.lead.release(self.reserved);
        }
        // If it has ended already, that stands.
        self.growth.fail(Fault::FetchBroken);
    }
}
