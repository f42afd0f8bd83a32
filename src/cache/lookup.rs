//! The way of a request that may be answered from the store: looked up, judged, and served or fetched.
//!
//! [`answer`] owns the order; what a verdict is comes from `policy::cache::lookup`.

use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use message::{Fields, Known};
use policy::cache::freshness::Freshness;
use policy::cache::key::{Key, LookupKey};
use policy::cache::lookup::{Because, LookupVerdict, lookup};
use policy::cache::reach::{FetchReach, reach};
use policy::message::cache_control::RequestDirectives;
use policy::message::cache_status::{CacheStatus, Forward, Handling};
use policy::message::vary::Choice;
use policy::time::Now;

use super::background_refresh;
use super::coalesce::{FetchKey, Joined, Lead, Patience, join};
use super::entry::{Entry, StoredContent};
use super::fetch::{self, Audience, OriginFetch, Setback, said};
use super::fetch_head;
use super::fill::{self, Asked, Taken};
use super::hit::Hit;
use super::memory::FoundStored;
use super::origin::{Caching, Fetch, Request};
use super::partial;
use super::resume::resumable;
use super::serve::{Wanted, serve, serve_whole};
use super::streaming::Reader;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;

/// Answers a request that says nothing of caches, conditions or ranges with what is stored, if that is fresh and the
/// same for everybody.
#[must_use]
pub fn at_once(ex: &mut Exchange, caching: &Caching, key: LookupKey<'_>) -> Option<Answer> {
    let (entry, freshness) = fresh(caching, key, ex.started)?;
    ex.cache_status = Some(CacheStatus { ttl_seconds: Some(ttl(freshness)), ..said(Handling::Hit, None) });
    // Nothing looks at the request's fields any more.
    let fields = std::mem::take(&mut ex.head.fields);
    Some(serve_whole(&ex.head.method, entry, freshness.age, fields))
}

/// What is stored for everybody, if it is fresh.
fn fresh(caching: &Caching, key: LookupKey<'_>, now: Now) -> Option<(Entry, Freshness)> {
    let entry = caching.store.find_plain(key)?;
    let freshness = entry.head.stored.hit(now)?;
    Some((entry, freshness))
}

/// What is stored for everybody, if it is fresh and can be served in one piece.
pub(crate) fn hit_at_once(caching: &Caching, key: LookupKey<'_>, now: Now) -> Option<Hit> {
    let (entry, freshness) = fresh(caching, key, now)?;
    Hit::of(entry, freshness)
}

/// Answers a request from the store, or by fetching, or by sharing another's fetch.
///
/// # Errors
/// Why there is no answer.
pub async fn answer<F: Fetch>(ex: &mut Exchange, request: Request<F>) -> Result<Answer, ProxyError> {
    let caching = &request.caching;
    let found = caching.store.find(&request.key, &request.headers);
    let directives = RequestDirectives::of(&request.headers);
    let part = || partial::answering(&request.method, &request.headers, &found.parts);
    let entry = found.entry.as_ref().or_else(part);
    let stored = entry.map(|entry| &entry.head.stored);
    let verdict = lookup(stored, &directives, ex.started, caching.rules.stale);
    let why = match (verdict, entry) {
        (LookupVerdict::Hit(freshness), Some(entry)) => return Ok(hit(ex, &request, entry, freshness, None)),
        (LookupVerdict::HitStale(freshness), Some(entry)) => {
            return Ok(hit(ex, &request, entry, freshness, Some("max-stale")));
        }
        (LookupVerdict::HitStaleWhileRevalidate(freshness), Some(entry)) if entry.part().is_none() => {
            let answer = hit(ex, &request, entry, freshness, Some("stale-while-revalidate"));
            background_refresh::refresh(ex, request, entry.clone());
            return Ok(answer);
        }
        (LookupVerdict::GatewayTimeout, _) => {
            ex.cache_status = Some(said(Handling::Neither, Some("only-if-cached")));
            return Err(ProxyError::OnlyIfCached);
        }
        (LookupVerdict::Revalidate(Because::Request), _) => Forward::Request,
        (
            LookupVerdict::Revalidate(Because::Stale | Because::NoCache) | LookupVerdict::HitStaleWhileRevalidate(_),
            _,
        ) => Forward::Stale,
        (_, _) if !found.parts.is_empty() => Forward::Partial,
        (_, _) if found.is_known => Forward::VaryMiss,
        (_, _) => Forward::UriMiss,
    };
    // Boxed: a hit should not carry the room that a miss needs.
    Box::pin(fetched(ex, request, found, why, directives)).await
}

/// The freshness left, in seconds; negative when stale (RFC 9211 §2.4).
fn ttl(freshness: Freshness) -> i64 {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    if freshness.is_fresh() { seconds(freshness.left()) } else { -seconds(freshness.stale_for()) }
}

fn hit<F>(
    ex: &mut Exchange,
    request: &Request<F>,
    entry: &Entry,
    freshness: Freshness,
    detail: Option<&'static str>,
) -> Answer {
    ex.cache_status = Some(CacheStatus { ttl_seconds: Some(ttl(freshness)), ..said(Handling::Hit, detail) });
    serve(&Wanted::by(ex, request), entry, Some(freshness.age))
}

