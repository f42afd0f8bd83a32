//! Fetching for the store: a miss, or the validation of what is stale (RFC 9111 §4.3).

use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use message::{Fields, Known};
use policy::cache::facts::{RequestFacts, ResponseFacts};
use policy::cache::lookup::{Trouble, instead_of, is_error};
use policy::cache::partial::ask_for_rest;
use policy::cache::reach::{FetchReach, is_all};
use policy::cache::validate::{self, Candidate, Confirmed, Update, freshened, may_be_chosen, refreshed};
use policy::message::cache_control::RequestDirectives;
use policy::message::cache_status::{CacheStatus, Forward, Handling};
use policy::message::conditions::{Evaluation, evaluate_stored};
use policy::message::etag::EntityTag;
use policy::message::vary::Choice;
use policy::time::Now;

use super::coalesce::{FetchKey, Lead};
use super::entry::{Entry, StoredContent};
use super::fill::{self, Asked, Taken};
use super::head::{StoredHead, add_date};
use super::memory::{FoundStored, Store};
use super::origin::{Fetch, Request};
use super::partial;
use super::resume::resumable;
use super::serve::{Wanted, read_through, serve};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;

/// A request whose answer has to be fetched.
#[derive(Debug)]
pub(crate) struct OriginFetch<F> {
    /// The request.
    pub request: Request<F>,
    /// What is stored for it, and may not be served without asking.
    pub stale: Option<Entry>,
    /// The part of it that is stored and begins it, when nothing whole is.
    pub held: Option<Entry>,
    /// Why it is sent forward.
    pub why: Forward,
    /// How much of it is fetched.
    pub reach: FetchReach,
    /// What it says of caches.
    pub directives: RequestDirectives,
    /// Who waits for it.
    pub audience: Audience,
}

/// What `Cache-Status` says.
pub(super) fn said(handling: Handling, detail: Option<&'static str>) -> CacheStatus<'static> {
    CacheStatus { detail, ..CacheStatus::new(handling) }
}

/// Who waits for what is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A client, and all who want the same.
    All,
    /// One client alone: others would not be served with it.
    One,
    /// Nobody: what is stored was served.
    Nobody,
}

impl<F> OriginFetch<F> {
    /// What the request says in the fields that are known to choose.
    pub(super) fn choice(&self) -> Choice {
        let known = |entry: &Entry| entry.head.choice(&self.request.headers);
        match &self.stale {
            Some(entry) => known(entry).unwrap_or_default(),
            None if matches!(self.why, Forward::VaryMiss | Forward::Partial) => {
                let variants = self.request.caching.store.variants(&self.request.key);
                variants.first().and_then(known).unwrap_or_default()
            }
            None => Choice::default(),
        }
    }

    pub(super) fn errand(&self, choice: Choice) -> FetchKey {
        let is_authorized = self.request.headers.has(Known::Authorization);
        let range = (self.reach == FetchReach::Range).then(|| {
            let headers = &self.request.headers;
            // All lines: of two `If-Range` the origin may take either.
            let fields = [Known::Range, Known::IfRange].into_iter().flat_map(|name| headers.values(name));
            fields.flat_map(|value| [value, b"\n"].concat()).collect()
        });
        FetchKey { key: self.request.key.clone(), choice, is_authorized, range }
    }

    /// Whether the request asks for what none should wait for, and what it should not wait for itself.
    pub(super) fn asks_alone(&self) -> bool {
        let directives = &self.directives;
        let asks_for_part = self.reach == FetchReach::Own;
        self.request.is_returning
            || directives.no_store
            || directives.no_cache
            || self.why == Forward::Request
            || asks_for_part
    }

    /// Whether the request goes to the origin as it is, with its own conditions and `Range`.
    fn goes_as_it_is(&self) -> bool {
        self.reach == FetchReach::Range || (self.audience == Audience::One && self.stale.is_none())
    }

