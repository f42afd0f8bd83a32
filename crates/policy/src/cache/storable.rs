//! Whether a shared cache may store a response (RFC 9111 §3).
//!
//! Judges heads. Whether the body then arrives whole and fits is seen to where it is stored; errors that forebay makes
//! itself never come here.

use http::{Method, StatusCode, Uri};

use super::facts::{RequestFacts, ResponseFacts};
use super::freshness::{self, Lifetime, Source};
use super::partial::Part;

/// Why a response is not stored. Its word is for the log and the detail of `Cache-Status` (RFC 9211 §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.word())]
pub enum Refusal {
    /// Neither GET nor a POST that is its own representation (RFC 9110 §9.2.3, §9.3.3).
    Method,
    /// The request had content, which the key does not hold (RFC 9110 §9.3.1).
    RequestBody,
    /// The request says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore,
    /// The response says `no-store` (RFC 9111 §5.2.2.5).
    NoStore,
    /// The response is for one user (RFC 9111 §5.2.2.7).
    Private,
    /// The request carries `Authorization`, and the response does not say that others may have it (RFC 9111 §3.5).
    Authorization,
    /// Not a final response (RFC 9111 §3).
    NotFinal,
    /// A 206 that does not say which bytes of how many it holds, or holds several parts (RFC 9111 §3.3).
    Partial,
    /// Its status is about the one who asked: 428, 429, 431, 511 (RFC 6585 §§3 to 6).
    Status,
    /// A 304: it updates what is stored, but is not stored itself (RFC 9111 §4.3.4).
    NotModified,
    /// It wants to be understood, and its status is not (RFC 9111 §5.2.2.3).
    NotUnderstood,
    /// Its `Vary` holds `*`: no later request could be answered with it (RFC 9111 §4.1).
    VariesOnAnything,
    /// It sets a cookie, and does not say that other clients may have it.
    SetsCookie,
    /// Neither fresh for any time nor to be validated later, or its status is not stored unasked (RFC 9111 §3).
    NoFreshness,
}

/// What of a representation a storable response holds.
#[must_use = "a part must not be served as the whole"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, if the body comes whole.
    Whole,
    /// What `partial` is about.
    Part(Part),
}

impl Refusal {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestBody => "request-body",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::NotFinal => "not-final",
            Self::Partial => "partial",
            Self::Status => "status",
            Self::NotModified => "not-modified",
            Self::NotUnderstood => "must-understand",
            Self::VariesOnAnything => "vary-star",
            Self::SetsCookie => "set-cookie",
            Self::NoFreshness => "no-freshness",
        }
    }
}

/// What a route stores although it should not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// Responses that set a cookie: every client gets the same.
    pub set_cookie: bool,
    /// Responses that say `private` or `no-store`, where the route's own times apply.
    pub private: bool,
}

/// Whether this response to this request may be stored, and as what, given the lifetime that `freshness::lifetime`
/// found.
///
/// A `private="…"` is about the fields it names, which are not stored (see `headers::withhold`). A response that sets a
/// cookie is stored only if it says that other clients may have it: RFC 9111 §7.3 leaves that to the cache, and what a
/// `max-age` or a route's `ttl` is meant for is the content, not one client's session.
///
/// # Errors
/// [`Refusal`]: the first reason found, those of the request before those of the response.
///
/// Source: RFC 9111 §3.
pub fn storable(
    request: &RequestFacts<'_>,
    response: &ResponseFacts,
    lifetime: Option<Lifetime>,
    exceptions: Exceptions,
) -> Result<Extent, Refusal> {
    let by_route = lifetime.is_some_and(|lifetime| lifetime.source.is_route());
    method(request, response)?;
    status(response)?;
    if is_never_stored(response.status) && !lifetime.is_some_and(|lifetime| lifetime.source == Source::Status) {
        return Err(Refusal::Status);
    }
    if request.directives.no_store {
        return Err(Refusal::RequestNoStore);
    }
    directives(response, by_route && exceptions.private)?;
    if request.is_authorized && !is_shared(response) {
        return Err(Refusal::Authorization);
    }
    if response.varies_on_anything {
        return Err(Refusal::VariesOnAnything);
    }
    if response.sets_own_cookie && !exceptions.set_cookie {
        return Err(Refusal::SetsCookie);
    }
    let unasked = freshness::is_heuristic(response.status) || response.directives.public;
    if lifetime.is_none() && !(unasked && response.has_validator) {
        return Err(Refusal::NoFreshness);
    }
    Ok(response.part.map_or(Extent::Whole, Extent::Part))
}

