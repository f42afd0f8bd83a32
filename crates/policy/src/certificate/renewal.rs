//! When a certificate from an ACME authority (RFC 8555) is ordered: renewal, and tries after a failure.
//!
//! Moments are times since 1970. Chance is a number from 0 up to 1, drawn by the caller.

use std::time::Duration;

/// The longest time that an authority can have its clients wait: `Retry-After`, also in its renewal information.
const ASKED_MAX: Duration = Duration::from_secs(7 * 86_400);
/// By how much the wait grows with each failure in a row.
const GROWTH: u32 = 4;

/// From when until when a certificate is valid, or should be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The beginning.
    pub begins: Duration,
    /// The end.
    pub ends: Duration,
}

impl Period {
    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.ends.saturating_sub(self.begins)
    }
}

/// When a certificate is renewed: when a third of its lifetime is left, earlier by up to a sixtieth of its lifetime, so that
/// the certificates of one day do not come due at one moment. If the authority suggests a window (RFC 9773), at a moment
/// within it, if that is earlier.
#[must_use]
pub fn due(valid: Period, window: Option<Period>, chance: f64) -> Duration {
    let lifetime = valid.length();
    let by_lifetime = valid.ends.saturating_sub(lifetime / 3).saturating_sub(share(lifetime / 60, chance));
    let by_window = window.map(|window| window.begins.saturating_add(share(window.length(), chance)));
    by_window.map_or(by_lifetime, |by_window| by_window.min(by_lifetime))
}

/// How long failed orders are waited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first failure.
    pub least: Duration,
    /// After many.
    pub most: Duration,
}

impl Retry {
    /// The wait after so many failures in a row: four times as long with each, and up to a quarter longer by chance; at
    /// least what the authority asks for, up to seven days.
    #[must_use]
    pub fn wait(&self, failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
        let growth = GROWTH.saturating_pow(failures.saturating_sub(1));
        let wait = self.least.saturating_mul(growth).min(self.most);
        let wait = wait.saturating_add(share(wait / 4, chance));
        asked.map_or(wait, |asked| wait.max(asked.min(ASKED_MAX)))
    }

    /// The moment of the next try as it was written down, unless no wait can be as long: then the clock was wrong.
    #[must_use]
    pub fn plausible(&self, written: Duration, now: Duration) -> Duration {
        let longest = self.most.saturating_add(self.most / 4).max(ASKED_MAX);
        if written > now.saturating_add(longest) { now } else { written }
    }
}

/// How long the renewal information of an authority is good for (RFC 9773 §4.3.2): what it says, from a minute to a day.
#[must_use]
pub fn information_age_max(asked: Option<Duration>) -> Duration {
    const LEAST: Duration = Duration::from_secs(60);
    const MOST: Duration = Duration::from_secs(86_400);
    const USUAL: Duration = Duration::from_secs(6 * 3_600);
    asked.unwrap_or(USUAL).clamp(LEAST, MOST)
}

fn share(of: Duration, chance: f64) -> Duration {
    of.mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn period(begins: u64, ends: u64) -> Period {
        Period { begins: seconds(begins), ends: seconds(ends) }
    }

    #[test]
    fn a_certificate_is_due_when_a_third_is_left_or_earlier_when_the_authority_says_so() {
        for (valid, window, chance, expected) in [
            (period(0, 90), None, 0.0, seconds(60)),
            (period(0, 90), None, 0.5, Duration::from_millis(59_250)),
            (period(1_000, 1_006), None, 0.0, seconds(1_004)),
            (period(0, 90), Some(period(10, 20)), 0.0, seconds(10)),
            (period(0, 90), Some(period(10, 20)), 0.5, seconds(15)),
            (period(0, 90), Some(period(70, 80)), 0.0, seconds(60)),
            (period(90, 0), None, 0.5, seconds(0)),
            (period(0, 90), Some(period(20, 10)), 0.5, seconds(20)),
        ] {
            assert_eq!(due(valid, window, chance), expected, "{valid:?} {window:?} {chance}");
        }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_heed_the_authority() {
        let retry = Retry { least: seconds(60), most: seconds(86_400) };
        for (failures, asked, chance, expected) in [
            (0, None, 0.0, 60),
            (1, None, 0.0, 60),
            (2, None, 0.0, 240),
            (3, None, 0.0, 960),
            (6, None, 0.0, 61_440),
            (7, None, 0.0, 86_400),
            (u32::MAX, None, 0.0, 86_400),
            (1, None, 1.0, 75),
            (1, Some(3_600), 0.0, 3_600),
            (1, Some(1), 0.0, 60),
            (1, Some(u64::MAX), 0.0, 7 * 86_400),
        ] {
            assert_eq!(retry.wait(failures, asked.map(seconds), chance), seconds(expected), "{failures} {asked:?}");
        }
    }

    #[test]
    fn a_next_try_that_is_too_far_away_is_now() {
        let retry = Retry { least: seconds(60), most: seconds(86_400) };
        let now = seconds(1_000_000);
        for (written, expected) in
            [(0, 0), (1_000_060, 1_000_060), (1_604_800, 1_604_800), (1_604_801, 1_000_000), (u64::MAX, 1_000_000)]
        {
            assert_eq!(retry.plausible(seconds(written), now), seconds(expected), "{written}");
        }
    }

    #[test]
    fn renewal_information_is_asked_for_again_within_bounds() {
        for (asked, expected) in [(None, 21_600), (Some(0), 60), (Some(600), 600), (Some(1_000_000), 86_400)] {
            assert_eq!(information_age_max(asked.map(seconds)), seconds(expected));
        }
    }
}