    /// Whether a response that can only be read through is of use to the request: one that will not be stored as a
    /// whole, or of unknown length. `complete`: its length.
    pub(super) fn reads_through(&self, status: StatusCode, fields: &Fields, complete: Option<u64>, now: Now) -> bool {
        let request = &self.request.headers;
        if self.goes_as_it_is() || status != StatusCode::OK || !request.has(Known::Range) {
            return true;
        }
        match evaluate_stored(&self.request.method, request, status, fields, now.wall) {
            Evaluation::Serve => is_all(request, complete),
            Evaluation::NotModified | Evaluation::ServeWhole | Evaluation::PreconditionFailed => true,
        }
    }

    /// The same of an entry, which may be stored, or on its way into the store.
    pub(super) fn is_served_by(&self, entry: &Entry, now: Now) -> bool {
        let StoredContent::Growing(growth) = &entry.content else { return true };
        let is_kept = growth.length().is_some_and(|length| length <= self.request.caching.limits.object_bytes_max);
        is_kept || self.reads_through(entry.head.status(), &entry.head.fields, growth.length(), now)
    }

    /// What is there already, if it is of use to ask for what is lacking; and the request for that.
    fn ask_for_rest(&self, now: Now) -> Option<(Entry, Fields)> {
        // What may not be stored, or is too large for it, is better asked for as it is.
        let object_bytes_max = self.request.caching.limits.object_bytes_max;
        self.held.as_ref().filter(|_| !self.directives.no_store)?;
        let held = partial::beginning(&self.request.method, &self.request.headers, &self.stored().parts)?.clone();
        let part = held.part().filter(|part| part.complete() <= object_bytes_max)?;
        let mut headers = self.request.headers.clone();
        headers.apply_all(ask_for_rest(&held.head.fields, &part, now.wall)?);
        Some((held, headers))
    }

    /// What is stored for it now. It may have waited since it was looked up, and what a purge has taken meanwhile must not
    /// come back.
    pub(super) fn stored(&self) -> FoundStored {
        self.request.caching.store.find(&self.request.key, &self.request.headers)
    }

    pub(super) fn asked<'a>(&'a self, target: &'a Uri, sent: Now) -> Asked<'a> {
        let headers = &self.request.headers;
        Asked { facts: RequestFacts::of(&Method::GET, target, headers, false), headers, sent }
    }
}

/// What the origin has made of a request.
enum Came {
    /// It has sent what goes on to the client.
    Answer(Answer),
    /// It has sent what was lacking of this whole response.
    Rest(Answer),
    /// It says that stored responses still hold.
    Confirmed(Answer, ConfirmedEntries),
}

/// Stored responses that a 304 confirms, the newest first, and what it changes of them.
struct ConfirmedEntries {
    entries: Vec<Entry>,
    update: Update,
}

/// A request that has gone to the origin: the fetch that it leads, and when it was sent.
struct SentFetch {
    lead: Lead,
    sent: Now,
}

/// Fetches, validating what is stored if there is something; stores what comes if it may be stored.
///
/// `None`: the whole came, and the request is for a part that can't be had from that. It is to ask for itself.
///
/// # Errors
/// Why nothing came, unless a stale response stands in for it.
pub(crate) async fn fetch<F: Fetch>(
    ex: &mut Exchange,
    renewal: &OriginFetch<F>,
    lead: Lead,
) -> Result<Option<Answer>, ProxyError> {
    let sent = clock::now();
    let (answer, of_origin) = match ask(ex, renewal, sent).await {
        Ok(Came::Answer(answer)) => (answer, None),
        Ok(Came::Rest(answer)) => (answer, Some(StatusCode::PARTIAL_CONTENT)),
        Ok(Came::Confirmed(answer, confirmed)) => {
            return Ok(Some(confirm(ex, renewal, SentFetch { lead, sent }, &answer, confirmed)));
        }
        Err(fault) => {
            lead.failed(&fault);
            return instead(ex, renewal, Setback::ProxyError(&fault)).map(Some).ok_or(fault);
        }
    };
    let status = answer.status;
    if is_error(status) {
        let served = instead(ex, renewal, Setback::Status(status));
        if served.is_some() || renewal.audience == Audience::Nobody {
            lead.failed(&ProxyError::FetchBroken);
            return Ok(Some(served.unwrap_or(answer)));
        }
    }
    Ok(take(ex, renewal, SentFetch { lead, sent }, answer, of_origin))
}