/// RFC 9111 §3: the method is understood. A response to POST is stored when it is what a later GET would get: a 200
/// with an explicit time, whose `Content-Location` is the target itself (RFC 9110 §9.3.3). The content of a POST is no
/// hindrance, for such a response stands for the target and not for what was sent. A response to HEAD has no content
/// to store.
fn method(request: &RequestFacts<'_>, response: &ResponseFacts) -> Result<(), Refusal> {
    if *request.method == Method::GET {
        return if request.has_body { Err(Refusal::RequestBody) } else { Ok(()) };
    }
    let stands_for_target = || response.content_location.as_deref().is_some_and(|at| is_target(at, request.target));
    let is_its_own = *request.method == Method::POST
        && response.status == StatusCode::OK
        && freshness::explicit(response).is_some()
        && stands_for_target();
    if is_its_own { Ok(()) } else { Err(Refusal::Method) }
}

/// Whether a `Content-Location` names the target: in absolute form, or as an absolute path with its query. Other
/// references are not resolved (RFC 9110 §8.7).
pub(super) fn is_target(location: &[u8], target: &Uri) -> bool {
    // The parser would drop a fragment, and the grammar has none here.
    let Some(named) = Uri::try_from(location).ok().filter(|_| !location.contains(&b'#')) else {
        return false;
    };
    if named.path_and_query() != target.path_and_query() {
        return false;
    }
    let is_path = named.authority().is_none() && location.starts_with(b"/");
    is_path || (named.scheme() == target.scheme() && named.authority() == target.authority())
}

/// RFC 9111 §3: the status is final, and understood where that matters.
fn status(response: &ResponseFacts) -> Result<(), Refusal> {
    match response.status {
        status if status.is_informational() => Err(Refusal::NotFinal),
        StatusCode::PARTIAL_CONTENT if response.part.is_none() => Err(Refusal::Partial),
        // It is about a part, too, and the key does not say which.
        StatusCode::RANGE_NOT_SATISFIABLE => Err(Refusal::Partial),
        StatusCode::NOT_MODIFIED => Err(Refusal::NotModified),
        status if response.directives.must_understand && !is_understood(status) => Err(Refusal::NotUnderstood),
        _ => Ok(()),
    }
}

/// RFC 6585 §§3 to 6: responses with these statuses "MUST NOT be stored by a cache". Only a route's time for just that
/// status goes before that.
fn is_never_stored(status: StatusCode) -> bool {
    matches!(status.as_u16(), 428 | 429 | 431 | 511)
}

/// `no-store` and `private`. Next to `must-understand`, whose status has been understood by now, `no-store` is for
/// caches that know less (RFC 9111 §5.2.2.3).
fn directives(response: &ResponseFacts, regardless: bool) -> Result<(), Refusal> {
    let directives = &response.directives;
    if regardless {
        return Ok(());
    }
    if directives.no_store && !directives.must_understand {
        return Err(Refusal::NoStore);
    }
    if directives.private.is_whole() { Err(Refusal::Private) } else { Ok(()) }
}

/// RFC 9111 §3.5: what lets a response to a request with `Authorization` be given to others.
fn is_shared(response: &ResponseFacts) -> bool {
    let directives = &response.directives;
    directives.public || directives.must_revalidate || directives.s_maxage.is_some()
}

/// The final statuses that RFC 9110 §15 defines, but for 304, which is never stored, and 451 (RFC 7725).
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505)
}

#[cfg(test)]
mod tests {
    use super::super::freshness::{TtlRules, lifetime};
    use super::super::scripted::{headers, response, secs};
    use super::*;
    use crate::message::range::ByteRange;

    type Given = [(&'static str, &'static str)];

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT");

    struct Case {
        method: Method,
        has_body: bool,
        rules: TtlRules,
        exceptions: Exceptions,
    }

    impl Case {
        fn get() -> Self {
            let exceptions = Exceptions::default();
            Self { method: Method::GET, has_body: false, rules: TtlRules::default(), exceptions }
        }

