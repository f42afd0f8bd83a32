//! Reads of what is pending: the last write of a URI is its state, until the backend has it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, DATE, ETAG};
use http::{HeaderValue, Method, StatusCode};
use message::Fields;
use policy::cache::facts::ResponseFacts;
use policy::message::vary::{Choice, Vary};
use policy::time::Now;
use policy::write::record::Write;

use super::queued::OF_CONTENT;
use super::take::FOREBAY_WRITE;
use crate::exchange::Answer;
use crate::exchange::body::Body;
use crate::store::entry::{Content, Entry, Head};
use crate::store::serve::{Wanted, serve_own};

/// Whether whoever asks may see what was written: where credentials were kept with it, the same must be shown.
#[must_use]
pub fn is_readers(write: &Write, request: &Fields) -> bool {
    [AUTHORIZATION, COOKIE].iter().all(|name| {
        let kept = write.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_bytes());
        kept.is_none_or(|kept| request.get(name).is_some_and(|shown| shown.as_bytes() == kept))
    })
}

/// Answers a read with what the last write says, whose tag this is.
#[must_use]
pub fn serve(wanted: &Wanted<'_>, write: &Write, tag: Option<HeaderValue>, now: Now) -> Answer {
    if write.method == Method::DELETE { gone() } else { serve_own(wanted, &entry(write, tag, now)) }
}

/// Says that writes of this URI are pending; the number is that of the last.
pub fn mark(answer: &mut Answer, seq: u64) {
    let pending = HeaderValue::try_from(format!("pending; seq={seq}")).ok();
    answer.fields.extend(pending.map(|pending| (FOREBAY_WRITE.clone(), pending)));
}

fn gone() -> Answer {
    let mut answer = Answer::new(Body::default());
    answer.status = StatusCode::NOT_FOUND;
    answer.fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer
}

/// What was written, as a stored response.
#[must_use]
pub fn entry(write: &Write, tag: Option<HeaderValue>, now: Now) -> Entry {
    let mut headers = Fields::new();
    for (name, value) in write.headers.iter().filter(|(name, _)| OF_CONTENT.contains(name)) {
        headers.append(name, value);
    }
    headers.extend(tag.map(|tag| (ETAG, tag)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let written = std::time::UNIX_EPOCH + Duration::from_secs(write.accepted.as_secs());
    headers.extend(HeaderValue::try_from(httpdate::fmt_http_date(written)).ok().map(|date| (DATE, date)));
    let head = Head {
        status: StatusCode::OK,
        facts: ResponseFacts::of(StatusCode::OK, &headers, now),
        headers,
        lifetime: None,
        age_on_arrival: Duration::ZERO,
        received: now,
        vary: Vary::Fields(Vec::new()),
        choice: Choice::default(),
        tags: Box::default(),
    };
    Entry { head: Arc::new(head), content: Content::One(write.body.clone()) }
}
