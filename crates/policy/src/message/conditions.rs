//! Evaluates a request's preconditions against a stored response (RFC 9110 §13, RFC 9111 §4.3.2).
//!
//! [`evaluate_stored`] takes two heads, [`evaluate`] parsed values. `range` selects the bytes of a `Range`; the rules
//! of the cache decide whether the stored response may be used.

use std::time::Duration;

use http::{Method, StatusCode};
use message::{Fields, Known, KnownSet};

use super::dates;
use super::etag::{Comparison, EntityTag, named};

/// The role in which preconditions are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A cache: ignores `If-Match` and `If-Unmodified-Since` (RFC 9111 §4.3.2).
    Cache,
    /// The origin, or a proxy on its behalf: all preconditions apply.
    Origin,
}

/// The dates of a request's preconditions, in seconds since the Unix epoch. `None`: absent or invalid, which is ignored
/// (RFC 9110 §13.1.3, §13.1.4) but makes an `If-Range` false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// `If-Modified-Since`.
    pub modified_since: Option<u64>,
    /// `If-Unmodified-Since`.
    pub unmodified_since: Option<u64>,
    /// `If-Range`, if it is not an entity tag.
    pub range: Option<u64>,
}

impl Dates {
    /// Parses the dates of a request. `today` (since the epoch) determines the century of two-digit years.
    #[must_use]
    pub fn of(request: &Fields, today: Duration) -> Self {
        Self {
            modified_since: date(request, Known::IfModifiedSince, today),
            unmodified_since: date(request, Known::IfUnmodifiedSince, today),
            range: date(request, Known::IfRange, today),
        }
    }
}

/// The selected representation. Times are seconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The response's status; preconditions apply to a 2xx only (RFC 9110 §13.2.1).
    pub status: StatusCode,
    /// Its entity tag.
    pub tag: Option<EntityTag<'a>>,
    /// Its `Last-Modified`.
    pub modified: Option<u64>,
    /// Its `Date`.
    pub date: Option<u64>,
    /// When it was received.
    pub received: u64,
}

impl<'a> Selected<'a> {
    /// From a response's head. `received` (since the epoch) also determines the century of two-digit years.
    #[must_use]
    pub fn of(status: StatusCode, response: &'a Fields, received: Duration) -> Self {
        Self {
            status,
            tag: EntityTag::of(response),
            modified: date(response, Known::LastModified, received),
            date: date(response, Known::Date, received),
            received: received.as_secs(),
        }
    }
}

/// The result of the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Send the response, or, for GET (RFC 9110 §14.2), the part of a 200 that `Range` selects.
    Serve,
    /// Send the whole response: `If-Range` is false, so `Range` is ignored.
    ServeWhole,
    /// 304: the client's copy is current.
    NotModified,
    /// 412: a precondition is false.
    PreconditionFailed,
}

/// Whether a request has a precondition that only an origin evaluates. A cache may ignore it (RFC 9110 §13.1.1,
/// §13.1.4); forwarding such a request is always correct.
#[must_use]
pub fn asks_the_origin(request: &Fields) -> bool {
    request.has(KnownSet::of(&[Known::IfMatch, Known::IfUnmodifiedSince]))
}

/// Whether a request has a precondition that a cache evaluates, or a `Range`. Otherwise a stored response is served
/// unchanged.
#[must_use]
pub fn asks_the_cache(request: &Fields) -> bool {
    request.has(KnownSet::of(&[Known::IfNoneMatch, Known::IfModifiedSince, Known::Range]))
}

/// Evaluates a request's preconditions as a cache, against a stored response. Parses nothing if there are none.
///
/// `received` is when the response arrived, since the epoch.
#[must_use]
pub fn evaluate_stored(
    method: &Method,
    request: &Fields,
    status: StatusCode,
    response: &Fields,
    received: Duration,
) -> Evaluation {
    if !asks_the_cache(request) {
        return Evaluation::Serve;
    }
    let selected = Selected::of(status, response, received);
    evaluate(Role::Cache, method, request, Dates::of(request, received), &selected)
}