/// Asks the origin: for what is lacking, whether what is stored still holds, or for the whole.
async fn ask<F: Fetch>(ex: &mut Exchange, renewal: &OriginFetch<F>, sent: Now) -> Result<Came, ProxyError> {
    let request = &renewal.request;
    if let Some((held, headers)) = renewal.ask_for_rest(sent) {
        let answer = request.fetch.fetch(ex, Method::GET, headers).await?;
        if !matches!(answer.status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) {
            return Ok(Came::Answer(answer));
        }
        return match partial::completed(&request.caching.rules, &held, answer, clock::now()) {
            Some(whole) => Ok(Came::Rest(whole)),
            None => anew(ex, request).await,
        };
    }
    let mut headers = request.headers.clone();
    if renewal.goes_as_it_is() {
        // Nothing is waited for by others or needed here: the client's own conditions and ranges are the origin's to judge.
        return Ok(Came::Answer(request.fetch.fetch(ex, Method::GET, headers).await?));
    }
    let variants = asked_about(renewal);
    let stored: Vec<&Fields> = variants.iter().map(|entry| &entry.head.fields).collect();
    let validators = validate::ask(&stored);
    headers.apply_all(validators.edits());
    let is_conditional = validators.is_conditional();
    let answer = request.fetch.fetch(ex, Method::GET, headers).await?;
    if answer.status != StatusCode::NOT_MODIFIED || !is_conditional {
        return Ok(Came::Answer(answer));
    }
    match held(&answer, &request.headers, sent, &variants) {
        Some(confirmed) => Ok(Came::Confirmed(answer, confirmed)),
        // It speaks of something that is not stored: only the whole is of use (RFC 9111 §4.3.3).
        None => anew(ex, request).await,
    }
}

/// What is asked about with the stored response that fits the request: whatever the origin may choose instead.
fn asked_about<F>(renewal: &OriginFetch<F>) -> Vec<Entry> {
    let request = &renewal.request;
    if renewal.stale.is_none() {
        return Vec::new();
    }
    let Some(stale) = renewal.stored().entry else { return Vec::new() };
    // Without a tag only its date can be asked with, and that for one response alone (RFC 9111 §4.3.1).
    if EntityTag::of(&stale.head.fields).is_none() {
        return vec![stale];
    }
    let mut variants = request.caching.store.variants(&request.key);
    variants.retain(|entry| {
        let headers = &entry.head.fields;
        // The tag of a part would be taken for that of a whole.
        entry.part().is_none() && (entry.fits(&request.headers) || may_be_chosen(headers, &stale.head.fields))
    });
    variants
}

/// Asks for the whole, whatever is stored.
async fn anew<F: Fetch>(ex: &mut Exchange, request: &Request<F>) -> Result<Came, ProxyError> {
    let mut headers = request.headers.clone();
    headers.apply_all(validate::ask(&[]).edits());
    Ok(Came::Answer(request.fetch.fetch(ex, Method::GET, headers).await?))
}

/// What came instead of something to serve.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setback<'a> {
    /// An error.
    Status(StatusCode),
    /// Nothing.
    ProxyError(&'a ProxyError),
}

/// A stale response in place of what did not come, if that is allowed (RFC 5861 §4, RFC 9111 §4.2.4).
pub(super) fn instead<F>(ex: &mut Exchange, renewal: &OriginFetch<F>, setback: Setback<'_>) -> Option<Answer> {
    let entry = renewal.stale.as_ref()?;
    let (trouble, status) = match setback {
        Setback::Status(status) => (Trouble::Error, Some(status)),
        Setback::ProxyError(fault) if fault.is_silence() => (Trouble::Silence, None),
        Setback::ProxyError(_) => (Trouble::Error, None),
    };
    let now = clock::now();
    let stored = entry.head.stored;
    let freshness = instead_of(trouble, &stored, &renewal.directives, now, renewal.request.caching.rules.stale)?;
    let handling = Handling::Forwarded { why: renewal.why, status, stored: false, collapsed: false };
    ex.cache_status = Some(said(handling, Some("stale-if-error")));
    Some(serve(&Wanted::by(ex, &renewal.request), entry, Some(freshness.age)))
}

