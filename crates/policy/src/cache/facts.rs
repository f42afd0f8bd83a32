//! The facts about a request and a response that the cache's rules use, parsed once.
//!
//! Parses and normalizes only; the other files of this folder decide.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{Method, StatusCode, Uri};
use message::{Fields, Known};

use super::partial::{self, Part};
use crate::message::cache_control::{RequestDirectives, ResponseDirectives, delta_seconds};
use crate::message::{dates, list, targeted};
use crate::time::Now;

/// The facts about a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target in absolute form (RFC 9110 §7.1).
    pub target: &'a Uri,
    /// Whether it has content of any length.
    pub has_body: bool,
    /// Whether it has `Authorization` (RFC 9111 §3.5).
    pub is_authorized: bool,
    /// Its `Cache-Control`, or `Pragma`.
    pub directives: RequestDirectives,
}

impl<'a> RequestFacts<'a> {
    /// From a request's head. `target` is in absolute form.
    #[must_use]
    pub fn of(method: &'a Method, target: &'a Uri, headers: &Fields, has_body: bool) -> Self {
        let is_authorized = headers.has(Known::Authorization);
        Self { method, target, has_body, is_authorized, directives: RequestDirectives::of(headers) }
    }
}

/// The facts about a response. Times are since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFacts {
    /// Its status.
    pub status: StatusCode,
    /// The part in a 206 that can be stored (RFC 9111 §3.3); `None` for every other status.
    pub part: Option<Part>,
    /// The effective directives: those of a valid `CDN-Cache-Control`, else those of `Cache-Control`.
    pub directives: ResponseDirectives,
    /// `Expires`. An invalid or contradictory one is the epoch, which is long past (RFC 9111 §4.2.1, §5.3). `None` next
    /// to an effective `CDN-Cache-Control` (RFC 9213 §2.2).
    pub expires: Option<Duration>,
    /// `Date`; if missing or invalid, the time of arrival (RFC 9110 §6.6.1).
    pub date: Duration,
    /// `Last-Modified`, if valid.
    pub last_modified: Option<Duration>,
    /// `Age`: the first of several values, zero if malformed (RFC 9111 §5.1).
    pub age: Duration,
    /// Whether it can be validated: it has an `ETag` or a valid `Last-Modified`.
    pub has_validator: bool,
    /// Whether its `Vary` contains `*` (RFC 9110 §12.5.5).
    pub varies_on_anything: bool,
    /// Whether it sets a cookie for one client: no directive withholds the cookie from the store, and none allows
    /// sharing it (`public`, `s-maxage`, or a targeted lifetime).
    pub sets_own_cookie: bool,
    /// `Content-Location`, if there is exactly one.
    pub content_location: Option<Box<[u8]>>,
}

impl ResponseFacts {
    /// From the head of a response that arrived at `received`.
    #[must_use]
    pub fn of(status: StatusCode, headers: &Fields, received: Now) -> Self {
        let read_date = |value: &[u8]| dates::read(value, received.wall);
        let targeted = targeted::directives(headers);
        let expires = if targeted.is_some() { None } else { expires(headers, received) };
        let last_modified = headers.first(Known::LastModified).and_then(read_date);
        let is_targeted = targeted.is_some();
        let directives = targeted.unwrap_or_else(|| ResponseDirectives::of(headers));
        let sets_cookie = headers.has(Known::SetCookie) && directives.withheld().all(|name| *name != SET_COOKIE);
        Self {
            status,
            part: partial::part_of(status, headers),
            expires,
            date: headers.first(Known::Date).and_then(read_date).unwrap_or(received.wall),
            last_modified,
            age: age(headers),
            has_validator: last_modified.is_some() || headers.has(Known::Etag),
            varies_on_anything: list::holds(headers.values(Known::Vary), "*"),
            sets_own_cookie: sets_cookie && !shares_cookies(&directives, is_targeted),
            content_location: headers.only(Known::ContentLocation).map(Box::from),
            directives,
        }
    }
}

/// Whether a response may be shared including its cookies: by `public`, or by a lifetime for shared caches. In
/// `CDN-Cache-Control`, which is for shared caches only, `max-age` is such a lifetime. A lifetime of zero allows no
/// sharing.
fn shares_cookies(directives: &ResponseDirectives, is_targeted: bool) -> bool {
    let targeted = directives.max_age.filter(|_| is_targeted);
    let times = [directives.s_maxage, targeted];
    directives.public || times.into_iter().flatten().any(|time| !time.is_zero())
}

fn expires(headers: &Fields, received: Now) -> Option<Duration> {
    let mut lines = headers.values(Known::Expires);
    let first = lines.next()?;
    let agreed = lines.all(|other| other == first);
    let moment = dates::read(first, received.wall).filter(|_| agreed);
    Some(moment.unwrap_or(Duration::ZERO))
}

