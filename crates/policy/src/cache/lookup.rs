//! Decides whether a stored response may answer a request (RFC 9111 §4), also if it is stale (§4.2.4, RFC 5861).
//!
//! The stored response has been selected by key and `Vary` (§4.1). Other files decide whether the client gets the
//! whole, a part or a 304, and how a response is validated (§4.3).

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::freshness::Freshness;
pub use super::stored::Stored;
use crate::message::cache_control::RequestDirectives;
use crate::time::Now;

/// A route's rules for stale responses, which apply unless the origin specifies its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleRules {
    /// How long a response may be served stale while it is refreshed (RFC 5861 §3).
    pub while_revalidate: Option<Duration>,
    /// How long a response may be served stale instead of an error (RFC 5861 §4).
    pub if_error: Option<Duration>,
}

/// How to answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupVerdict {
    /// Serve the stored response: it is fresh enough for this request.
    Hit(Freshness),
    /// Serve the stored response: it is stale, and the client accepts that (RFC 9111 §5.2.1.2).
    HitStale(Freshness),
    /// Serve the stale response, and refresh it in the background (RFC 5861 §3).
    HitStaleWhileRevalidate(Freshness),
    /// Validate the stored response with the origin before serving it (RFC 9111 §4.3).
    Revalidate(Because),
    /// No response is stored.
    Miss,
    /// Answer 504: the request has `only-if-cached`, and no stored response can be served (RFC 9111 §5.2.1.7).
    GatewayTimeout,
}

/// Why a stored response must be validated. `Display` is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It is stale, and nothing allows serving it stale.
    Stale,
    /// The response has `no-cache` (RFC 9111 §5.2.2.4).
    NoCache,
    /// The request requires a fresher response (RFC 9111 §5.2.1).
    Request,
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stale => "stale",
            Self::NoCache => "no-cache",
            Self::Request => "request",
        })
    }
}

/// Decides how to answer a request with these directives.
///
/// `no-cache="…"` applies to the named fields, which are not stored (see `headers::withhold`). A route's `ttl_force`
/// overrides `no-cache`, but not the directives that forbid stale responses. A request's `no-store` does not prevent
/// using a stored response (§5.2.1.5).
#[must_use]
pub fn lookup(stored: Option<&Stored>, request: &RequestDirectives, now: Now, rules: StaleRules) -> LookupVerdict {
    let verdict = stored.map_or(LookupVerdict::Miss, |stored| stored.judge(request, now, rules));
    match verdict {
        LookupVerdict::Miss | LookupVerdict::Revalidate(_) if request.only_if_cached => LookupVerdict::GatewayTimeout,
        LookupVerdict::Hit(_)
        | LookupVerdict::HitStale(_)
        | LookupVerdict::HitStaleWhileRevalidate(_)
        | LookupVerdict::Revalidate(_)
        | LookupVerdict::Miss
        | LookupVerdict::GatewayTimeout => verdict,
    }
}

/// Why a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The origin responded with an error: a status for which [`is_error`] holds, or a malformed response.
    Error,
    /// There was no response: the cache is disconnected (RFC 9111 §4.2.4).
    Silence,
}

/// Whether a stored response may be served instead of a failed fetch; returns its freshness.
///
/// The window is the longer of the response's (by default the route's) and the request's. Without either, an error is
/// forwarded; but if there was no response, a stale response is served at any age, unless the client rejects stale
/// responses. A response that must be validated before each use is not served, nor any response to a request with
/// `no-cache`.
///
/// Source: RFC 5861 §4, RFC 9111 §4.2.4.
#[must_use]
pub fn instead_of(
    trouble: Trouble,
    stored: &Stored,
    request: &RequestDirectives,
    now: Now,
    rules: StaleRules,
) -> Option<Freshness> {
    let freshness = stored.freshness(now);
    if request.no_cache || stored.must_ask_always() || (!freshness.is_fresh() && stored.forbids_stale()) {
        return None;
    }
    let of_response = stored.stale_if_error().or(rules.if_error);
    let stale_for = freshness.stale_for();
    let is_allowed = match (of_response.max(request.stale_if_error), trouble) {
        (Some(window), Trouble::Error | Trouble::Silence) => stale_for <= window,
        (None, Trouble::Silence) => freshness.is_fresh() || takes_stale(request, stale_for),
        (None, Trouble::Error) => false,
    };
    is_allowed.then_some(freshness)
}

