//! The retry budget of an upstream.
//!
//! When every request fails, retries multiply the load on the remaining backends. The budget limits them to a share of
//! the recent requests, plus a minimum rate so that upstreams with little traffic can retry at all.

use crate::time::Now;

/// Length of the window in seconds; one bucket for each.
const WINDOW_SECS: u64 = 10;

/// Counts requests and retries of the current second and the nine before it.
#[derive(Clone, Debug)]
pub struct Budget {
    percent: u32,
    /// Retries allowed in a window regardless of the number of requests.
    floor: f64,
    /// One bucket for each second of the window, indexed by the second modulo the length.
    buckets: [SecondCounts; WINDOW_SECS as usize],
    /// The sum of all buckets.
    sum: SecondCounts,
    /// The current second, counted from the start of the process.
    second: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct SecondCounts {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Allows retries in the last 10 s up to `percent` of the requests in the last 10 s, plus `floor_per_second` × 10.
    ///
    /// The floor may be fractional: each worker gets a part of the upstream's. A negative floor counts as 0.
    #[must_use]
    pub fn new(percent: u32, floor_per_second: f64) -> Self {
        Self {
            percent,
            floor: floor_per_second.max(0.0) * WINDOW_SECS as f64,
            buckets: Default::default(),
            sum: SecondCounts::default(),
            second: 0,
        }
    }

    /// Counts a request. Its retries do not count as requests.
    pub fn request(&mut self, now: Now) {
        self.advance(now);
        self.sum.requests += 1;
        if let Some(bucket) = self.current() {
            bucket.requests += 1;
        }
    }

    /// Withdraws one retry; `false`: the budget is used up, and the request must not be retried.
    pub fn withdraw(&mut self, now: Now) -> bool {
        self.advance(now);
        let allowed = self.sum.requests as f64 * f64::from(self.percent) / 100.0 + self.floor;
        if (self.sum.retries + 1) as f64 > allowed {
            return false;
        }
        self.sum.retries += 1;
        if let Some(bucket) = self.current() {
            bucket.retries += 1;
        }
        true
    }

    /// Clears the buckets of the seconds that have passed. A `now` before the current second counts as the current
    /// second.
    fn advance(&mut self, now: Now) {
        let second = now.mono.as_secs();
        let passed = second.saturating_sub(self.second).min(WINDOW_SECS);
        for nth in 1..=passed {
            self.second = second - (passed - nth);
            if let Some(bucket) = self.current() {
                let old = std::mem::take(bucket);
                self.sum.requests -= old.requests;
                self.sum.retries -= old.retries;
            }
        }
    }

    fn current(&mut self) -> Option<&mut SecondCounts> {
        self.buckets.get_mut((self.second % WINDOW_SECS) as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Now {
        Now::at(Duration::from_secs(secs))
    }

    /// Withdraws all available retries.
    fn drain(budget: &mut Budget, now: Now) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn retries_are_a_share_of_requests() {
        let mut budget = Budget::new(20, 0.0);
        for _ in 0..100 {
            budget.request(at(5));
        }
        assert_eq!(drain(&mut budget, at(5)), 20);
    }

    #[test]
    fn a_quiet_upstream_has_the_floor() {
        assert_eq!(drain(&mut Budget::new(20, 3.0), at(0)), 30);
        assert_eq!(drain(&mut Budget::new(0, 0.25), at(0)), 2);
    }

    #[test]
    fn without_share_and_floor_nothing_is_retried() {
        for floor in [0.0, -1.0, f64::NAN] {
            let mut budget = Budget::new(0, floor);
            budget.request(at(0));
            assert!(!budget.withdraw(at(0)));
        }
    }

    #[test]
    fn requests_count_for_ten_seconds() {
        let mut budget = Budget::new(100, 0.0);
        budget.request(at(3));
        assert!(budget.clone().withdraw(at(12)));
        assert!(!budget.withdraw(at(13)));
    }

    #[test]
    fn retries_count_for_ten_seconds() {
        let mut budget = Budget::new(0, 0.1);
        assert!(budget.withdraw(at(3)));
        assert!(!budget.withdraw(at(12)));
        assert!(budget.withdraw(at(13)));
    }

    #[test]
    fn a_long_pause_empties_the_window() {
        let mut budget = Budget::new(100, 0.0);
        for secs in 0..10 {
            budget.request(at(secs));
        }
        assert!(!budget.withdraw(at(1_000_000)));
        assert!(!budget.withdraw(at(u64::MAX)));
    }

    #[test]
    fn a_clock_read_a_little_earlier_counts_as_now() {
        let mut budget = Budget::new(100, 0.0);
        budget.request(at(50));
        budget.request(at(49));
        assert_eq!(drain(&mut budget, at(10)), 2);
    }

    #[test]
    fn when_every_request_fails_load_grows_by_the_share_and_no_more() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut budget = Budget::new(20, 3.0);
        let (mut requests, mut retries, mut millis) = (0_u32, 0_u32, 0);
        while millis < 100_000 {
            millis += rng.u64(0..4);
            let now = Now::at(Duration::from_millis(millis));
            budget.request(now);
            requests += 1;
            retries += u32::from(budget.withdraw(now)) + u32::from(budget.withdraw(now));
        }
        assert!(retries <= requests / 5 + 11 * 30, "{retries} of {requests}");
        assert!(retries >= requests / 5, "{retries} of {requests}");
    }

    proptest! {
        #[test]
        fn the_rule_holds_in_every_window(
            percent in 0_u32..=100,
            floor in 0_u32..5,
            events in prop::collection::vec((0_u64..3, any::<bool>()), 0..300),
        ) {
            let mut budget = Budget::new(percent, f64::from(floor));
            let (mut secs, mut seen) = (0, Vec::new());
            for (passed, is_retry) in events {
                secs += passed;
                let within = |retry: bool, seen: &[(u64, bool)]| {
                    seen.iter().filter(|(at, kind)| *kind == retry && *at + 10 > secs).count()
                };
                if is_retry {
                    let (requests, retries) = (within(false, &seen), within(true, &seen));
                    let allowed = (retries + 1) * 100 <= requests * percent as usize + floor as usize * 1_000;
                    prop_assert_eq!(budget.withdraw(at(secs)), allowed);
                    if !allowed {
                        continue;
                    }
                } else {
                    budget.request(at(secs));
                }
                seen.push((secs, is_retry));
            }
        }
    }
}