fn age(headers: &Fields) -> Duration {
    let first = headers.first(Known::Age).and_then(|line| line.split(|byte| *byte == b',').next());
    first.map(<[u8]>::trim_ascii).and_then(delta_seconds).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{NOW, headers, secs};
    use super::*;

    fn facts(fields: &[(&'static str, &'static str)]) -> ResponseFacts {
        ResponseFacts::of(StatusCode::OK, &headers(fields), NOW)
    }

    #[test]
    fn a_bare_response_dates_from_its_arrival() {
        let bare = facts(&[]);
        assert_eq!((bare.date, bare.expires, bare.age), (NOW.wall, None, Duration::ZERO));
        assert!(!bare.has_validator && !bare.varies_on_anything && !bare.sets_own_cookie);
        assert_eq!(facts(&[("date", "yesterday")]).date, NOW.wall);
        assert_eq!(facts(&[("date", "Sun, 09 Sep 2001 01:46:40 GMT")]).date, secs(1_000_000_000));
    }

    #[test]
    fn rfc9111_5_1_the_first_age_counts_and_a_malformed_one_is_none() {
        for (lines, expected) in [
            (&["5"][..], 5),
            (&["5, 7"], 5),
            (&["5", "7"], 5),
            (&["x, 7"], 0),
            (&["-1"], 0),
            (&["1.5"], 0),
            (&["\"5\""], 0),
            (&[""], 0),
            (&["99999999999999999999"], 1 << 31),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
            assert_eq!(facts(&fields).age, secs(expected), "{lines:?}");
        }
    }

    #[test]
    fn rfc9111_5_3_expires_that_cannot_be_read_or_contradicts_itself_has_passed() {
        let moment = "Sun, 09 Sep 2001 01:46:40 GMT";
        assert_eq!(facts(&[("expires", moment)]).expires, Some(secs(1_000_000_000)));
        assert_eq!(facts(&[("expires", moment), ("expires", moment)]).expires, Some(secs(1_000_000_000)));
        let later = "Sun, 09 Sep 2040 01:46:40 GMT";
        assert_eq!(facts(&[("expires", later), ("expires", moment)]).expires, Some(Duration::ZERO));
        for odd in ["0", "-1", "", "never", "Sun, 09 Sep 2040 01:46:40 UTC"] {
            assert_eq!(facts(&[("expires", odd)]).expires, Some(Duration::ZERO), "{odd}");
        }
    }

    #[test]
    fn rfc9213_2_2_targeted_directives_replace_cache_control_and_expires() {
        let others = [("cache-control", "no-store, max-age=5"), ("expires", "Sun, 09 Sep 2040 01:46:40 GMT")];
        let with = |targeted: &'static str| facts(&[others[0], others[1], ("cdn-cache-control", targeted)]);
        let replaced = with("max-age=60");
        assert_eq!((replaced.directives.max_age, replaced.expires), (Some(secs(60)), None));
        assert!(!replaced.directives.no_store);
        for useless in ["", "max-age=60,", "Max-Age=60"] {
            let kept = with(useless);
            assert_eq!((kept.directives.max_age, kept.directives.no_store), (Some(secs(5)), true), "{useless}");
            assert!(kept.expires.is_some());
        }
    }

    #[test]
    fn what_it_can_be_validated_by_is_seen() {
        assert!(facts(&[("etag", "\"a\"")]).has_validator);
        assert!(facts(&[("last-modified", "Sun, 09 Sep 2001 01:46:40 GMT")]).has_validator);
        assert!(!facts(&[("last-modified", "long ago")]).has_validator);
        assert!(facts(&[("vary", "accept"), ("vary", "accept-language, *")]).varies_on_anything);
        assert_eq!(facts(&[("content-location", "/a"), ("content-location", "/a")]).content_location, None);
    }

    #[test]
    fn a_cookie_is_for_one_client_unless_the_response_says_otherwise() {
        let is_own = |name, value| facts(&[("set-cookie", "a=b"), (name, value)]).sets_own_cookie;
        for own in ["", "max-age=60", "must-revalidate, max-age=60", "s-maxage=0", "s-maxage=x", "private=\"x-a\""] {
            assert!(is_own("cache-control", own), "{own}");
        }
        for shared in ["public", "max-age=60, public", "s-maxage=1", "private=\"set-cookie\"", "no-cache=Set-Cookie"] {
            assert!(!is_own("cache-control", shared), "{shared}");
        }
        for shared in ["max-age=60", "s-maxage=60", "public", "private=\"set-cookie\""] {
            assert!(!is_own("cdn-cache-control", shared), "{shared}");
        }
        for own in ["max-age=0", "must-revalidate", "stale-if-error=60"] {
            assert!(is_own("cdn-cache-control", own), "{own}");
        }
        let both = [("set-cookie", "a=b"), ("cache-control", "public"), ("cdn-cache-control", "must-revalidate")];
        assert!(facts(&both).sets_own_cookie);
        assert!(!facts(&[("cache-control", "max-age=60")]).sets_own_cookie);
    }

    #[test]
    fn a_request_says_who_it_is_for() {
        let target = Uri::from_static("http://example.com/a");
        let bare = RequestFacts::of(&Method::GET, &target, &Fields::new(), false);
        assert!(!bare.is_authorized && !bare.has_body && !bare.directives.no_cache);
        let fields = headers(&[("authorization", "Basic x"), ("pragma", "no-cache")]);
        let full = RequestFacts::of(&Method::POST, &target, &fields, true);
        assert!(full.is_authorized && full.has_body && full.directives.no_cache);
    }
}