/// Whether a response with this status is an error that a stale response may replace (RFC 5861 §4).
#[must_use]
pub fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

impl Stored {
    /// The freshness of a response that is served unchanged to a request without cache directives: a hit of [`lookup`],
    /// at lower cost.
    #[must_use]
    #[inline]
    pub fn hit(&self, now: Now) -> Option<Freshness> {
        let freshness = self.freshness(now);
        (freshness.is_fresh() && !self.must_ask_always()).then_some(freshness)
    }

    fn judge(&self, request: &RequestDirectives, now: Now, rules: StaleRules) -> LookupVerdict {
        let freshness = self.freshness(now);
        if request.no_cache {
            return LookupVerdict::Revalidate(Because::Request);
        }
        if self.must_ask_always() {
            return LookupVerdict::Revalidate(Because::NoCache);
        }
        if self.asks_for_fresher(request, freshness) {
            return LookupVerdict::Revalidate(Because::Request);
        }
        if freshness.is_fresh() {
            return LookupVerdict::Hit(freshness);
        }
        if self.forbids_stale() || !takes_stale(request, freshness.stale_for()) {
            return LookupVerdict::Revalidate(Because::Stale);
        }
        let window = self.stale_while_revalidate().or(rules.while_revalidate);
        match (window, request.max_stale) {
            (Some(window), _) if freshness.stale_for() <= window => LookupVerdict::HitStaleWhileRevalidate(freshness),
            (_, Some(_)) => LookupVerdict::HitStale(freshness),
            (_, None) => LookupVerdict::Revalidate(Because::Stale),
        }
    }

    /// RFC 9111 §5.2.2.4.
    fn must_ask_always(&self) -> bool {
        self.is_no_cache() && !self.is_forced()
    }

    /// RFC 9111 §5.2.1.1 and §5.2.1.3. Validating a fresh `immutable` response is pointless: only `no-cache` means that
    /// the client knows a reason (RFC 8246 §2).
    fn asks_for_fresher(&self, request: &RequestDirectives, freshness: Freshness) -> bool {
        let can_change = !(self.is_immutable() && freshness.is_fresh());
        let too_old = can_change && request.max_age.is_some_and(|most| freshness.age > most);
        let too_short = request.min_fresh.is_some_and(|least| freshness.left() < least);
        too_old || too_short
    }
}

