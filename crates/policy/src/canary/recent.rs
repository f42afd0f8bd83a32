//! The results of the most recent part of a step.
//!
//! A canary that fails late in a long step would be covered by its earlier results. So the error ceiling also applies
//! to a recent window: at least five seconds, so that a stumble of some milliseconds does not count, and at least the
//! canary's last hundred requests, so that chance has no part; and at most twice as much.

use std::time::Duration;

use super::evidence::Evidence;

/// The shortest duration of one half of the window.
const HALF: Duration = Duration::from_secs(5);

/// The fewest requests of the canary in one half.
const HALF_REQUESTS: u64 = 100;

/// The window, as totals at the start of its two halves.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// The totals at the start of the older half. Both without latencies.
    older: Evidence,
    /// The totals at the start of the newer half.
    newer: Evidence,
    /// When the newer half began.
    at: Duration,
}

impl Recent {
    /// Begins a window; `at`: time since the process began.
    pub(super) fn begin(at: Duration, totals: &Evidence) -> Self {
        let counts = totals.counts_since(&Evidence::default());
        Self { older: counts.clone(), newer: counts, at }
    }

    /// The results of both halves, without latencies.
    pub(super) fn window(&mut self, at: Duration, totals: &Evidence) -> Evidence {
        let requests = totals.canary.requests.saturating_sub(self.newer.canary.requests);
        if at.saturating_sub(self.at) >= HALF && requests >= HALF_REQUESTS {
            let counts = totals.counts_since(&Evidence::default());
            self.older = std::mem::replace(&mut self.newer, counts);
            self.at = at;
        }
        totals.counts_since(&self.older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64) -> Evidence {
        let mut totals = Evidence::default();
        totals.canary.requests = requests;
        totals
    }

    #[test]
    fn the_last_moments_are_five_seconds_and_a_hundred_requests_at_least() {
        let mut recent = Recent::begin(Duration::ZERO, &totals(0));
        let mut at = |seconds, requests| recent.window(Duration::from_secs(seconds), &totals(requests)).canary.requests;
        assert_eq!(at(1, 1000), 1000, "too soon for a new half");
        assert_eq!(at(5, 1001), 1001, "the first half is over");
        assert_eq!(at(11, 1050), 1050, "too few for another");
        assert_eq!(at(12, 1101), 100, "the first half is invalidated");
        assert_eq!(at(13, 1102), 101);
    }
}