/// Stores what came if it may be stored, and answers with it. `of_origin`: the origin's status, if it was another.
/// `None`: it is of no use to this request.
fn take<F: Fetch>(
    ex: &mut Exchange,
    renewal: &OriginFetch<F>,
    SentFetch { lead, sent }: SentFetch,
    answer: Answer,
    of_origin: Option<StatusCode>,
) -> Option<Answer> {
    let request = &renewal.request;
    let target = Uri::default();
    let store = Arc::clone(lead.store());
    let status = answer.status;
    let now = clock::now();
    let taken = fill::take(&request.caching, &renewal.asked(&target, sent), lead, answer, now);
    let why = renewal.why;
    match taken {
        Taken::Stored(entry, withheld) => {
            if let Some(old) = &renewal.stale {
                supersede(&store, renewal, old, &entry.head);
            }
            if !renewal.is_served_by(&entry, now) {
                return None;
            }
            let object_bytes_max = request.caching.limits.object_bytes_max;
            let stored = entry.content.length().is_none_or(|length| length <= object_bytes_max);
            let handling = Handling::Forwarded { why, status: of_origin, stored, collapsed: false };
            ex.cache_status = Some(said(handling, (!stored).then_some("too-large")));
            let mut answer = resumable(ex, request, &entry, serve(&Wanted::by(ex, request), &entry, None));
            fill::give(&mut answer, &withheld);
            Some(answer)
        }
        Taken::Passed(answer, reason) => {
            // What a request that asks for itself is told says nothing of what others get.
            if let Some(old) = renewal.stale.as_ref().or(renewal.held.as_ref())
                && !status.is_server_error()
                && !renewal.asks_alone()
            {
                // What is stored has been replaced by something that may not be.
                store.change(&request.key, |entry| (!Arc::ptr_eq(&entry.head, &old.head)).then(|| entry.clone()));
            }
            let handling = Handling::Forwarded { why, status: of_origin, stored: false, collapsed: false };
            let is_known_for_it = renewal.audience == Audience::One && renewal.stale.is_none() && !renewal.asks_alone();
            ex.cache_status = Some(said(handling, Some(if is_known_for_it { "hit-for-miss" } else { reason })));
            let complete = http_body::Body::size_hint(&answer.body).exact();
            if !renewal.reads_through(answer.status, &answer.fields, complete, now) {
                return None;
            }
            Some(if renewal.goes_as_it_is() { *answer } else { read_through(&Wanted::by(ex, request), *answer, now) })
        }
    }
}

/// What varies on other fields than what comes in its place would still be found first (RFC 9111 §4.1).
pub(super) fn supersede<F>(store: &Store, renewal: &OriginFetch<F>, old: &Entry, new: &StoredHead) {
    if old.head.vary() != new.vary() {
        store.change(&renewal.request.key, |entry| (!Arc::ptr_eq(&entry.head, &old.head)).then(|| entry.clone()));
    }
}

/// What a 304 confirms of the stored responses that were asked about.
fn held(answer: &Answer, request: &Fields, sent: Now, asked: &[Entry]) -> Option<ConfirmedEntries> {
    let candidates: Vec<Candidate<'_>> =
        asked.iter().map(|entry| Candidate { headers: &entry.head.fields, fits: entry.fits(request) }).collect();
    let Confirmed { places, update } = validate::confirm(&answer.fields, &candidates, sent.wall)?;
    let entries = places.into_iter().filter_map(|place| asked.get(place).cloned()).collect();
    Some(ConfirmedEntries { entries, update })
}

