//! A write that the cache follows, sent by a client on a route that writes through or by the flusher: forwarded first;
//! then what it wrote is stored, if that is what is there now.
//!
//! What becomes of the entry is `policy::cache::written`'s to say, and whether a write was alone `policy::cache::overlap`'s;
//! the contract is `docs/write-modes.md`.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use message::{Fields, Known};
use policy::cache::facts::RequestFacts;
use policy::cache::invalidation::invalidated;
use policy::cache::key::{Key, Target};
use policy::cache::overlap::Writer;
use policy::cache::written::{self, StoreChange, WriteEnd, WrittenResponse};
use policy::message::cache_status::{CacheStatus, Forward, Handling};
use policy::message::vary::Choice;
use policy::time::Now;

use super::invalidation::{Outgoing, Underway, ended, invalidate_others, invalidate_target, line};
use super::target::RouteTarget;
use super::worker_state::WorkerState;
use crate::cache::coalesce::{FetchKey, Lead};
use crate::cache::entry::{Entry, StoredContent, cost};
use crate::cache::fill::{self, Asked};
use crate::cache::{self, Caching};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::upload::ReplayBody;

/// The longest content that is kept to be stored when its length is not told beforehand, in bytes: room is taken for
/// all of it at once.
const UNTOLD_BYTES_MAX: u64 = 1 << 20;

/// The content of a PUT, kept while it goes out, and the room that it will take.
struct Keeping {
    lead: Lead,
    reserved: u64,
    /// `None`: there is no content.
    source: Option<Rc<ReplayBody>>,
}

impl Keeping {
    /// Keeps the content, if it may be stored and there is room.
    fn begin(caching: &Caching, key: Key, draft: &UpstreamRequest) -> Option<Self> {
        let longest = caching.limits.object_bytes_max;
        let length = match &draft.source {
            Some(source) => source.length().unwrap_or(UNTOLD_BYTES_MAX.min(longest)),
            None => 0,
        };
        let is_authorized = draft.headers.has(Known::Authorization);
        let errand = FetchKey { key, choice: Choice::default(), is_authorized, range: None };
        let lead = Lead::alone(&caching.store, errand);
        let reserved = cost(length);
        if length > longest || !lead.reserve(reserved) {
            return None;
        }
        if let Some(source) = &draft.source {
            source.keep(usize::try_from(length).unwrap_or(usize::MAX));
        }
        Some(Self { lead, reserved, source: draft.source.clone() })
    }

    /// The content, arranged to be stored; `None`: not all of it went out, or it was not kept.
    fn content(&self) -> Option<StoredContent> {
        let pieces = self.source.as_ref().map_or_else(|| Some(Vec::new()), |source| source.content())?;
        Some(StoredContent::gather(pieces, false))
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.lead.release(self.reserved);
    }
}

/// A write, as it matters for what it leaves behind.
struct Written<'a> {
    site: &'a WorkerState,
    caching: &'a Caching,
    target: &'a Target<'static>,
    /// The target in absolute form.
    uri: Uri,
    /// What a GET with its fields would be looked up by; `None`: it would not be.
    key: Option<Key>,
    method: Method,
    headers: Fields,
    sent: Now,
    writer: Writer,
}

/// What has been done about what was written.
enum Done {
    /// All there is to do.
    All { is_stored: bool },
    /// Room has been made for the answer's content: it is to be taken in.
    Awaits(Lead),
}

/// Where a write goes, and the cache that follows it.
#[derive(Clone, Copy)]
pub(super) struct Through<'a> {
    pub(super) site: &'a WorkerState,
    pub(super) onward: &'a Rc<RouteTarget>,
    pub(super) caching: &'a Rc<Caching>,
}

