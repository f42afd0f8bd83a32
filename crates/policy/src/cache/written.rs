//! Decides what a write leaves in the cache.
//!
//! [`after`] returns the change of the target's entry when the outcome is known. `invalidation` selects other URIs to
//! invalidate; which writes are queued, and whether one was alone in flight, is decided elsewhere. The contract is
//! `docs/write-modes.md`.

use http::{HeaderName, Method, StatusCode, Uri};
use message::{Fields, Known, Name};

use super::facts::{RequestFacts, ResponseFacts};
use super::freshness::{self, Lifetime, LifetimeSource, TtlRules};
use super::headers;
use super::invalidation::is_safe;
use super::storable::{self, Exceptions, Extent, Refusal, storable};
use crate::time::Now;

/// The fields that describe a request's content (RFC 9110 §8.3 to §8.5).
const OF_CONTENT: [Name<'_>; 3] =
    [Name::Known(Known::ContentType), Name::Known(Known::ContentEncoding), Name::Text(b"content-language")];
/// The fields of a response to PUT that also apply to the written content: its freshness, and who may get it.
const OF_ANSWER: [Known; 5] = [Known::Date, Known::CacheControl, Known::Expires, Known::Vary, Known::CdnCacheControl];
/// The fields that a response to PUT has only if the content was stored as sent (RFC 9110 §9.3.4).
const VALIDATORS: [Known; 2] = [Known::Etag, Known::LastModified];

/// A route's rules for written content.
#[derive(Clone, Copy, Debug)]
pub struct WriteRules<'a> {
    /// Its freshness rules.
    pub ttl: &'a TtlRules,
    /// Responses that are stored although they are not storable by default.
    pub exceptions: Exceptions,
    /// The response fields with tags.
    pub tags_headers: &'a [HeaderName],
}

/// A finished write.
#[derive(Clone, Copy, Debug)]
pub struct SentWrite<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target in absolute form (RFC 9110 §7.1).
    pub target: &'a Uri,
    /// Its head, as sent by the client.
    pub headers: &'a Fields,
    /// Whether the backend has certainly applied it, and no other write to the target since it was sent. Otherwise the
    /// current content is unknown.
    pub is_alone: bool,
    /// Whether it was queued, so that reads saw it before the backend had it.
    pub is_queued: bool,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug)]
pub enum WriteEnd<'a> {
    /// The backend responded.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its fields.
        headers: &'a Fields,
        /// When the response arrived.
        received: Now,
    },
    /// The request was sent, at least in part, and no complete response arrived.
    Unknown,
    /// No byte was sent.
    Unsent,
}

/// The change of the target's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    /// It is kept.
    Stay,
    /// It is invalidated, with all variants.
    Forget,
    /// It is replaced.
    Store(Box<WrittenResponse>),
}

/// The entry to store, as a 200 to GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenResponse {
    /// The source of its content.
    pub content: WrittenContent,
    /// The fields that a response to GET would have had, including tags and fields to withhold; no length unless the
    /// response's own.
    pub headers: Fields,
    /// The facts for the rules.
    pub facts: ResponseFacts,
    /// Its lifetime; `None`: it must be validated before each use.
    pub lifetime: Option<Lifetime>,
}

/// The content of the stored entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenContent {
    /// The content of the request.
    Request,
    /// The content of the response.
    Answer,
}

/// The change of the target's entry after this outcome of a write.
///
/// Only a PUT leaves content, after 200, 201, 204 or 205: the response's content if it is declared as the target's
/// representation, else the request's. It is then evaluated like a response to GET with its fields. A 4xx changes
/// nothing; a 5xx may have applied part of the write.
///
/// Content of a queued write remains readable where a stale response would: without a lifetime and a validator it is
/// stored as stale, unless it must not be served stale. Its `Cookie` counts as credentials, like its `Authorization`,
/// because so far only clients with the same credentials could read it. A client's certificate always counts as
/// credentials.
///
/// Source: RFC 9110 §9.3.4 and §8.7, RFC 9111 §3, §3.5, §4.2.4 and §4.4.
#[must_use]
pub fn after(write: &SentWrite<'_>, end: WriteEnd<'_>, rules: WriteRules<'_>) -> StoreChange {
    if is_safe(write.method) {
        return StoreChange::Stay;
    }
    let (status, answer, received) = match end {
        WriteEnd::Unsent => return StoreChange::Stay,
        WriteEnd::Unknown => return StoreChange::Forget,
        WriteEnd::Answered { status, headers, received } => (status, headers, received),
    };
    if status.is_client_error() {
        return StoreChange::Stay;
    }
    let is_whole = *write.method == Method::PUT && !write.headers.has(Known::ContentRange);
    if !is_whole || !write.is_alone || !matches!(status.as_u16(), 200 | 201 | 204 | 205) {
        return StoreChange::Forget;
    }
    let stored = representation(write, status, answer, rules).and_then(|(content, headers)| {
        let (facts, lifetime) = judge(write, &headers, received, rules)?;
        Some(WrittenResponse { content, headers, facts, lifetime })
    });
    stored.map_or(StoreChange::Forget, |stored| StoreChange::Store(Box::new(stored)))
}