/// Whether the client accepts a response that is stale for so long: `max-stale` sets the limit, and `max-age` without
/// it means that the client rejects stale responses (RFC 9111 §5.2.1.1, §5.2.1.2). `None` without either.
fn takes_stale(request: &RequestDirectives, stale_for: Duration) -> bool {
    match (request.max_stale, request.max_age) {
        (Some(most), _) => stale_for <= most,
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::freshness::{Lifetime, LifetimeSource, TtlRules, lifetime};
    use super::super::scripted::{NOW, headers, later, response, secs};
    use super::*;
    use proptest::prelude::*;

    const NONE: StaleRules = StaleRules { while_revalidate: None, if_error: None };
    const ROUTE: StaleRules = StaleRules { while_revalidate: Some(secs(30)), if_error: Some(secs(100)) };

    /// The verdict for a response with these directives, stored at age zero, after this many seconds.
    struct Asked {
        answered: &'static str,
        after: u64,
        rules: StaleRules,
        ttl: TtlRules,
    }

    impl Asked {
        fn new(answered: &'static str, after: u64) -> Self {
            Self { answered, after, rules: NONE, ttl: TtlRules::default() }
        }

        fn with<T>(&self, judge: impl FnOnce(&Stored) -> T) -> T {
            let facts = response(200, &[("cache-control", self.answered)]);
            let lifetime = lifetime(&facts, &self.ttl);
            judge(&Stored::new(&facts, lifetime, Duration::ZERO, NOW))
        }

        fn lookup(&self, asked: &'static str) -> LookupVerdict {
            let request = directives(asked);
            self.with(|stored| lookup(Some(stored), &request, later(self.after), self.rules))
        }

        fn after_error(&self, asked: &'static str) -> bool {
            let request = directives(asked);
            self.instead_of(Trouble::Error, &request)
        }

        fn after_silence(&self, asked: &'static str) -> bool {
            self.instead_of(Trouble::Silence, &directives(asked))
        }

        fn instead_of(&self, trouble: Trouble, request: &RequestDirectives) -> bool {
            self.with(|stored| instead_of(trouble, stored, request, later(self.after), self.rules)).is_some()
        }
    }

    fn directives(asked: &'static str) -> RequestDirectives {
        RequestDirectives::of(&headers(&[("cache-control", asked)]))
    }

    fn at(age: u64, lifetime: u64) -> Freshness {
        Freshness { age: secs(age), lifetime: secs(lifetime) }
    }

    #[test]
    fn rfc9111_4_2_fresh_while_the_lifetime_exceeds_the_age() {
        assert_eq!(Asked::new("max-age=60", 0).lookup(""), LookupVerdict::Hit(at(0, 60)));
        assert_eq!(Asked::new("max-age=60", 59).lookup(""), LookupVerdict::Hit(at(59, 60)));
        assert_eq!(Asked::new("max-age=60", 60).lookup(""), LookupVerdict::Revalidate(Because::Stale));
        assert_eq!(Asked::new("max-age=0", 0).lookup(""), LookupVerdict::Revalidate(Because::Stale));
        assert_eq!(Asked::new("", 0).lookup(""), LookupVerdict::Revalidate(Because::Stale));
    }

    #[test]
    fn a_hit_is_what_a_look_up_calls_so_for_a_request_that_says_nothing() {
        let forced = TtlRules { forced: Some(secs(9)), ..TtlRules::default() };
        for answered in
            ["max-age=60", "max-age=60, no-cache", "no-cache", "no-cache=\"x-a\", max-age=60", "", "max-age=0"]
        {
            for (after, ttl) in [0, 8, 9, 59, 60, 99]
                .into_iter()
                .flat_map(|after| [(after, forced.clone()), (after, TtlRules::default())])
            {
                let asked = Asked { ttl, ..Asked::new(answered, after) };
                let verdict = asked.lookup("");
                let hit = asked.with(|stored| stored.hit(later(after)));
                let is_hit = matches!(verdict, LookupVerdict::Hit(_));
                assert_eq!(hit.map(LookupVerdict::Hit), Some(verdict).filter(|_| is_hit), "{answered} after {after}");
            }
        }
    }

    #[test]
    fn rfc9111_4_2_3_the_age_on_arrival_counts() {
        let facts = response(200, &[("cache-control", "max-age=60")]);
        let lifetime = lifetime(&facts, &TtlRules::default());
        let stored = Stored::new(&facts, lifetime, secs(50), NOW);
        let request = RequestDirectives::default();
        assert_eq!(lookup(Some(&stored), &request, later(9), NONE), LookupVerdict::Hit(at(59, 60)));
        assert_eq!(lookup(Some(&stored), &request, later(10), NONE), LookupVerdict::Revalidate(Because::Stale));
    }

    #[test]
    fn rfc9111_5_2_1_what_the_request_asks_for_is_honoured() {
        let request = LookupVerdict::Revalidate(Because::Request);
        let stale = LookupVerdict::Revalidate(Because::Stale);
        for (after, asked, expected) in [
            (10, "no-cache", request),
            (10, "no-store", LookupVerdict::Hit(at(10, 60))),
            (10, "max-age=10", LookupVerdict::Hit(at(10, 60))),
            (10, "max-age=9", request),
            (0, "max-age=0", LookupVerdict::Hit(at(0, 60))),
            (10, "max-age=9, max-stale", request),
            (10, "min-fresh=50", LookupVerdict::Hit(at(10, 60))),
            (10, "min-fresh=51", request),
            (70, "min-fresh=1, max-stale", request),
            (70, "max-stale", LookupVerdict::HitStale(at(70, 60))),
            (70, "max-stale=10", LookupVerdict::HitStale(at(70, 60))),
            (70, "max-stale=9", stale),
            (70, "max-stale=x", stale),
            (70, "max-age=100", stale),
            (70, "max-age=100, max-stale=10", LookupVerdict::HitStale(at(70, 60))),
            (70, "no-transform, x=y", stale),
        ] {
            assert_eq!(Asked::new("max-age=60", after).lookup(asked), expected, "{after} {asked}");
        }
    }

    #[test]
    fn rfc9111_5_2_1_7_only_if_cached_is_answered_from_the_cache_or_not_at_all() {
        let only = "only-if-cached";
        assert_eq!(lookup(None, &directives(""), NOW, NONE), LookupVerdict::Miss);
        assert_eq!(lookup(None, &directives(only), NOW, NONE), LookupVerdict::GatewayTimeout);
        assert_eq!(Asked::new("max-age=60", 5).lookup(only), LookupVerdict::Hit(at(5, 60)));
        assert_eq!(Asked::new("max-age=60", 65).lookup(only), LookupVerdict::GatewayTimeout);
        assert_eq!(Asked::new("no-cache, max-age=60", 5).lookup(only), LookupVerdict::GatewayTimeout);
        assert_eq!(Asked::new("max-age=60", 5).lookup("only-if-cached, no-cache"), LookupVerdict::GatewayTimeout);
        assert_eq!(
            Asked::new("max-age=60", 65).lookup("only-if-cached, max-stale"),
            LookupVerdict::HitStale(at(65, 60))
        );
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_is_validated_before_each_use() {
        for answered in ["no-cache, max-age=60", "max-age=60, no-cache=\"set-cookie\", no-cache"] {
            let fresh = Asked { rules: ROUTE, ..Asked::new(answered, 5) };
            assert_eq!(fresh.lookup("max-stale"), LookupVerdict::Revalidate(Because::NoCache), "{answered}");
            assert!(!fresh.after_error("stale-if-error=1000"), "{answered}");
            assert!(!fresh.after_silence("max-stale"), "{answered}");
        }
        let named = Asked::new("max-age=60, no-cache=\"set-cookie\"", 5);
        assert_eq!(named.lookup(""), LookupVerdict::Hit(at(5, 60)));
        let ttl = TtlRules { forced: Some(secs(60)), ..TtlRules::default() };
        assert_eq!(Asked { ttl, ..Asked::new("no-cache", 5) }.lookup(""), LookupVerdict::Hit(at(5, 60)));
    }

    #[test]
    fn rfc9111_4_2_4_some_directives_forbid_every_stale_answer() {
        for answered in [
            "max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=30",
            "max-age=60, proxy-revalidate, stale-while-revalidate=30, stale-if-error=30",
            "s-maxage=60, stale-while-revalidate=30, stale-if-error=30",
        ] {
            let stale = Asked { rules: ROUTE, ..Asked::new(answered, 61) };
            for asked in ["", "max-stale", "stale-if-error=100"] {
                assert_eq!(stale.lookup(asked), LookupVerdict::Revalidate(Because::Stale), "{answered}");
                assert!(!stale.after_error(asked) && !stale.after_silence(asked), "{answered}");
            }
            let fresh = Asked { rules: ROUTE, ..Asked::new(answered, 59) };
            assert_eq!(fresh.lookup(""), LookupVerdict::Hit(at(59, 60)), "{answered}");
            assert!(fresh.after_error(""), "{answered}");
        }
    }

    #[test]
    fn rfc5861_3_stale_while_revalidate_has_a_window() {
        let answered = "max-age=60, stale-while-revalidate=10";
        let behind = |age| LookupVerdict::HitStaleWhileRevalidate(at(age, 60));
        let stale = LookupVerdict::Revalidate(Because::Stale);
        for (after, asked, expected) in [
            (59, "", LookupVerdict::Hit(at(59, 60))),
            (60, "", behind(60)),
            (70, "", behind(70)),
            (71, "", stale),
            (65, "max-age=100", stale),
            (65, "max-stale", behind(65)),
            (65, "max-stale=4", stale),
            (75, "max-stale", LookupVerdict::HitStale(at(75, 60))),
            (65, "no-cache", LookupVerdict::Revalidate(Because::Request)),
            (65, "only-if-cached", behind(65)),
        ] {
            assert_eq!(Asked::new(answered, after).lookup(asked), expected, "{after} {asked}");
        }
    }

    #[test]
    fn the_routes_windows_hold_where_the_origin_gives_none() {
        let with_route = |answered, after| Asked { rules: ROUTE, ..Asked::new(answered, after) };
        let behind = LookupVerdict::HitStaleWhileRevalidate(at(90, 60));
        assert_eq!(with_route("max-age=60", 90).lookup(""), behind);
        assert_eq!(with_route("max-age=60", 91).lookup(""), LookupVerdict::Revalidate(Because::Stale));
        let narrower = with_route("max-age=60, stale-while-revalidate=0, stale-if-error=0", 61);
        assert_eq!(narrower.lookup(""), LookupVerdict::Revalidate(Because::Stale));
        assert!(!narrower.after_error(""));
        assert!(with_route("max-age=60", 160).after_error(""));
        assert!(!with_route("max-age=60", 161).after_error(""));
    }

    #[test]
    fn rfc5861_4_stale_if_error_has_a_window_on_either_side() {
        for (answered, after, asked, expected) in [
            ("max-age=60", 61, "", false),
            ("max-age=60, stale-if-error=10", 70, "", true),
            ("max-age=60, stale-if-error=10", 71, "", false),
            ("max-age=60", 70, "stale-if-error=10", true),
            ("max-age=60", 71, "stale-if-error=10", false),
            ("max-age=60, stale-if-error=5", 70, "stale-if-error=10", true),
            ("max-age=60, stale-if-error=10", 65, "no-cache", false),
            ("max-age=60, stale-if-error=10", 65, "max-age=0", true),
            ("max-age=60, stale-if-error=x", 61, "", false),
        ] {
            assert_eq!(Asked::new(answered, after).after_error(asked), expected, "{answered} {after} {asked}");
        }
    }

    #[test]
    fn rfc9111_4_2_4_a_disconnected_cache_serves_stale_unless_somebody_forbids_it() {
        for (answered, after, asked, expected) in [
            ("max-age=60", 61, "", true),
            ("max-age=60", 100_000, "", true),
            ("", 0, "", true),
            ("max-age=60", 61, "no-cache", false),
            ("max-age=60", 61, "max-age=0", false),
            ("max-age=60", 65, "max-age=0, max-stale=5", true),
            ("max-age=60", 66, "max-stale=5", false),
            ("max-age=60", 10, "max-age=0", true),
            ("max-age=60, must-revalidate", 10, "max-age=0", true),
            ("max-age=60, stale-if-error=5", 66, "", false),
            ("max-age=60, stale-if-error=0", 61, "", false),
            ("max-age=60", 66, "stale-if-error=5", false),
        ] {
            assert_eq!(Asked::new(answered, after).after_silence(asked), expected, "{answered} {after} {asked}");
        }
        assert!(!Asked { rules: ROUTE, ..Asked::new("max-age=60", 161) }.after_silence(""));
    }

    #[test]
    fn rfc8246_2_what_is_immutable_is_not_asked_about_while_it_is_fresh() {
        let answered = "max-age=60, immutable";
        for (after, asked, expected) in [
            (10, "max-age=0", LookupVerdict::Hit(at(10, 60))),
            (10, "max-age=9", LookupVerdict::Hit(at(10, 60))),
            (10, "no-cache", LookupVerdict::Revalidate(Because::Request)),
            (10, "min-fresh=51", LookupVerdict::Revalidate(Because::Request)),
            (70, "max-age=0", LookupVerdict::Revalidate(Because::Request)),
            (70, "", LookupVerdict::Revalidate(Because::Stale)),
        ] {
            assert_eq!(Asked::new(answered, after).lookup(asked), expected, "{after} {asked}");
        }
    }

    #[test]
    fn rfc5861_4_errors_are_those_of_a_server_that_cannot_answer() {
        for status in 100..=599 {
            let expected = [500, 502, 503, 504].contains(&status);
            assert_eq!(is_error(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_stale_answer_is_given_without_leave(lifetime in 0u64..100, after in 0u64..200) {
            let answered = response(200, &[]);
            let lifetime = Lifetime { duration: secs(lifetime), source: LifetimeSource::MaxAge };
            let stored = Stored::new(&answered, Some(lifetime), Duration::ZERO, NOW);
            let verdict = lookup(Some(&stored), &RequestDirectives::default(), later(after), NONE);
            let is_fresh = stored.freshness(later(after)).is_fresh();
            prop_assert_eq!(matches!(verdict, LookupVerdict::Hit(_)), is_fresh);
            prop_assert_eq!(verdict == LookupVerdict::Revalidate(Because::Stale), !is_fresh);
        }
    }
}
