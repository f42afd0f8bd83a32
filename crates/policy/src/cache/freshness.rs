//! The freshness of a stored response (RFC 9111 §4.2).
//!
//! Computes its lifetime ([`lifetime`], §4.2.1) and its age ([`age_on_arrival`] and [`age`], §4.2.3). `lookup` decides
//! whether a stale response may be served.

use std::time::Duration;

use http::StatusCode;

use super::facts::ResponseFacts;
use crate::message::cache_control::SECONDS_MAX;
use crate::time::Now;

/// The age of a stored response, and its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Its age: the value of `Age` when it is served (RFC 9111 §5.1).
    pub age: Duration,
    /// Its lifetime.
    pub lifetime: Duration,
}

impl Freshness {
    /// Whether it is fresh: the lifetime exceeds the age (RFC 9111 §4.2).
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.lifetime > self.age
    }

    /// The remaining freshness; zero if stale.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.lifetime.saturating_sub(self.age)
    }

    /// The time since it became stale; zero if fresh.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        self.age.saturating_sub(self.lifetime)
    }
}

/// A freshness lifetime and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The lifetime, counted from the generation at the origin. Zero: stale from the start.
    pub duration: Duration,
    /// Its source.
    pub source: LifetimeSource,
}

/// The source of a freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The route's `ttl_force`.
    Forced,
    /// The origin's `s-maxage`.
    SMaxage,
    /// The origin's `max-age`.
    MaxAge,
    /// The origin's `Expires`.
    Expires,
    /// The route's lifetime for this status.
    Status,
    /// The route's `ttl`.
    Route,
    /// Heuristic: a tenth of the time since the last modification.
    Heuristic,
}

impl LifetimeSource {
    /// Whether it comes from the route's configuration.
    #[must_use]
    pub fn is_route(self) -> bool {
        match self {
            Self::Forced | Self::Status | Self::Route => true,
            Self::SMaxage | Self::MaxAge | Self::Expires | Self::Heuristic => false,
        }
    }
}

/// A route's freshness rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlRules {
    /// Overrides the origin, for statuses that are heuristically cacheable ([`is_heuristic`]).
    pub forced: Option<Duration>,
    /// For exactly these statuses, if the origin specifies no lifetime. The first match counts.
    pub by_status: Vec<(StatusCode, Duration)>,
    /// If the origin specifies no lifetime, for heuristically cacheable statuses.
    pub fallback: Option<Duration>,
    /// The longest heuristic lifetime. Zero: no heuristic freshness.
    pub heuristic_max: Duration,
}

impl Default for TtlRules {
    /// The origin's lifetime, and a heuristic one of at most a day.
    fn default() -> Self {
        Self { forced: None, by_status: Vec::new(), fallback: None, heuristic_max: Duration::from_secs(86_400) }
    }
}

/// How long a shared cache may serve this response without validation.
///
/// The first source present counts: the route's `forced`; the origin's lifetime (see [`explicit`]); the route's
/// lifetime for the status; its `fallback`; a tenth of the time between `Last-Modified` and `Date`. The last two apply
/// to heuristically cacheable statuses and to `public` responses; the route's lifetimes never to a 414. `None`: no
/// source applies.
///
/// Source: RFC 9111 §4.2.1 and §4.2.2.
#[must_use]
pub fn lifetime(facts: &ResponseFacts, rules: &TtlRules) -> Option<Lifetime> {
    let give = |source| move |duration| Lifetime { duration, source };
    let may_be_guessed = is_heuristic(facts.status) || facts.directives.public;
    // A URI may be too long because of a part that the key omits; storing the 414 would affect other requests.
    let unasked = is_heuristic(facts.status) && facts.status != StatusCode::URI_TOO_LONG;
    let by_route = unasked || facts.directives.public;
    let by_status = || rules.by_status.iter().find(|(status, _)| *status == facts.status).map(|(_, ttl)| *ttl);
    rules
        .forced
        .filter(|_| unasked)
        .map(give(LifetimeSource::Forced))
        .or_else(|| explicit(facts))
        .or_else(|| by_status().map(give(LifetimeSource::Status)))
        .or_else(|| rules.fallback.filter(|_| by_route).map(give(LifetimeSource::Route)))
        .or_else(|| heuristic(facts, rules).filter(|_| may_be_guessed).map(give(LifetimeSource::Heuristic)))
}

/// The lifetime specified by the origin: `s-maxage`, `max-age`, `Expires − Date`, the first present.
///
/// Source: RFC 9111 §4.2.1. `facts` contains the directives of `CDN-Cache-Control` (RFC 9213 §2.2).
#[must_use]
pub fn explicit(facts: &ResponseFacts) -> Option<Lifetime> {
    let give = |source| move |duration| Lifetime { duration, source };
    let expires_after = || facts.expires.map(|expires| expires.saturating_sub(facts.date).min(SECONDS_MAX));
    (facts.directives.s_maxage.map(give(LifetimeSource::SMaxage)))
        .or_else(|| facts.directives.max_age.map(give(LifetimeSource::MaxAge)))
        .or_else(|| expires_after().map(give(LifetimeSource::Expires)))
}

