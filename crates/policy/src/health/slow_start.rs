//! How much of its share a backend gets that has just come back.
//!
//! A balancer knows nothing of this: a seat that is not admitted is not open for that pick. When that leaves no seat
//! open the caller asks again without it, because a slow start is no reason to refuse a request.

use std::time::Duration;

/// The least share, so that a backend has traffic to warm up on from the first moment.
const FLOOR: f64 = 0.1;

/// Whether a backend that has been back for `since_back` may be given this request.
///
/// The chance rises linearly with time from a tenth to certainty at `ramp`. A `ramp` of zero admits always. `dice`
/// is one random number, another for each backend.
#[must_use]
pub fn admits(since_back: Duration, ramp: Duration, dice: u64) -> bool {
    if since_back >= ramp {
        return true;
    }
    let share = since_back.div_duration_f64(ramp).max(FLOOR);
    (dice as f64) < share * 2_f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAMP: Duration = Duration::from_secs(30);

    fn admitted_percent(since_back: Duration) -> u32 {
        let mut rng = fastrand::Rng::with_seed(1);
        let admitted = (0..100_000).filter(|_| admits(since_back, RAMP, rng.u64(..))).count();
        (admitted as f64 / 1_000.0).round() as u32
    }

    #[test]
    fn the_share_rises_from_a_tenth_to_all() {
        let shares = [0, 1, 3, 6, 15, 24, 30, 99].map(|secs| admitted_percent(Duration::from_secs(secs)));
        assert_eq!(shares, [10, 10, 10, 20, 50, 80, 100, 100]);
    }

    #[test]
    fn without_a_ramp_everything_is_admitted() {
        assert!(admits(Duration::ZERO, Duration::ZERO, u64::MAX));
    }

    #[test]
    fn the_greatest_number_is_admitted_only_at_the_end_of_the_ramp() {
        assert!(!admits(RAMP / 2, RAMP, u64::MAX));
        assert!(admits(RAMP, RAMP, u64::MAX));
    }
}
