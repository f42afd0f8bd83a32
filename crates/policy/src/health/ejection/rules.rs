//! The rules of an [`super::Ejection`]: when to eject, for how long, and when earlier ejections no longer count.

use std::time::Duration;

/// Further doublings have no effect: 2³¹ times one millisecond exceeds any ejection time.
const TIMES_MAX: u32 = 32;

/// When to eject a backend, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Consecutive failures that eject a backend; 0: never.
    pub consecutive_failures: u32,
    /// Duration of the first ejection; doubles with each following one.
    pub base_time: Duration,
    /// The longest duration of an ejection.
    pub max_time: Duration,
    /// The most backends ejected at once, in percent. Of two or more backends one may always be ejected; a single
    /// backend never is.
    pub percent_max: u32,
}

impl Rules {
    /// The number of backends out of `count` that may be ejected at once.
    pub(super) fn ejected_max(&self, count: usize) -> usize {
        if self.consecutive_failures == 0 || count < 2 {
            return 0;
        }
        let share = count as u64 * u64::from(self.percent_max) / 100;
        usize::try_from(share).unwrap_or(count).clamp(1, count)
    }

    /// The duration of the ejection with this ordinal in close succession.
    pub(super) fn time(&self, times: u32) -> Duration {
        let doublings = times.saturating_sub(1).min(TIMES_MAX - 1);
        self.base_time.saturating_mul(1 << doublings).min(self.max_time)
    }

    /// The next ordinal; stops at the first one whose duration is `max_time`.
    pub(super) fn next_times(&self, times: u32) -> u32 {
        if times > 0 && (self.time(times) >= self.max_time || times >= TIMES_MAX) { times } else { times + 1 }
    }

    /// The number of earlier ejections that still count after a backend was in use for `stayed_in`. Each interval as
    /// long as an ejection would have been removes one, so the doubled duration shrinks step by step. Single failures
    /// in between have no effect; otherwise a backend with a low, steady error rate would never be forgiven.
    pub(super) fn remembered(&self, times: u32, stayed_in: Duration) -> u32 {
        let (mut times, mut stayed_in) = (times, stayed_in);
        while times > 0 {
            match stayed_in.checked_sub(self.time(times)) {
                Some(rest) => stayed_in = rest,
                None => break,
            }
            times -= 1;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        consecutive_failures: 3,
        base_time: Duration::from_secs(10),
        max_time: Duration::from_secs(60),
        percent_max: 50,
    };

    #[test]
    fn the_share_is_rounded_down_but_one_of_two_may_always_be_out() {
        let allowed = [0, 1, 2, 3, 4, 5, 10].map(|count| RULES.ejected_max(count));
        assert_eq!(allowed, [0, 0, 1, 1, 2, 2, 5]);
        assert_eq!(Rules { percent_max: 1_000, ..RULES }.ejected_max(3), 3);
        assert_eq!(Rules { percent_max: 0, ..RULES }.ejected_max(3), 1);
    }

    #[test]
    fn times_double_up_to_the_longest() {
        assert_eq!([1, 2, 3, 4, 99].map(|times| RULES.time(times).as_secs()), [10, 20, 40, 60, 60]);
    }

    #[test]
    fn doublings_are_forgotten_one_by_one_each_after_its_own_time() {
        let invalidated: Vec<u32> =
            [0, 39, 40, 59, 60, 69, 70, 999].map(|secs| RULES.remembered(3, Duration::from_secs(secs))).into();
        assert_eq!(invalidated, [3, 3, 2, 2, 1, 1, 0, 0]);
    }
}