        fn ttl() -> Self {
            let rules = TtlRules { fallback: Some(secs(300)), ..TtlRules::default() };
            Self { rules, ..Self::get() }
        }

        fn forced() -> Self {
            let rules = TtlRules { forced: Some(secs(60)), ..TtlRules::default() };
            Self { rules, ..Self::get() }
        }

        fn judge(&self, asked: &Given, status: u16, answered: &Given) -> Result<(), Refusal> {
            self.extent(asked, status, answered).map(|_| ())
        }

        fn extent(&self, asked: &Given, status: u16, answered: &Given) -> Result<Extent, Refusal> {
            let target = Uri::from_static("http://example.com/a?b=c");
            let request = RequestFacts::of(&self.method, &target, &headers(asked), self.has_body);
            let response = response(status, answered);
            storable(&request, &response, lifetime(&response, &self.rules), self.exceptions)
        }
    }

    fn get(status: u16, answered: &Given) -> Result<(), Refusal> {
        Case::get().judge(&[], status, answered)
    }

    #[test]
    fn rfc9111_3_a_get_is_stored_and_no_other_method() {
        assert_eq!(get(200, &[FRESH]), Ok(()));
        for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH, Method::POST] {
            let case = Case { method, ..Case::get() };
            assert_eq!(case.judge(&[], 200, &[FRESH]), Err(Refusal::Method), "{}", case.method);
        }
    }

    #[test]
    fn a_get_with_a_body_is_never_stored() {
        let case = Case { has_body: true, ..Case::forced() };
        assert_eq!(case.judge(&[], 200, &[FRESH]), Err(Refusal::RequestBody));
    }

    #[test]
    fn rfc9110_9_3_3_a_post_is_stored_when_it_answers_for_its_target() {
        let case = Case { method: Method::POST, has_body: true, ..Case::get() };
        for location in ["/a?b=c", "http://example.com/a?b=c", "HTTP://EXAMPLE.com/a?b=c"] {
            assert_eq!(case.judge(&[], 200, &[FRESH, ("content-location", location)]), Ok(()), "{location}");
        }
        for location in [
            "/a",
            "/A?b=c",
            "a?b=c",
            "?b=c",
            "//example.com/a?b=c",
            "https://example.com/a?b=c",
            "http://example.org/a?b=c",
            "/a?b=c#d",
            "example.com",
            "*",
            "",
        ] {
            let refused = case.judge(&[], 200, &[FRESH, ("content-location", location)]);
            assert_eq!(refused, Err(Refusal::Method), "{location}");
        }
        let located = ("content-location", "/a?b=c");
        assert_eq!(case.judge(&[], 201, &[FRESH, located]), Err(Refusal::Method));
        assert_eq!(case.judge(&[], 200, &[MODIFIED, located]), Err(Refusal::Method));
        let by_route = Case { method: Method::POST, ..Case::ttl() };
        assert_eq!(by_route.judge(&[], 200, &[located]), Err(Refusal::Method));
    }

    #[test]
    fn rfc9111_3_no_store_of_either_side_is_obeyed() {
        assert_eq!(get(200, &[("cache-control", "max-age=60, no-store")]), Err(Refusal::NoStore));
        let asked = [("cache-control", "no-store")];
        assert_eq!(Case::get().judge(&asked, 200, &[FRESH]), Err(Refusal::RequestNoStore));
        assert_eq!(Case::forced().judge(&asked, 200, &[FRESH]), Err(Refusal::RequestNoStore));
    }

    #[test]
    fn rfc9111_5_2_2_7_private_is_obeyed() {
        for private in ["private, max-age=60", "max-age=60, private=\"\"", "private, public, s-maxage=60"] {
            assert_eq!(get(200, &[("cache-control", private)]), Err(Refusal::Private), "{private}");
        }
    }

    #[test]
    fn rfc9111_5_2_2_7_where_only_fields_are_private_the_rest_is_stored() {
        for private in ["max-age=60, private=\"x-a\"", "max-age=60, private=x-a, no-cache=\"x-b\""] {
            assert_eq!(get(200, &[("cache-control", private)]), Ok(()), "{private}");
        }
        let withheld = ("cache-control", "private=\"set-cookie\"");
        assert_eq!(get(200, &[MODIFIED, withheld, ("set-cookie", "a=b")]), Ok(()));
    }

    #[test]
    fn rfc6585_what_is_about_the_one_who_asked_is_stored_only_where_the_route_names_its_status() {
        let rules = TtlRules { by_status: vec![(StatusCode::TOO_MANY_REQUESTS, secs(1))], ..TtlRules::default() };
        let by_status = Case { rules, ..Case::get() };
        for status in [428, 429, 431, 511] {
            assert_eq!(get(status, &[("cache-control", "public, max-age=60")]), Err(Refusal::Status), "{status}");
            let expected = if status == 429 { Ok(()) } else { Err(Refusal::Status) };
            assert_eq!(by_status.judge(&[], status, &[]), expected, "{status}");
        }
    }

    #[test]
    fn rfc9111_3_and_4_3_4_only_whole_final_responses_are_stored() {
        for (status, refusal) in
            [(101, Refusal::NotFinal), (103, Refusal::NotFinal), (206, Refusal::Partial), (304, Refusal::NotModified)]
        {
            assert_eq!(get(status, &[("cache-control", "public, s-maxage=60")]), Err(refusal), "{status}");
        }
    }

    #[test]
    fn rfc9111_3_3_a_part_that_says_what_it_holds_is_stored_as_one() {
        let range = ("content-range", "bytes 10-19/100");
        let part = Part::new(ByteRange::new(10, 19).unwrap(), 100).unwrap();
        for fields in [[FRESH, range], [MODIFIED, range], [("cache-control", "must-understand, max-age=1"), range]] {
            assert_eq!(Case::get().extent(&[], 206, &fields), Ok(Extent::Part(part)), "{fields:?}");
        }
        assert_eq!(Case::ttl().extent(&[], 206, &[range]), Ok(Extent::Part(part)));
        assert_eq!(get(206, &[range]), Err(Refusal::NoFreshness));
        assert_eq!(get(206, &[("cache-control", "no-store"), range]), Err(Refusal::NoStore));
        assert_eq!(Case::get().extent(&[], 200, &[FRESH, range]), Ok(Extent::Whole));
        for useless in ["bytes 10-19/*", "bytes 10-19/19", "bytes */100", "lines 10-19/100"] {
            assert_eq!(get(206, &[FRESH, ("content-range", useless)]), Err(Refusal::Partial), "{useless}");
        }
        let several = ("content-type", "multipart/byteranges; boundary=a");
        assert_eq!(get(206, &[FRESH, range, several]), Err(Refusal::Partial));
    }

    #[test]
    fn rfc9111_3_with_an_explicit_time_any_other_status_is_stored() {
        for status in [200, 201, 204, 299, 302, 307, 400, 403, 404, 418, 499, 500, 503, 599] {
            assert_eq!(get(status, &[FRESH]), Ok(()), "{status}");
            assert_eq!(get(status, &[("expires", "Wed, 01 Jul 2026 00:01:00 GMT")]), Ok(()), "{status}");
        }
    }

    #[test]
    fn rfc9111_3_without_a_time_the_status_decides() {
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501] {
            assert_eq!(get(status, &[MODIFIED]), Ok(()), "{status}");
            assert_eq!(get(status, &[("etag", "\"a\"")]), Ok(()), "{status}");
            assert_eq!(get(status, &[]), Err(Refusal::NoFreshness), "{status}");
        }
        for status in [201, 302, 307, 400, 413, 500, 503] {
            assert_eq!(get(status, &[MODIFIED]), Err(Refusal::NoFreshness), "{status}");
            assert_eq!(get(status, &[MODIFIED, ("cache-control", "public")]), Ok(()), "{status}");
            assert_eq!(Case::ttl().judge(&[], status, &[]), Err(Refusal::NoFreshness), "{status}");
            assert_eq!(Case::forced().judge(&[], status, &[]), Err(Refusal::NoFreshness), "{status}");
        }
    }

    #[test]
    fn rfc9111_5_2_2_3_must_understand_lifts_no_store_for_known_statuses_only() {
        let both = [("cache-control", "max-age=60, must-understand, no-store")];
        let alone = [("cache-control", "max-age=60, must-understand")];
        for known in [200, 404, 503] {
            assert_eq!(get(known, &both), Ok(()), "{known}");
            assert_eq!(get(known, &alone), Ok(()), "{known}");
        }
        for unknown in [299, 306, 499, 599] {
            assert_eq!(get(unknown, &both), Err(Refusal::NotUnderstood), "{unknown}");
            assert_eq!(get(unknown, &alone), Err(Refusal::NotUnderstood), "{unknown}");
        }
    }

    #[test]
    fn rfc9111_3_5_authorized_responses_are_stored_only_when_meant_for_all() {
        let asked = [("authorization", "Basic x")];
        for refused in ["max-age=60", "proxy-revalidate, max-age=60", "immutable, max-age=60"] {
            let judged = Case::get().judge(&asked, 200, &[("cache-control", refused)]);
            assert_eq!(judged, Err(Refusal::Authorization), "{refused}");
        }
        for allowed in ["public, max-age=60", "must-revalidate, max-age=60", "s-maxage=60"] {
            assert_eq!(Case::get().judge(&asked, 200, &[("cache-control", allowed)]), Ok(()), "{allowed}");
        }
        for case in [Case::ttl(), Case::forced()] {
            assert_eq!(case.judge(&asked, 200, &[]), Err(Refusal::Authorization));
        }
    }

    #[test]
    fn rfc9111_4_1_what_varies_on_anything_is_not_stored() {
        assert_eq!(get(200, &[FRESH, ("vary", "*")]), Err(Refusal::VariesOnAnything));
        assert_eq!(get(200, &[FRESH, ("vary", "accept, *")]), Err(Refusal::VariesOnAnything));
        assert_eq!(get(200, &[FRESH, ("vary", "accept")]), Ok(()));
    }

    #[test]
    fn a_cookie_is_stored_only_where_the_response_or_the_route_shares_it() {
        let cookie = ("set-cookie", "a=b");
        let expires = ("expires", "Wed, 01 Jul 2026 00:01:00 GMT");
        for timed in [FRESH, MODIFIED, expires, ("etag", "\"a\"")] {
            assert_eq!(get(200, &[timed, cookie]), Err(Refusal::SetsCookie), "{timed:?}");
        }
        for case in [Case::ttl(), Case::forced()] {
            assert_eq!(case.judge(&[], 200, &[FRESH, cookie]), Err(Refusal::SetsCookie));
        }
        let shared = [
            ("cache-control", "public, max-age=60"),
            ("cache-control", "s-maxage=60"),
            ("cdn-cache-control", "max-age=60"),
        ];
        let told = Exceptions { set_cookie: true, private: false };
        for case in [Case::get(), Case::ttl(), Case::forced()] {
            for shared in shared {
                assert_eq!(case.judge(&[], 200, &[shared, cookie]), Ok(()), "{shared:?}");
            }
            assert_eq!(Case { exceptions: told, ..case }.judge(&[], 200, &[FRESH, cookie]), Ok(()));
        }
        let part = ("content-range", "bytes 0-1/9");
        assert_eq!(get(206, &[FRESH, part, cookie]), Err(Refusal::SetsCookie));
    }

    #[test]
    fn a_forced_time_beats_private_and_no_store_only_when_told_so() {
        let told = Exceptions { set_cookie: false, private: true };
        for (directive, refusal) in [("private", Refusal::Private), ("no-store", Refusal::NoStore)] {
            let answered = [("cache-control", directive)];
            assert_eq!(Case::forced().judge(&[], 200, &answered), Err(refusal));
            assert_eq!(Case { exceptions: told, ..Case::forced() }.judge(&[], 200, &answered), Ok(()));
            let timed = [("cache-control", directive), FRESH];
            assert_eq!(Case { exceptions: told, ..Case::ttl() }.judge(&[], 200, &timed), Err(refusal));
        }
    }

    #[test]
    fn rfc9213_2_2_targeted_directives_decide_alone() {
        let targeted = ("cdn-cache-control", "max-age=60");
        assert_eq!(get(200, &[("cache-control", "no-store, private"), targeted]), Ok(()));
        assert_eq!(get(200, &[FRESH, ("cdn-cache-control", "no-store")]), Err(Refusal::NoStore));
    }
}