/// RFC 9111 §4.2.2: "a typical setting of this fraction might be 10%".
fn heuristic(facts: &ResponseFacts, rules: &TtlRules) -> Option<Duration> {
    let unchanged_for = facts.date.saturating_sub(facts.last_modified?);
    Some((unchanged_for / 10).min(rules.heuristic_max))
}

/// Whether a status is heuristically cacheable (RFC 9110 §15.1; 451: RFC 7725 §3).
#[must_use]
pub fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

/// The age of a response when it arrived: its `corrected_initial_age`.
///
/// `requested` is when the request was sent. `Date` is compared with the wall clock; the response delay is measured
/// with the monotonic clock.
///
/// Source: RFC 9111 §4.2.3.
#[must_use]
pub fn age_on_arrival(facts: &ResponseFacts, requested: Now, received: Now) -> Duration {
    let apparent = received.wall.saturating_sub(facts.date);
    let corrected = facts.age.saturating_add(received.mono.saturating_sub(requested.mono));
    apparent.max(corrected).min(SECONDS_MAX)
}

/// The age of a response now: its `current_age` (RFC 9111 §4.2.3).
#[must_use]
pub fn age(on_arrival: Duration, received: Now, now: Now) -> Duration {
    on_arrival.saturating_add(now.mono.saturating_sub(received.mono)).min(SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{NOW, later, response, secs};
    use super::*;
    use proptest::prelude::*;

    const TODAY: &str = "Wed, 01 Jul 2026 00:00:00 GMT";
    const IN_A_MINUTE: &str = "Wed, 01 Jul 2026 00:01:00 GMT";
    const TEN_MINUTES_AGO: &str = "Tue, 30 Jun 2026 23:50:00 GMT";
    const YEARS_AGO: &str = "Sun, 09 Sep 2001 01:46:40 GMT";

    fn given(status: u16, fields: &[(&'static str, &'static str)], rules: &TtlRules) -> Option<(u64, LifetimeSource)> {
        lifetime(&response(status, fields), rules).map(|lifetime| (lifetime.duration.as_secs(), lifetime.source))
    }

    #[test]
    fn rfc9111_4_2_1_the_first_source_wins() {
        let all = [
            ("cdn-cache-control", "max-age=1"),
            ("cache-control", "s-maxage=2, max-age=3"),
            ("date", TODAY),
            ("expires", IN_A_MINUTE),
            ("last-modified", TEN_MINUTES_AGO),
        ];
        let rules = TtlRules::default();
        assert_eq!(given(200, &all, &rules), Some((1, LifetimeSource::MaxAge)));
        assert_eq!(given(200, &all[1..], &rules), Some((2, LifetimeSource::SMaxage)));
        assert_eq!(given(200, &[("cache-control", "max-age=3"), all[3]], &rules), Some((3, LifetimeSource::MaxAge)));
        assert_eq!(given(200, &all[2..], &rules), Some((60, LifetimeSource::Expires)));
        assert_eq!(given(200, &all[4..], &rules), Some((60, LifetimeSource::Heuristic)));
        assert_eq!(given(200, &[], &rules), None);
    }

    #[test]
    fn rfc9111_4_2_1_and_5_3_invalid_times_are_zero_and_not_guessed_over() {
        let rules = TtlRules { fallback: Some(secs(300)), ..TtlRules::default() };
        let modified = ("last-modified", YEARS_AGO);
        for (name, value, source) in [
            ("expires", "0", LifetimeSource::Expires),
            ("expires", TEN_MINUTES_AGO, LifetimeSource::Expires),
            ("cache-control", "max-age=x", LifetimeSource::MaxAge),
            ("cache-control", "s-maxage=x, max-age=60", LifetimeSource::SMaxage),
            ("cache-control", "max-age=1, max-age=2", LifetimeSource::MaxAge),
        ] {
            assert_eq!(given(200, &[(name, value), modified], &rules), Some((0, source)), "{value}");
        }
    }

    #[test]
    fn rfc9111_4_2_1_expires_counts_from_date_and_not_from_here() {
        let rules = TtlRules::default();
        assert_eq!(
            given(200, &[("date", TEN_MINUTES_AGO), ("expires", TODAY)], &rules),
            Some((600, LifetimeSource::Expires))
        );
        assert_eq!(given(200, &[("expires", IN_A_MINUTE)], &rules), Some((60, LifetimeSource::Expires)));
        let far = [("expires", "Fri, 31 Dec 9999 23:59:59 GMT")];
        assert_eq!(given(200, &far, &rules), Some((SECONDS_MAX.as_secs(), LifetimeSource::Expires)));
    }

    #[test]
    fn rfc9110_15_1_guesses_are_made_for_some_statuses_only() {
        let modified = ("last-modified", TEN_MINUTES_AGO);
        let rules = TtlRules::default();
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 451, 501] {
            assert_eq!(given(status, &[modified], &rules), Some((60, LifetimeSource::Heuristic)), "{status}");
        }
        for status in [201, 302, 303, 307, 400, 403, 413, 431, 500, 502, 503, 504] {
            assert_eq!(given(status, &[modified], &rules), None, "{status}");
            let public = ("cache-control", "public");
            assert_eq!(given(status, &[modified, public], &rules), Some((60, LifetimeSource::Heuristic)), "{status}");
        }
    }

    #[test]
    fn rfc9111_4_2_2_a_guess_has_a_limit_and_never_goes_below_zero() {
        let rules = TtlRules::default();
        assert_eq!(given(200, &[("last-modified", YEARS_AGO)], &rules), Some((86_400, LifetimeSource::Heuristic)));
        assert_eq!(given(200, &[("last-modified", IN_A_MINUTE)], &rules), Some((0, LifetimeSource::Heuristic)));
        assert_eq!(given(200, &[("last-modified", "never")], &rules), None);
    }

    #[test]
    fn the_route_fills_in_where_the_origin_is_silent() {
        let not_found = StatusCode::NOT_FOUND;
        let rules = TtlRules {
            by_status: vec![(not_found, secs(5)), (StatusCode::BAD_GATEWAY, secs(1))],
            fallback: Some(secs(300)),
            ..TtlRules::default()
        };
        assert_eq!(given(200, &[("last-modified", YEARS_AGO)], &rules), Some((300, LifetimeSource::Route)));
        assert_eq!(given(200, &[("cache-control", "max-age=0")], &rules), Some((0, LifetimeSource::MaxAge)));
        assert_eq!(given(404, &[], &rules), Some((5, LifetimeSource::Status)));
        assert_eq!(given(404, &[("cache-control", "max-age=7")], &rules), Some((7, LifetimeSource::MaxAge)));
        assert_eq!(given(502, &[], &rules), Some((1, LifetimeSource::Status)));
        assert_eq!(given(503, &[], &rules), None);
    }

    #[test]
    fn a_route_s_time_keeps_no_uri_that_was_too_long() {
        let rules = TtlRules { forced: Some(secs(60)), fallback: Some(secs(300)), ..TtlRules::default() };
        assert_eq!(given(414, &[], &rules), None);
        assert_eq!(given(414, &[("cache-control", "max-age=3")], &rules), Some((3, LifetimeSource::MaxAge)));
    }

    #[test]
    fn a_forced_time_beats_the_origin_but_stores_no_errors() {
        let rules = TtlRules { forced: Some(secs(60)), ..TtlRules::default() };
        assert_eq!(given(200, &[("cache-control", "max-age=9000")], &rules), Some((60, LifetimeSource::Forced)));
        assert_eq!(given(200, &[], &rules), Some((60, LifetimeSource::Forced)));
        assert_eq!(given(500, &[], &rules), None);
        assert_eq!(given(500, &[("cache-control", "max-age=3")], &rules), Some((3, LifetimeSource::MaxAge)));
    }

    #[test]
    fn rfc9111_4_2_3_the_greater_of_both_ages_counts() {
        let on_arrival = |fields: &[(&'static str, &'static str)], seconds_on_the_way: u64| {
            let requested = Now { mono: NOW.mono - secs(seconds_on_the_way), wall: NOW.wall };
            age_on_arrival(&response(200, fields), requested, NOW).as_secs()
        };
        let dated = ("date", TEN_MINUTES_AGO);
        assert_eq!(on_arrival(&[], 0), 0);
        assert_eq!(on_arrival(&[], 3), 3);
        assert_eq!(on_arrival(&[("age", "10")], 3), 13);
        assert_eq!(on_arrival(&[("age", "10"), dated], 3), 600);
        assert_eq!(on_arrival(&[("age", "700"), dated], 3), 703);
        assert_eq!(on_arrival(&[("date", IN_A_MINUTE)], 3), 3);
        assert_eq!(on_arrival(&[("age", "99999999999")], 3), SECONDS_MAX.as_secs());
    }

    #[test]
    fn rfc9111_4_2_3_time_spent_here_is_added_though_the_wall_clock_jumps() {
        assert_eq!(age(secs(5), NOW, later(7)), secs(12));
        let jumped = Now { mono: NOW.mono + secs(7), wall: Duration::ZERO };
        assert_eq!(age(secs(5), NOW, jumped), secs(12));
    }

    proptest! {
        #[test]
        fn ages_saturate(one: u64, other: u64, third: u64) {
            let at = |seconds| Now { mono: secs(seconds), wall: secs(seconds) };
            prop_assert!(age(secs(one), at(other), at(third)) <= SECONDS_MAX);
            prop_assert!(age_on_arrival(&response(200, &[]), at(one), at(other)) <= SECONDS_MAX);
        }
    }
}