/// A request that what is kept does not answer as it is.
async fn fetched<F: Fetch>(
    ex: &mut Exchange,
    request: Request<F>,
    found: FoundStored,
    why: Forward,
    directives: RequestDirectives,
) -> Result<Answer, ProxyError> {
    ex.cache_status = Some(said(forwarded(why), None));
    let held = partial::beginning(&request.method, &request.headers, &found.parts).cloned();
    let reach = if found.entry.is_some() { FetchReach::Whole } else { reached(&request, &found.parts) };
    let mut renewal =
        OriginFetch { request, stale: found.entry, held, why, reach, directives, audience: Audience::All };
    if renewal.request.method == Method::HEAD {
        return fetch_head::head(ex, &renewal).await;
    }
    let mut choice = renewal.choice();
    // Twice at most: what another has fetched may be of another variant, but then it is known by what they differ.
    for _ in 0..2 {
        let errand = renewal.errand(choice);
        let place = if renewal.asks_alone() {
            Ok(Joined::Alone(Lead::alone(&renewal.request.caching.store, errand)))
        } else {
            let Request { caching, fetch, .. } = &renewal.request;
            let until = ex.started.mono.saturating_add(fetch.time_limit());
            let patience = Patience { deadline: &ex.stream.deadline, until };
            join(&caching.store, &caching.counters, errand, patience).await
        };
        match place {
            Ok(Joined::Lead(lead)) => match fetch::fetch(ex, &renewal, lead).await? {
                Some(answer) => return Ok(answer),
                None => break,
            },
            Ok(Joined::Alone(lead)) => {
                renewal.audience = Audience::One;
                match fetch::fetch(ex, &renewal, lead).await? {
                    Some(answer) => return Ok(answer),
                    None => break,
                }
            }
            Ok(Joined::Read(entry)) if !renewal.is_served_by(&entry, clock::now()) => break,
            Ok(Joined::Read(entry)) => match fitting(&entry, &renewal.request.headers) {
                Ok(()) => match shared(ex, &renewal, &entry) {
                    Some(answer) => return Ok(answer),
                    // The next round goes by what has become of it.
                    None => choice = renewal.choice(),
                },
                Err(other) => choice = other,
            },
            Err(fault) => return fetch::instead(ex, &renewal, Setback::ProxyError(&fault)).ok_or(fault),
        }
    }
    renewal.audience = Audience::One;
    if renewal.request.headers.has(Known::Range) {
        // It asks for what it wants, and for nothing else.
        (renewal.reach, renewal.stale) = (FetchReach::Own, None);
    }
    let lead = Lead::alone(&renewal.request.caching.store, renewal.errand(renewal.choice()));
    Ok(fetch::fetch(ex, &renewal, lead).await?.unwrap_or_default())
}

/// How much is fetched for a request that nothing stored answers.
fn reached<F>(request: &Request<F>, parts: &[Entry]) -> FetchReach {
    if !request.headers.has(Known::Range) {
        return FetchReach::Whole;
    }
    let of_part = parts.iter().find_map(|entry| entry.part().map(|part| part.complete()));
    let complete = of_part.or_else(|| request.caching.store.known_length(&request.key, clock::now()));
    reach(&request.headers, complete, request.caching.limits.object_bytes_max)
}

/// Whether a response fits a request; if not, what the request says where they differ.
fn fitting(entry: &Entry, request: &Fields) -> Result<(), Choice> {
    let choice = entry.head.choice(request).unwrap_or_default();
    if entry.head.is_chosen_by(&choice) { Ok(()) } else { Err(choice) }
}

/// Serves what another request has fetched, or is about to. `None`: it turned out too large meanwhile, and its beginning
/// is gone.
fn shared<F: Fetch>(ex: &mut Exchange, renewal: &OriginFetch<F>, entry: &Entry) -> Option<Answer> {
    // Kept until the answer has a reader of its own, so that this one is not late either.
    let first = match &entry.content {
        StoredContent::Growing(growth) => Some(Reader::new(Arc::clone(growth))),
        StoredContent::One(_) | StoredContent::Several(_) => None,
    };
    let now = clock::now();
    // A body can be on its way for longer than it is fresh.
    if first.as_ref().is_some_and(Reader::is_late) || !fill::is_shared(&entry.head, now) {
        return None;
    }
    let handling = Handling::Forwarded { why: renewal.why, status: None, stored: false, collapsed: true };
    ex.cache_status = Some(said(handling, None));
    let age = entry.head.stored.freshness(now).age;
    let answer = serve(&Wanted::by(ex, &renewal.request), entry, Some(age));
    Some(resumable(ex, &renewal.request, entry, answer))
}

/// Sent forward, and nothing stored so far.
pub(super) fn forwarded(why: Forward) -> Handling {
    Handling::Forwarded { why, status: None, stored: false, collapsed: false }
}

/// Takes in what an unsafe request has brought, if that is what a later GET would get (RFC 9110 §9.3.3).
#[must_use]
pub(crate) fn take_unasked(
    ex: &mut Exchange,
    caching: &Rc<Caching>,
    key: Key,
    asked: &Asked<'_>,
    answer: Answer,
) -> Answer {
    let errand = FetchKey { key, choice: Choice::default(), is_authorized: asked.facts.is_authorized, range: None };
    let lead = Lead::alone(&caching.store, errand);
    take_led(ex, caching, lead, asked, answer)
}

/// The same, for a fetch that has been begun already.
#[must_use]
pub(crate) fn take_led(
    ex: &mut Exchange,
    caching: &Rc<Caching>,
    lead: Lead,
    asked: &Asked<'_>,
    answer: Answer,
) -> Answer {
    match fill::take(caching, asked, lead, answer, clock::now()) {
        Taken::Stored(entry, withheld) => {
            let handling = Handling::Forwarded { why: Forward::Method, status: None, stored: true, collapsed: false };
            ex.cache_status = Some(said(handling, None));
            let nothing = Fields::new();
            let mut answer = serve(&Wanted { method: &Method::GET, headers: &nothing, dice: ex.dice }, &entry, None);
            fill::give(&mut answer, &withheld);
            answer
        }
        Taken::Passed(answer, _reason) => *answer,
    }
}
