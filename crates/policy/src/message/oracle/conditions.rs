//! The rules as they were, on a map of names in lower case.

use std::time::Duration;

use http::HeaderMap;
use http::header::{
    DATE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderName, Method, StatusCode};

use super::super::dates;
use super::etag::{Comparison, EntityTag, named};
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Cache,
    Origin,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) modified_since: Option<u64>,
    pub(crate) unmodified_since: Option<u64>,
    pub(crate) range: Option<u64>,
}

impl Dates {
    pub(crate) fn of(request: &HeaderMap, today: Duration) -> Self {
        Self {
            modified_since: date(request, &IF_MODIFIED_SINCE, today),
            unmodified_since: date(request, &IF_UNMODIFIED_SINCE, today),
            range: date(request, &IF_RANGE, today),
        }
    }
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    pub(crate) status: StatusCode,
    pub(crate) tag: Option<EntityTag<'a>>,
    pub(crate) modified: Option<u64>,
    pub(crate) date: Option<u64>,
    pub(crate) received: u64,
}

impl<'a> Selected<'a> {
    pub(crate) fn of(status: StatusCode, response: &'a HeaderMap, received: Duration) -> Self {
        Self {
            status,
            tag: EntityTag::of(response),
            modified: date(response, &LAST_MODIFIED, received),
            date: date(response, &DATE, received),
            received: received.as_secs(),
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Serve,
    ServeWhole,
    NotModified,
    PreconditionFailed,
}
pub(crate) fn asks_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}
pub(crate) fn asks_the_cache(request: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE].iter().any(|name| request.contains_key(name))
}
pub(crate) fn evaluate_stored(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    received: Duration,
) -> Outcome {
    if !asks_the_cache(request) {
        return Outcome::Serve;
    }
    let selected = Selected::of(status, response, received);
    evaluate(Role::Cache, method, request, Dates::of(request, received), &selected)
}
pub(crate) fn evaluate(
    role: Role,
    method: &Method,
    request: &HeaderMap,
    dates: Dates,
    selected: &Selected<'_>,
) -> Outcome {
    if !selected.status.is_success() {
        return Outcome::Serve;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match role {
        Role::Origin if !expectation_holds(request, dates, selected) => return Outcome::PreconditionFailed,
        Role::Origin | Role::Cache => {}
    }
    if request.contains_key(IF_NONE_MATCH) {
        // Step 3: with it, If-Modified-Since is ignored, whether or not a tag could be read.
        if named(&request.get_all(IF_NONE_MATCH), selected.tag.as_ref(), Comparison::Weak) {
            return if reads { Outcome::NotModified } else { Outcome::PreconditionFailed };
        }
    } else if reads && is_unmodified(request, dates, selected) {
        return Outcome::NotModified;
    }
    if *method == Method::GET && request.contains_key(RANGE) && !range_applies(request, dates, selected) {
        return Outcome::ServeWhole;
    }
    Outcome::Serve
}
fn expectation_holds(request: &HeaderMap, dates: Dates, selected: &Selected<'_>) -> bool {
    if request.contains_key(IF_MATCH) {
        return named(&request.get_all(IF_MATCH), selected.tag.as_ref(), Comparison::Strong);
    }
    match (single(request, &IF_UNMODIFIED_SINCE).and(dates.unmodified_since), selected.modified) {
        (Some(since), Some(modified)) => modified <= since,
        // Without a date on either side there is nothing to compare (RFC 9110 §13.1.4).
        (None, _) | (_, None) => true,
    }
}
fn is_unmodified(request: &HeaderMap, dates: Dates, selected: &Selected<'_>) -> bool {
    let modified = selected.modified.or(selected.date).unwrap_or(selected.received);
    single(request, &IF_MODIFIED_SINCE).and(dates.modified_since).is_some_and(|since| modified <= since)
}
fn range_applies(request: &HeaderMap, dates: Dates, selected: &Selected<'_>) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(request, &IF_RANGE) else { return false };
    if let Some(tag) = EntityTag::parse(value) {
        return selected.tag.is_some_and(|stored| stored.matches(&tag, Comparison::Strong));
    }
    match (dates.range, selected.modified, selected.date) {
        _ if selected.tag.is_some_and(|tag| tag.is_weak()) => false,
        (Some(wanted), Some(modified), Some(date)) => wanted == modified && modified < date,
        (None, _, _) | (_, None, _) | (_, _, None) => false,
    }
}

fn date(headers: &HeaderMap, name: &HeaderName, today: Duration) -> Option<u64> {
    dates::read(single(headers, name)?.trim_ascii(), today).map(|moment| moment.as_secs())
}
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).into_iter();
    let value = lines.next()?;
    lines.next().is_none().then_some(value.as_bytes())
}