/// Evaluates a request's preconditions in the order of RFC 9110 §13.2.2.
#[must_use]
pub fn evaluate(role: Role, method: &Method, request: &Fields, dates: Dates, selected: &Selected<'_>) -> Evaluation {
    if !selected.status.is_success() {
        return Evaluation::Serve;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match role {
        Role::Origin if !expectation_holds(request, dates, selected) => return Evaluation::PreconditionFailed,
        Role::Origin | Role::Cache => {}
    }
    if request.has(Known::IfNoneMatch) {
        // Step 3: its presence disables If-Modified-Since, even if no tag is valid.
        if named(request.values(Known::IfNoneMatch), selected.tag.as_ref(), Comparison::Weak) {
            return if reads { Evaluation::NotModified } else { Evaluation::PreconditionFailed };
        }
    } else if reads && is_unmodified(request, dates, selected) {
        return Evaluation::NotModified;
    }
    if *method == Method::GET && request.has(Known::Range) && !range_applies(request, dates, selected) {
        return Evaluation::ServeWhole;
    }
    Evaluation::Serve
}

/// Steps 1 and 2: `If-Match` by strong comparison, else `If-Unmodified-Since`.
fn expectation_holds(request: &Fields, dates: Dates, selected: &Selected<'_>) -> bool {
    if request.has(Known::IfMatch) {
        return named(request.values(Known::IfMatch), selected.tag.as_ref(), Comparison::Strong);
    }
    match (single(request, Known::IfUnmodifiedSince).and(dates.unmodified_since), selected.modified) {
        (Some(since), Some(modified)) => modified <= since,
        // Without a date on either side, the precondition is ignored (RFC 9110 §13.1.4).
        (None, _) | (_, None) => true,
    }
}

/// Step 4. Without `Last-Modified`, `Date` is used, and without that the time of receipt (RFC 9111 §4.3.2).
fn is_unmodified(request: &Fields, dates: Dates, selected: &Selected<'_>) -> bool {
    let modified = selected.modified.or(selected.date).unwrap_or(selected.received);
    single(request, Known::IfModifiedSince).and(dates.modified_since).is_some_and(|since| modified <= since)
}

/// Step 5: an entity tag by strong comparison, or a date that equals the response's and is strong, which means at least
/// a second before `Date` (RFC 9110 §13.1.5, §8.8.2.2). With a weak entity tag no date is strong: the weak tag means
/// that the bytes may differ, and `Date` advances with each 304.
fn range_applies(request: &Fields, dates: Dates, selected: &Selected<'_>) -> bool {
    if !request.has(Known::IfRange) {
        return true;
    }
    let Some(value) = single(request, Known::IfRange) else { return false };
    if let Some(tag) = EntityTag::parse(value) {
        return selected.tag.is_some_and(|stored| stored.matches(&tag, Comparison::Strong));
    }
    match (dates.range, selected.modified, selected.date) {
        _ if selected.tag.is_some_and(|tag| tag.is_weak()) => false,
        (Some(wanted), Some(modified), Some(date)) => wanted == modified && modified < date,
        (None, _, _) | (_, None, _) | (_, _, None) => false,
    }
}

fn date(headers: &Fields, name: Known, today: Duration) -> Option<u64> {
    dates::read(single(headers, name)?.trim_ascii(), today).map(|moment| moment.as_secs())
}

/// The value of a field that may occur once; `None` if there are several lines.
fn single(headers: &Fields, name: Known) -> Option<&[u8]> {
    let mut lines = headers.values(name);
    let value = lines.next()?;
    lines.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::fields as request;
    use super::*;

    const STORED: Selected<'static> =
        Selected { status: StatusCode::OK, tag: None, modified: None, date: None, received: 1000 };

    fn tagged(tag: &'static str) -> Selected<'static> {
        Selected { tag: EntityTag::parse(tag.as_bytes()), ..STORED }
    }

    fn cached(fields: &[(&'static str, &'static str)], dates: Dates, selected: &Selected<'_>) -> Evaluation {
        evaluate(Role::Cache, &Method::GET, &request(fields), dates, selected)
    }

    fn since(seconds: u64) -> Dates {
        Dates { modified_since: Some(seconds), unmodified_since: Some(seconds), range: Some(seconds) }
    }

    #[test]
    fn without_conditions_the_response_is_served() {
        assert_eq!(cached(&[], Dates::default(), &tagged("\"a\"")), Evaluation::Serve);
        assert_eq!(cached(&[("range", "bytes=0-1")], Dates::default(), &STORED), Evaluation::Serve);
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_weakly() {
        let cases = [
            ("\"a\"", "\"a\"", Evaluation::NotModified),
            ("W/\"a\"", "\"a\"", Evaluation::NotModified),
            ("\"x\", \"a\"", "W/\"a\"", Evaluation::NotModified),
            ("*", "\"a\"", Evaluation::NotModified),
            ("\"b\"", "\"a\"", Evaluation::Serve),
            ("a", "\"a\"", Evaluation::Serve),
        ];
        for (value, stored, outcome) in cases {
            assert_eq!(cached(&[("if-none-match", value)], Dates::default(), &tagged(stored)), outcome, "{value}");
        }
    }

    #[test]
    fn rfc9110_13_1_2_for_other_methods_a_match_fails() {
        let fields = request(&[("if-none-match", "*")]);
        let outcome = evaluate(Role::Origin, &Method::PUT, &fields, Dates::default(), &STORED);
        assert_eq!(outcome, Evaluation::PreconditionFailed);
        let outcome = evaluate(Role::Cache, &Method::HEAD, &fields, Dates::default(), &STORED);
        assert_eq!(outcome, Evaluation::NotModified);
    }

    #[test]
    fn rfc9110_13_2_2_if_none_match_hides_if_modified_since() {
        let fields = [("if-none-match", "\"b\""), ("if-modified-since", "x")];
        let stored = Selected { modified: Some(10), ..tagged("\"a\"") };
        assert_eq!(cached(&fields, since(20), &stored), Evaluation::Serve);
        let unreadable = [("if-none-match", ""), ("if-modified-since", "x")];
        assert_eq!(cached(&unreadable, since(20), &stored), Evaluation::Serve);
    }

    #[test]
    fn rfc9111_4_3_2_if_modified_since_falls_back_to_date_and_receipt() {
        let fields = [("if-modified-since", "x")];
        let cases = [
            (Some(500), Some(900), 500, Evaluation::NotModified),
            (Some(500), Some(900), 499, Evaluation::Serve),
            (None, Some(900), 900, Evaluation::NotModified),
            (None, Some(900), 899, Evaluation::Serve),
            (None, None, 1000, Evaluation::NotModified),
            (None, None, 999, Evaluation::Serve),
        ];
        for (modified, date, when, outcome) in cases {
            let stored = Selected { modified, date, ..STORED };
            assert_eq!(cached(&fields, since(when), &stored), outcome, "{modified:?} {date:?} {when}");
        }
    }

    #[test]
    fn rfc9110_13_1_3_what_is_no_date_or_stands_twice_or_meets_another_method_is_ignored() {
        let stored = Selected { modified: Some(1), ..STORED };
        assert_eq!(cached(&[("if-modified-since", "x")], Dates::default(), &stored), Evaluation::Serve);
        assert_eq!(
            cached(&[("if-modified-since", "x"), ("if-modified-since", "y")], since(5), &stored),
            Evaluation::Serve
        );
        let post = evaluate(Role::Cache, &Method::POST, &request(&[("if-modified-since", "x")]), since(5), &stored);
        assert_eq!(post, Evaluation::Serve);
    }

    #[test]
    fn rfc9111_4_3_2_a_cache_ignores_what_is_for_the_origin() {
        let stored = Selected { modified: Some(100), ..tagged("\"a\"") };
        for fields in [[("if-match", "\"b\"")], [("if-unmodified-since", "x")]] {
            assert_eq!(cached(&fields, since(50), &stored), Evaluation::Serve);
            assert!(asks_the_origin(&request(&fields)));
            let outcome = evaluate(Role::Origin, &Method::GET, &request(&fields), since(50), &stored);
            assert_eq!(outcome, Evaluation::PreconditionFailed);
        }
        assert!(!asks_the_origin(&request(&[("if-none-match", "*")])));
    }

    #[test]
    fn rfc9110_13_1_1_if_match_compares_strongly_and_hides_if_unmodified_since() {
        let judge = |fields: &[(&'static str, &'static str)], stored: &Selected<'_>| {
            evaluate(Role::Origin, &Method::PUT, &request(fields), since(5), stored)
        };
        assert_eq!(judge(&[("if-match", "W/\"a\"")], &tagged("W/\"a\"")), Evaluation::PreconditionFailed);
        assert_eq!(judge(&[("if-match", "\"a\"")], &tagged("\"a\"")), Evaluation::Serve);
        assert_eq!(judge(&[("if-match", "*")], &STORED), Evaluation::Serve);
        let newer = Selected { modified: Some(9), ..tagged("\"a\"") };
        assert_eq!(judge(&[("if-match", "\"a\""), ("if-unmodified-since", "x")], &newer), Evaluation::Serve);
        assert_eq!(judge(&[("if-unmodified-since", "x")], &STORED), Evaluation::Serve);
    }

    #[test]
    fn rfc9110_13_2_2_if_match_goes_before_if_none_match() {
        let fields = request(&[("if-match", "\"b\""), ("if-none-match", "\"a\"")]);
        let outcome = evaluate(Role::Origin, &Method::GET, &fields, Dates::default(), &tagged("\"a\""));
        assert_eq!(outcome, Evaluation::PreconditionFailed);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_needs_a_strong_tag() {
        let cases = [
            ("\"a\"", "\"a\"", Evaluation::Serve),
            ("\"b\"", "\"a\"", Evaluation::ServeWhole),
            ("W/\"a\"", "W/\"a\"", Evaluation::ServeWhole),
            ("W/\"a\"", "\"a\"", Evaluation::ServeWhole),
            ("nonsense", "\"a\"", Evaluation::ServeWhole),
        ];
        for (value, stored, outcome) in cases {
            let fields = [("range", "bytes=0-1"), ("if-range", value)];
            assert_eq!(cached(&fields, Dates::default(), &tagged(stored)), outcome, "{value} {stored}");
        }
        assert_eq!(cached(&[("if-range", "\"b\"")], Dates::default(), &tagged("\"a\"")), Evaluation::Serve);
    }

    #[test]
    fn rfc9110_13_1_5_if_range_needs_the_very_date_and_a_strong_one() {
        let fields = [("range", "bytes=0-1"), ("if-range", "date")];
        let cases = [
            (Some(500), Some(501), 500, Evaluation::Serve),
            (Some(500), Some(500), 500, Evaluation::ServeWhole),
            (Some(500), None, 500, Evaluation::ServeWhole),
            (Some(500), Some(900), 501, Evaluation::ServeWhole),
            (None, Some(900), 900, Evaluation::ServeWhole),
        ];
        for (modified, date, when, outcome) in cases {
            let stored = Selected { modified, date, ..STORED };
            assert_eq!(cached(&fields, since(when), &stored), outcome, "{modified:?} {date:?} {when}");
        }
        for (tag, outcome) in [("\"a\"", Evaluation::Serve), ("W/\"a\"", Evaluation::ServeWhole)] {
            let stored = Selected { modified: Some(500), date: Some(501), ..tagged(tag) };
            assert_eq!(cached(&fields, since(500), &stored), outcome, "{tag}");
        }
    }

    #[test]
    fn rfc9110_13_2_2_a_304_goes_before_if_range() {
        let fields = [("if-none-match", "\"a\""), ("range", "bytes=0-1"), ("if-range", "\"b\"")];
        assert_eq!(cached(&fields, Dates::default(), &tagged("\"a\"")), Evaluation::NotModified);
    }

    #[test]
    fn rfc9110_13_2_1_conditions_do_not_count_for_other_statuses() {
        let understood = Selected { status: StatusCode::NON_AUTHORITATIVE_INFORMATION, ..tagged("\"a\"") };
        assert_eq!(cached(&[("if-none-match", "\"a\"")], Dates::default(), &understood), Evaluation::NotModified);
        for status in [StatusCode::NOT_FOUND, StatusCode::MOVED_PERMANENTLY, StatusCode::INTERNAL_SERVER_ERROR] {
            let stored = Selected { status, ..tagged("\"a\"") };
            assert_eq!(cached(&[("if-none-match", "*")], Dates::default(), &stored), Evaluation::Serve);
        }
    }

    const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const TUESDAY: &str = "Tue, 02 Jan 2024 00:00:00 GMT";
    const WEDNESDAY: Duration = Duration::from_secs(1_704_240_000);

    #[test]
    fn from_the_heads_of_a_request_and_of_a_stored_response_follows_what_to_answer() {
        let stored = request(&[("etag", "\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)]);
        let answer = |fields: &[(&'static str, &'static str)]| {
            evaluate_stored(&Method::GET, &request(fields), StatusCode::OK, &stored, WEDNESDAY)
        };
        assert_eq!(answer(&[]), Evaluation::Serve);
        assert_eq!(answer(&[("if-none-match", "\"a\"")]), Evaluation::NotModified);
        assert_eq!(answer(&[("if-none-match", "\"b\""), ("if-modified-since", TUESDAY)]), Evaluation::Serve);
        assert_eq!(answer(&[("if-modified-since", MONDAY)]), Evaluation::NotModified);
        assert_eq!(answer(&[("if-modified-since", "Monday, 01-Jan-24 00:00:00 GMT")]), Evaluation::NotModified);
        assert_eq!(answer(&[("if-modified-since", "Sun, 31 Dec 2023 23:59:59 GMT")]), Evaluation::Serve);
        assert_eq!(answer(&[("if-modified-since", "2024-01-02")]), Evaluation::Serve);
        assert_eq!(answer(&[("range", "bytes=0-1"), ("if-range", MONDAY)]), Evaluation::Serve);
        assert_eq!(answer(&[("range", "bytes=0-1"), ("if-range", TUESDAY)]), Evaluation::ServeWhole);
        assert_eq!(answer(&[("range", "bytes=0-1"), ("if-range", "\"a\"")]), Evaluation::Serve);
        assert_eq!(answer(&[("if-match", "\"b\""), ("if-unmodified-since", MONDAY)]), Evaluation::Serve);
    }

    #[test]
    fn rfc9110_13_1_5_a_last_modified_of_the_very_second_of_its_date_is_too_weak_for_if_range() {
        let stored = request(&[("last-modified", MONDAY), ("date", MONDAY)]);
        let asked = request(&[("range", "bytes=0-1"), ("if-range", MONDAY)]);
        let outcome = evaluate_stored(&Method::GET, &asked, StatusCode::OK, &stored, WEDNESDAY);
        assert_eq!(outcome, Evaluation::ServeWhole);
    }

    #[test]
    fn only_conditions_for_a_cache_and_ranges_are_looked_at() {
        for name in ["if-none-match", "if-modified-since", "range"] {
            assert!(asks_the_cache(&request(&[(name, "x")])), "{name}");
        }
        for name in ["if-match", "if-unmodified-since", "if-range", "accept"] {
            assert!(!asks_the_cache(&request(&[(name, "x")])), "{name}");
        }
    }

    #[test]
    fn dates_that_stand_twice_or_cannot_be_read_are_none() {
        let twice = request(&[("last-modified", MONDAY), ("last-modified", MONDAY), ("date", "today")]);
        let selected = Selected::of(StatusCode::OK, &twice, WEDNESDAY);
        assert_eq!((selected.modified, selected.date, selected.received), (None, None, WEDNESDAY.as_secs()));
        let tag = Dates::of(&request(&[("if-range", "\"a\""), ("if-unmodified-since", MONDAY)]), WEDNESDAY);
        assert_eq!((tag.range, tag.unmodified_since), (None, Some(1_704_067_200)));
    }
}