/// The representation that a PUT has left at its target, if it can be determined.
fn representation(
    write: &SentWrite<'_>,
    status: StatusCode,
    answer: &Fields,
    rules: WriteRules<'_>,
) -> Option<(WrittenContent, Fields)> {
    let has_content = matches!(status, StatusCode::OK | StatusCode::CREATED);
    let location = answer.first(Known::ContentLocation);
    let is_own = location.is_some_and(|location| storable::is_target(location, write.target));
    if is_own && has_content {
        // A response that declares no content as the representation is not credible.
        let is_empty = answer.first(Known::ContentLength) == Some(b"0");
        return (!is_empty).then(|| (WrittenContent::Answer, headers::stored(answer)));
    }
    let mut fields = Fields::new();
    take(OF_CONTENT, write.headers, &mut fields);
    take(OF_ANSWER, answer, &mut fields);
    take(rules.tags_headers, answer, &mut fields);
    // If the response is about another resource, its validators may be, too.
    if location.is_none() || is_own {
        take(VALIDATORS, answer, &mut fields);
    }
    Some((WrittenContent::Request, fields))
}

/// Copies the fields with these names that are missing.
fn take<'n>(names: impl IntoIterator<Item: Into<Name<'n>>>, from: &Fields, into: &mut Fields) {
    for name in names.into_iter().map(Into::into) {
        if !into.contains(name) {
            from.values(name).for_each(|value| into.append(name, value));
        }
    }
}

