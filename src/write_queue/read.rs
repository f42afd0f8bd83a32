//! Answers reads from pending writes: the last write of a URI is its state until the backend has it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, Method, StatusCode};
use message::{Fields, Known};
use policy::cache::facts::ResponseFacts;
use policy::cache::stored::Stored;
use policy::time::Now;
use policy::write::record::Write;

use super::enqueue::FOREBAY_WRITE;
use super::queued::OF_CONTENT;
use crate::cache::entry::{Entry, StoredContent};
use crate::cache::head::StoredHead;
use crate::cache::serve::{Wanted, serve_own};
use crate::exchange::Answer;
use crate::exchange::body::Body;

/// Whether this client may read the written content: if credentials were retained with the write, the request must have
/// the same ones.
#[must_use]
pub(crate) fn may_read(write: &Write, request: &Fields) -> bool {
    let is_of_certificate = |name: &&HeaderName| Known::of(name.as_str().as_bytes()) == Known::ClientCertificate;
    let of_certificate = write.headers.iter().map(|(name, _)| name).filter(is_of_certificate);
    of_certificate.chain(&[AUTHORIZATION, COOKIE]).all(|name| {
        let kept = write.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_bytes());
        kept.is_none_or(|kept| request.first(name) == Some(kept))
    })
}

/// Answers a read from the last pending write, whose entity tag is `tag`.
#[must_use]
pub(crate) fn serve(wanted: &Wanted<'_>, write: &Write, tag: &str, now: Now) -> Answer {
    if write.method == Method::DELETE { gone() } else { serve_own(wanted, &entry(write, tag, now)) }
}

/// Marks a response: writes of its URI are pending, and `seq` is the last.
pub(crate) fn mark(answer: &mut Answer, seq: u64) {
    answer.fields.append(&FOREBAY_WRITE, format!("pending; seq={seq}"));
}

fn gone() -> Answer {
    let mut answer = Answer::new(Body::default());
    answer.status = StatusCode::NOT_FOUND;
    answer.fields.set(Known::CacheControl, "no-cache");
    answer.fields.set(Known::ContentLength, "0");
    answer
}

/// The written content as a stored response.
#[must_use]
pub(crate) fn entry(write: &Write, tag: &str, now: Now) -> Entry {
    let mut headers = Fields::new();
    for (name, value) in write.headers.iter().filter(|(name, _)| OF_CONTENT.contains(name)) {
        headers.append(name, value);
    }
    headers.append(Known::Etag, tag);
    headers.set(Known::CacheControl, "no-cache");
    let written = std::time::UNIX_EPOCH + Duration::from_secs(write.accepted.as_secs());
    headers.append(Known::Date, httpdate::fmt_http_date(written));
    let stored = Stored::new(&ResponseFacts::of(StatusCode::OK, &headers, now), None, Duration::ZERO, now);
    let head = StoredHead::new(headers, stored);
    Entry { head: Arc::new(head), content: StoredContent::One(write.body.clone()) }
}
