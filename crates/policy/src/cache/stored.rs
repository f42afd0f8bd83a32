//! The facts about a stored response that the rules use, in compact form, because they exist for every response in the
//! cache.

use std::time::Duration;

use http::StatusCode;

use super::facts::ResponseFacts;
use super::freshness::{self, Freshness, Lifetime, LifetimeSource};
use crate::time::Now;

/// The value of an absent window.
const NOT_GIVEN: u32 = u32::MAX;

/// The facts about a stored response; 56 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// `Date`, since the epoch. This and the times below are in nanoseconds.
    date_nanos: u64,
    received_mono_nanos: u64,
    received_wall_nanos: u64,
    age_on_arrival_nanos: u64,
    lifetime_nanos: u64,
    /// Both in whole seconds.
    stale_while_revalidate_seconds: u32,
    stale_if_error_seconds: u32,
    status: StatusCode,
    /// The source of the lifetime; `None`: there is none, and the lifetime is zero.
    source: Option<LifetimeSource>,
    is_no_cache: bool,
    forbids_stale: bool,
    is_immutable: bool,
}

impl Stored {
    /// From the facts of a response. `lifetime` is the result of `freshness::lifetime`, `age_on_arrival` that of
    /// `freshness::age_on_arrival`; `received`: when the response arrived, or was last validated.
    #[must_use]
    pub fn new(facts: &ResponseFacts, lifetime: Option<Lifetime>, age_on_arrival: Duration, received: Now) -> Self {
        let directives = &facts.directives;
        Self {
            date_nanos: nanos(facts.date),
            received_mono_nanos: nanos(received.mono),
            received_wall_nanos: nanos(received.wall),
            age_on_arrival_nanos: nanos(age_on_arrival),
            lifetime_nanos: lifetime.map_or(0, |lifetime| nanos(lifetime.duration)),
            stale_while_revalidate_seconds: seconds(directives.stale_while_revalidate),
            stale_if_error_seconds: seconds(directives.stale_if_error),
            status: facts.status,
            source: lifetime.map(|lifetime| lifetime.source),
            is_no_cache: directives.no_cache.is_whole(),
            forbids_stale: directives.forbids_stale(),
            is_immutable: directives.immutable,
        }
    }

    /// With the facts of another head, and the same age and lifetime.
    #[must_use]
    pub fn with_facts(&self, facts: &ResponseFacts) -> Self {
        let duration = Duration::from_nanos(self.lifetime_nanos);
        let lifetime = self.source.map(|source| Lifetime { duration, source });
        Self::new(facts, lifetime, Duration::from_nanos(self.age_on_arrival_nanos), self.received())
    }

    /// The same, stale from now on.
    #[must_use]
    pub fn outdated(&self, now: Now) -> Self {
        Self { lifetime_nanos: self.lifetime_nanos.min(nanos(self.freshness(now).age)), ..*self }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// `Date`; if missing or invalid, the time of arrival.
    #[must_use]
    pub fn date(&self) -> Duration {
        Duration::from_nanos(self.date_nanos)
    }

    /// When it arrived, or was last validated.
    #[must_use]
    pub fn received(&self) -> Now {
        let [mono, wall] = [self.received_mono_nanos, self.received_wall_nanos].map(Duration::from_nanos);
        Now { mono, wall }
    }

    /// Its freshness now.
    #[must_use]
    #[inline]
    pub fn freshness(&self, now: Now) -> Freshness {
        let age = freshness::age(Duration::from_nanos(self.age_on_arrival_nanos), self.received(), now);
        Freshness { age, lifetime: Duration::from_nanos(self.lifetime_nanos) }
    }

    /// Whether it has `no-cache` without field names (RFC 9111 §5.2.2.4).
    #[must_use]
    pub fn is_no_cache(&self) -> bool {
        self.is_no_cache
    }

    /// Whether it must not be served stale.
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.forbids_stale
    }

    /// `immutable` (RFC 8246 §2).
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.is_immutable
    }

    /// Whether its lifetime comes from the route's `ttl_force`.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.source == Some(LifetimeSource::Forced)
    }

    /// `stale-while-revalidate` (RFC 5861 §3).
    #[must_use]
    pub fn stale_while_revalidate(&self) -> Option<Duration> {
        given(self.stale_while_revalidate_seconds)
    }

    /// `stale-if-error` (RFC 5861 §4).
    #[must_use]
    pub fn stale_if_error(&self) -> Option<Duration> {
        given(self.stale_if_error_seconds)
    }
}

/// Exact for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(window: Option<Duration>) -> u32 {
    window.map_or(NOT_GIVEN, |window| u32::try_from(window.as_secs()).unwrap_or(NOT_GIVEN).min(NOT_GIVEN - 1))
}

fn given(seconds: u32) -> Option<Duration> {
    (seconds != NOT_GIVEN).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::super::freshness::{TtlRules, lifetime};
    use super::super::scripted::{NOW, later, response, secs};
    use super::*;
    use crate::message::cache_control::SECONDS_MAX;

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Stored>(), 56);
    }

    #[test]
    fn what_is_kept_is_what_was_given() {
        let cached = "max-age=60, stale-while-revalidate=0, stale-if-error=99999999999, immutable, must-revalidate";
        let facts = response(200, &[("cache-control", cached), ("date", "Sun, 09 Sep 2001 01:46:39 GMT")]);
        let received = Now { mono: Duration::from_nanos(1_234_567_891), wall: NOW.wall + Duration::from_nanos(1) };
        let stored = Stored::new(&facts, lifetime(&facts, &TtlRules::default()), secs(7), received);
        assert_eq!((stored.received(), stored.date()), (received, facts.date));
        assert_eq!(stored.freshness(received), Freshness { age: secs(7), lifetime: secs(60) });
        assert_eq!((stored.stale_while_revalidate(), stored.stale_if_error()), (Some(secs(0)), Some(SECONDS_MAX)));
        assert!(stored.is_immutable() && stored.forbids_stale() && !stored.is_no_cache() && !stored.is_forced());
        assert_eq!(stored.with_facts(&facts), stored);
        let bare = Stored::new(&response(404, &[]), None, secs(0), NOW);
        assert_eq!((bare.stale_while_revalidate(), bare.stale_if_error(), bare.status().as_u16()), (None, None, 404));
        assert!(!bare.is_immutable() && !bare.forbids_stale());
    }

    #[test]
    fn what_is_outdated_is_stale_and_gets_no_fresher() {
        let facts = response(200, &[("cache-control", "max-age=60")]);
        let stored = Stored::new(&facts, lifetime(&facts, &TtlRules::default()), secs(0), NOW);
        assert!(!stored.outdated(later(5)).freshness(later(5)).is_fresh());
        let long_stale = stored.outdated(later(100));
        assert_eq!(long_stale.freshness(later(100)).lifetime, secs(60));
    }
}