/// Whether a 200 to GET with these fields would be stored, and its lifetime.
fn judge(
    write: &SentWrite<'_>,
    headers: &Fields,
    received: Now,
    rules: WriteRules<'_>,
) -> Option<(ResponseFacts, Option<Lifetime>)> {
    let mut request = RequestFacts::of(&Method::GET, write.target, write.headers, false);
    request.is_authorized |= write.is_queued && write.headers.has(Known::Cookie);
    request.is_authorized |= write.headers.has(Known::ClientCertificate);
    let facts = ResponseFacts::of(StatusCode::OK, headers, received);
    // Content that was just written has no meaningful heuristic lifetime.
    let lifetime =
        freshness::lifetime(&facts, rules.ttl).filter(|lifetime| lifetime.source != LifetimeSource::Heuristic);
    let serves_stale = write.is_queued && !facts.directives.forbids_stale() && !facts.directives.no_cache.is_whole();
    let is_of_use =
        facts.has_validator || serves_stale || lifetime.is_some_and(|lifetime| !lifetime.duration.is_zero());
    match storable(&request, &facts, lifetime, rules.exceptions) {
        Ok(Extent::Whole) if is_of_use => Some((facts, lifetime)),
        Err(Refusal::NoFreshness) if serves_stale => Some((facts, lifetime)),
        Ok(Extent::Whole | Extent::Part(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{NOW, headers, secs};
    use super::*;

    type Given = [(&'static str, &'static str)];

    const TYPE: (&str, &str) = ("content-type", "text/plain");
    const TAG: (&str, &str) = ("etag", "\"1\"");
    const OWN: (&str, &str) = ("content-location", "/a");

    struct Case {
        method: Method,
        is_alone: bool,
        is_queued: bool,
        ttl: TtlRules,
        asked: Fields,
    }

    impl Case {
        fn put() -> Self {
            let ttl = TtlRules { fallback: Some(secs(60)), ..TtlRules::default() };
            Self { method: Method::PUT, is_alone: true, is_queued: false, ttl, asked: headers(&[TYPE]) }
        }

        fn without_ttl() -> Self {
            Self { ttl: TtlRules::default(), ..Self::put() }
        }

        fn queued(fields: &Given) -> Self {
            Self { is_queued: true, asked: headers(fields), ..Self::without_ttl() }
        }

        fn asked(fields: &Given) -> Self {
            Self { asked: headers(fields), ..Self::put() }
        }

        fn ends(&self, end: WriteEnd<'_>) -> StoreChange {
            let target = Uri::from_static("http://example.com/a");
            let write = SentWrite {
                method: &self.method,
                target: &target,
                headers: &self.asked,
                is_alone: self.is_alone,
                is_queued: self.is_queued,
            };
            let tags = [HeaderName::from_static("surrogate-key")];
            after(&write, end, WriteRules { ttl: &self.ttl, exceptions: Exceptions::default(), tags_headers: &tags })
        }

        fn answered(&self, status: u16, fields: &Given) -> StoreChange {
            let status = StatusCode::from_u16(status).unwrap();
            self.ends(WriteEnd::Answered { status, headers: &headers(fields), received: NOW })
        }

        fn stored(&self, status: u16, fields: &Given) -> WrittenResponse {
            match self.answered(status, fields) {
                StoreChange::Store(stored) => *stored,
                StoreChange::Stay | StoreChange::Forget => panic!("{status} {fields:?} stores nothing"),
            }
        }
    }

    #[test]
    fn a_put_stores_what_was_sent_for_the_routes_ttl() {
        for status in [200, 201, 204, 205] {
            let stored = Case::put().stored(status, &[("server", "x"), ("set-cookie", "a=b"), ("age", "50")]);
            assert_eq!((stored.content, stored.headers), (WrittenContent::Request, headers(&[TYPE])), "{status}");
            assert_eq!(stored.lifetime, Some(Lifetime { duration: secs(60), source: LifetimeSource::Route }));
            assert_eq!((stored.facts.status, stored.facts.age), (StatusCode::OK, secs(0)));
        }
    }

    #[test]
    fn what_describes_the_content_and_its_use_is_stored_with_it_and_nothing_else() {
        let asked =
            [TYPE, ("content-encoding", "gzip"), ("content-language", "en"), ("accept", "x"), ("etag", "\"x\"")];
        let date = ("date", "Wed, 01 Jul 2026 00:00:00 GMT");
        let vary = ("vary", "accept-language");
        let answered = [TAG, date, vary, ("surrogate-key", "k"), ("content-type", "application/json"), ("x-a", "1")];
        let stored = Case::asked(&asked).stored(200, &answered);
        assert_eq!(stored.headers, headers(&[asked[0], asked[1], asked[2], date, vary, answered[3], TAG]));
    }

    #[test]
    fn a_put_with_another_end_stores_nothing() {
        for status in [202, 203, 206, 226, 301, 303, 304, 500, 503] {
            assert_eq!(Case::put().answered(status, &[TAG]), StoreChange::Forget, "{status}");
        }
        for status in [400, 404, 409, 412, 429] {
            assert_eq!(Case::put().answered(status, &[TAG]), StoreChange::Stay, "{status}");
        }
        assert_eq!(Case::put().ends(WriteEnd::Unknown), StoreChange::Forget);
        assert_eq!(Case::put().ends(WriteEnd::Unsent), StoreChange::Stay);
    }

    #[test]
    fn other_methods_forget_and_safe_ones_change_nothing() {
        for method in ["DELETE", "PATCH", "POST", "MKCOL", "PURGE"] {
            let case = Case { method: method.parse().unwrap(), ..Case::put() };
            assert_eq!(case.answered(200, &[TAG, OWN]), StoreChange::Forget, "{method}");
            assert_eq!(case.answered(409, &[]), StoreChange::Stay, "{method}");
            assert_eq!(case.ends(WriteEnd::Unknown), StoreChange::Forget, "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "PROPFIND"] {
            let case = Case { method: method.parse().unwrap(), ..Case::put() };
            assert_eq!(case.answered(200, &[TAG, OWN]), StoreChange::Stay, "{method}");
            assert_eq!(case.ends(WriteEnd::Unknown), StoreChange::Stay, "{method}");
        }
    }

    #[test]
    fn of_two_at_once_neither_is_stored() {
        let case = Case { is_alone: false, ..Case::put() };
        assert_eq!(case.answered(200, &[TAG]), StoreChange::Forget);
    }

    #[test]
    fn rfc9110_14_5_a_part_is_not_stored_as_the_whole() {
        let case = Case::asked(&[TYPE, ("content-range", "bytes 0-1/9")]);
        assert_eq!(case.answered(204, &[TAG]), StoreChange::Forget);
    }

    #[test]
    fn rfc9110_8_7_an_answer_that_is_the_representation_is_stored_instead() {
        let answered = [TAG, OWN, ("content-type", "application/json"), ("x-a", "1"), ("connection", "close")];
        for (status, location) in [(200, "/a"), (201, "/a"), (200, "http://example.com/a")] {
            let answered = [answered[0], ("content-location", location), answered[2], answered[3], answered[4]];
            let stored = Case::put().stored(status, &answered);
            assert_eq!((stored.content, stored.headers), (WrittenContent::Answer, headers(&answered[..4])), "{status}");
        }
        assert_eq!(Case::put().stored(204, &answered).content, WrittenContent::Request);
        assert_eq!(Case::put().answered(200, &[OWN, TAG, ("content-length", "0")]), StoreChange::Forget);
    }

    #[test]
    fn rfc9110_8_7_an_answer_about_another_resource_gives_no_validators() {
        let stored = Case::put().stored(200, &[TAG, ("content-location", "/receipts/1")]);
        assert_eq!((stored.content, stored.headers), (WrittenContent::Request, headers(&[TYPE])));
        let modified = ("last-modified", "Tue, 30 Jun 2026 00:00:00 GMT");
        let answered = [TAG, modified, ("content-location", "/b")];
        assert_eq!(Case::without_ttl().answered(200, &answered), StoreChange::Forget);
    }

    #[test]
    fn rfc9110_9_3_4_without_a_ttl_validators_keep_it_and_nothing_else_does() {
        assert_eq!(Case::without_ttl().answered(204, &[]), StoreChange::Forget);
        assert_eq!(Case::without_ttl().stored(204, &[TAG]).lifetime, None);
        let modified = ("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT");
        assert_eq!(Case::without_ttl().stored(204, &[modified]).lifetime, None);
    }

    #[test]
    fn a_time_that_the_answer_names_goes_before_the_routes_and_a_forced_one_before_both() {
        let answered = [("cache-control", "max-age=5")];
        assert_eq!(Case::put().stored(200, &answered).lifetime.unwrap().duration, secs(5));
        assert_eq!(Case::put().answered(200, &[("cache-control", "max-age=0")]), StoreChange::Forget);
        let ttl = TtlRules { forced: Some(secs(7)), ..TtlRules::default() };
        assert_eq!(Case { ttl, ..Case::put() }.stored(200, &answered).lifetime.unwrap().duration, secs(7));
    }

    #[test]
    fn rfc9111_3_what_an_answer_to_get_could_not_be_stored_for_is_forgotten() {
        for field in [("cache-control", "no-store"), ("cache-control", "private, max-age=9"), ("vary", "*")] {
            assert_eq!(Case::put().answered(200, &[TAG, field]), StoreChange::Forget, "{field:?}");
        }
        assert_eq!(Case::asked(&[("cache-control", "no-store")]).answered(200, &[TAG]), StoreChange::Forget);
        let authorized = Case::asked(&[TYPE, ("authorization", "Basic x")]);
        assert_eq!(authorized.answered(200, &[TAG]), StoreChange::Forget);
        assert_eq!(authorized.stored(200, &[("cache-control", "s-maxage=9")]).content, WrittenContent::Request);
    }

    #[test]
    fn a_queued_put_is_kept_stale_without_a_time_and_a_validator_unless_it_must_not_be_served_so() {
        let queued = Case::queued(&[TYPE]);
        assert_eq!(queued.stored(204, &[]).lifetime, None);
        assert!(queued.stored(204, &[("cache-control", "max-age=0")]).lifetime.unwrap().duration.is_zero());
        for forbidden in ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=0", "no-store", "private"] {
            assert_eq!(queued.answered(204, &[("cache-control", forbidden)]), StoreChange::Forget, "{forbidden}");
        }
        assert_eq!(queued.stored(204, &[TAG, ("cache-control", "no-cache")]).lifetime, None);
        assert_eq!(queued.answered(202, &[]), StoreChange::Forget);
        assert_eq!(Case { is_alone: false, ..queued }.answered(204, &[]), StoreChange::Forget);
    }

    #[test]
    fn rfc9111_3_5_what_was_queued_with_credentials_is_kept_only_if_the_answer_lets_others_have_it() {
        for field in [("authorization", "Basic x"), ("cookie", "a=b"), ("client-cert", ":MA==:")] {
            let case = Case::queued(&[TYPE, field]);
            for answered in [&[][..], &[TAG], &[("cache-control", "max-age=9")]] {
                assert_eq!(case.answered(204, answered), StoreChange::Forget, "{field:?} {answered:?}");
            }
            for allowed in ["public", "s-maxage=9"] {
                assert_eq!(
                    case.stored(204, &[("cache-control", allowed)]).content,
                    WrittenContent::Request,
                    "{field:?}"
                );
            }
        }
        let cookie = Case::asked(&[TYPE, ("cookie", "a=b")]);
        assert_eq!(cookie.stored(204, &[]).content, WrittenContent::Request);
        let certificate = Case::asked(&[TYPE, ("x-client-cert-subject", "CN=a")]);
        assert_eq!(certificate.answered(204, &[]), StoreChange::Forget);
    }
}