/// Forwards a write, and lets the cache follow before the client is answered. `key`: what a GET with its fields would be
/// looked up by; without one nothing of it is stored.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub(super) async fn write(
    Through { site, onward, caching }: Through<'_>,
    ex: &mut Exchange,
    outgoing: Outgoing<'_>,
    key: Option<Key>,
) -> Result<Answer, ProxyError> {
    let Outgoing { draft, target, writer } = outgoing;
    let uri = target.to_string().parse::<Uri>().map_err(|_| ProxyError::BadRequest("invalid target"))?;
    let (method, headers) = (draft.method.clone(), draft.headers.clone());
    let underway = Underway::begin(site, outgoing);
    let keeping = match &key {
        Some(key) if method == Method::PUT => Keeping::begin(caching, key.clone(), draft),
        Some(_) | None => None,
    };
    let written = Written { site, caching, target, uri, key, method, headers, sent: clock::now(), writer };
    let answered = onward.forward(ex, draft).await;
    let received = clock::now();
    let (ended, sends) = (ended(&answered, ex), ex.record.sends);
    // Copied before the lock is taken.
    let is_done = answered.as_ref().is_ok_and(|answer| answer.status.is_success());
    let kept = keeping.filter(|_| is_done).and_then(|keeping| Some((keeping.content()?, keeping)));
    let done = underway.end(ended, is_done, |is_alone| {
        let end = match &answered {
            Ok(answer) => WriteEnd::Answered { status: answer.status, headers: &answer.fields, received },
            Err(_) if sends == 0 => WriteEnd::Unsent,
            Err(_) => WriteEnd::Unknown,
        };
        written.follow(kept, is_alone, end)
    });
    let answer = answered?;
    match done {
        Done::All { is_stored } => {
            if is_stored {
                let handling =
                    Handling::Forwarded { why: Forward::Method, status: None, stored: true, collapsed: false };
                ex.cache_status = Some(CacheStatus::new(handling));
            }
            Ok(answer)
        }
        Done::Awaits(lead) => Ok(written.take(ex, caching, lead, answer)),
    }
}

impl Written<'_> {
    /// Changes what is stored, now that the write has ended.
    fn follow(&self, kept: Option<(StoredContent, Keeping)>, is_alone: bool, end: WriteEnd<'_>) -> Done {
        let (status, answer) = match end {
            WriteEnd::Answered { status, headers, .. } => (Some(status), Some(headers)),
            WriteEnd::Unknown | WriteEnd::Unsent => (None, None),
        };
        if let (Some(status), Some(answer)) = (status, answer) {
            // The target itself is changed below.
            for other in invalidated(&self.method, self.target, status, answer).into_iter().skip(1) {
                invalidate_target(self.site, &other);
            }
        }
        let rules = &self.caching.rules;
        let rules =
            written::WriteRules { ttl: &rules.ttl, exceptions: rules.exceptions, tags_headers: &rules.tags_headers };
        let write = written::SentWrite {
            method: &self.method,
            target: &self.uri,
            headers: &self.headers,
            is_alone,
            is_queued: matches!(self.writer, Writer::Flush(_)),
        };
        match written::after(&write, end, rules) {
            StoreChange::Stay => Done::All { is_stored: false },
            StoreChange::Forget => {
                invalidate_target(self.site, self.target);
                Done::All { is_stored: false }
            }
            StoreChange::Store(stored) => match stored.content {
                written::WrittenContent::Request => Done::All { is_stored: self.store(kept, *stored) },
                written::WrittenContent::Answer => {
                    drop(kept);
                    invalidate_target(self.site, self.target);
                    self.lead(&stored).map_or(Done::All { is_stored: false }, Done::Awaits)
                }
            },
        }
    }

    /// Stores the request's content, if all of it was kept; what was there goes in any case.
    fn store(&self, kept: Option<(StoredContent, Keeping)>, stored: WrittenResponse) -> bool {
        let own = line(self.caching, self.target);
        let received = clock::now();
        let entry = kept.and_then(|(content, keeping)| {
            let facts = RequestFacts::of(&Method::GET, &self.uri, &self.headers, false);
            let asked = Asked { facts, headers: &self.headers, sent: self.sent };
            let head = fill::written(&self.caching.rules, &asked, stored, received).ok()?;
            Some((Entry { head: Arc::new(head), content }, keeping))
        });
        let Some((entry, mut keeping)) = entry else {
            invalidate_target(self.site, self.target);
            return false;
        };
        invalidate_others(self.site, self.target, &own);
        keeping.lead.replace(&own, entry, std::mem::take(&mut keeping.reserved))
    }

    /// A place for the answer's content. What can't be kept without a guess is not.
    fn lead(&self, stored: &WrittenResponse) -> Option<Lead> {
        stored.lifetime?;
        let is_authorized = self.headers.has(Known::Authorization);
        let errand = FetchKey { key: self.key.clone()?, choice: Choice::default(), is_authorized, range: None };
        Some(Lead::alone(&self.caching.store, errand))
    }

    /// Takes in an answer whose content is the representation, as an answer 200 to GET would be.
    fn take(&self, ex: &mut Exchange, caching: &Rc<Caching>, lead: Lead, mut answer: Answer) -> Answer {
        let status = std::mem::replace(&mut answer.status, StatusCode::OK);
        let facts = RequestFacts::of(&Method::GET, &self.uri, &self.headers, false);
        let asked = Asked { facts, headers: &self.headers, sent: self.sent };
        let mut answer = cache::take_led(ex, caching, lead, &asked, answer);
        answer.status = status;
        answer
    }
}