/// The origin says that these still hold: they are fresh again, and the newest is the answer (RFC 9111 §4.3.4).
fn confirm<F>(
    ex: &mut Exchange,
    renewal: &OriginFetch<F>,
    SentFetch { mut lead, sent }: SentFetch,
    answer: &Answer,
    ConfirmedEntries { entries, update }: ConfirmedEntries,
) -> Answer {
    let now = clock::now();
    let news = ConfirmedBy { fields: &answer.fields, update, now };
    let mut served = None;
    // The newest last, so that it stays where several have become alike.
    for entry in entries.into_iter().rev() {
        served = Some(renewed(renewal, &lead, sent, &news, entry));
    }
    let status = Some(StatusCode::NOT_MODIFIED);
    let handling = Handling::Forwarded { why: renewal.why, status, stored: false, collapsed: false };
    ex.cache_status = Some(said(handling, None));
    let Some((entry, withheld)) = served else { return Answer::default() };
    if fill::is_shared(&entry.head, now) {
        lead.shared(&entry);
    } else {
        lead.unshared();
    }
    let age = entry.head.stored.freshness(now).age;
    let mut served = serve(&Wanted::by(ex, &renewal.request), &entry, Some(age));
    fill::give(&mut served, &withheld);
    fill::give_cookies(&mut served, &answer.fields);
    served
}

/// A stored response as a 304 makes it, in its place in the store, and what of the 304 is for the one who asked alone.
fn renewed<F>(
    renewal: &OriginFetch<F>,
    lead: &Lead,
    sent: Now,
    news: &ConfirmedBy<'_>,
    entry: Entry,
) -> (Entry, Fields) {
    let request = &renewal.request;
    let target = Uri::default();
    // What is stored could be stored: who asks now, and how, does not matter for it any more.
    let nobody = Fields::new();
    let facts = RequestFacts::of(&Method::GET, &target, &nobody, false);
    let asked = Asked { facts, headers: &request.headers, sent };
    match fill::head(&request.caching.rules, &asked, &as_answer(request, &entry, news), news.now) {
        Ok((head, withheld)) => {
            let head = keeping_tags(head, &entry);
            let renewed = Entry { head: Arc::new(head), content: entry.content.clone() };
            // Nothing of an answer to `no-store` is stored, were it but a date (RFC 9111 §5.2.1.5).
            if !renewal.directives.no_store {
                if entry.fits(&request.headers) {
                    supersede(lead.store(), renewal, &entry, &renewed.head);
                }
                lead.put(renewed.clone());
            }
            (renewed, withheld)
        }
        Err(_may_not_be_stored) => {
            lead.store().change(&request.key, |old| (!Arc::ptr_eq(&old.head, &entry.head)).then(|| old.clone()));
            (entry, Fields::new())
        }
    }
}

/// The head with the tags of the response that it takes the place of, if it names none itself.
pub(super) fn keeping_tags(head: StoredHead, old: &Entry) -> StoredHead {
    if head.tags().is_empty() { head.with_tags(old.head.tags().into()) } else { head }
}

/// What an answer without content says of a stored response.
pub(super) struct ConfirmedBy<'a> {
    pub(super) fields: &'a Fields,
    pub(super) update: Update,
    /// When it came.
    pub(super) now: Now,
}

/// A stored response as an answer without content changes it (RFC 9111 §3.2), without its content.
pub(super) fn as_answer<F>(request: &Request<F>, entry: &Entry, news: &ConfirmedBy<'_>) -> Answer {
    let mut fields = news.fields.clone();
    add_date(&mut fields, news.now);
    let fields = match news.update {
        Update::Fields => freshened(&entry.head.fields, &fields),
        Update::Freshness => refreshed(&entry.head.fields, &fields),
    };
    let mut answer = Answer { status: entry.head.status(), fields, ..Answer::default() };
    if answer.fields.has(Known::SetCookie) && !shares_cookies(request, &answer, news.now) {
        answer.fields.drop_known(Known::SetCookie);
    }
    answer
}

/// Whether the cookies of a stored response are still for all clients, after a change of its fields.
fn shares_cookies<F>(request: &Request<F>, answer: &Answer, now: Now) -> bool {
    let facts = ResponseFacts::of(answer.status, &answer.fields, now);
    let is_withheld = facts.directives.withheld().any(|name| *name == http::header::SET_COOKIE);
    !is_withheld && (!facts.sets_own_cookie || request.caching.rules.exceptions.set_cookie)
}
