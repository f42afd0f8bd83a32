//! What has come of late, within a step.
//!
//! A canary that goes bad at the end of a long step would hide behind what it did well before. So the error ceiling
//! goes by the last moments, too: by the last five seconds at least, so that a stumble of some milliseconds is none,
//! and the canary's last hundred requests at least, so that chance has no part in it; and by twice as much at most.

use std::time::Duration;

use super::evidence::Evidence;

/// How long a half lasts at least.
const HALF: Duration = Duration::from_secs(5);

/// How many requests the canary has had in a half at least.
const HALF_REQUESTS: u64 = 100;

/// The totals of some moments ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// When the half before the present one began. Both without latencies.
    older: Evidence,
    /// When the present half began.
    newer: Evidence,
    /// When that was.
    at: Duration,
}

impl Recent {
    /// Begins now. `at`: since the process began.
    pub(super) fn begin(at: Duration, totals: &Evidence) -> Self {
        let counts = totals.counts_since(&Evidence::default());
        Self { older: counts.clone(), newer: counts, at }
    }

    /// What has come in this half and the one before, without latencies.
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
