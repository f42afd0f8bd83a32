//! Slow start: limits the share of requests of a backend that has just returned.
//!
//! Balancers do not know about slow start: a backend that is not admitted is not open for that pick. If no backend is
//! open then, the caller picks again without slow start, because it is no reason to refuse a request.

use std::time::Duration;

/// The least share, so that a backend receives requests to warm up from the start.
const FLOOR: f64 = 0.1;

/// Whether a backend that returned `since_back` ago may receive this request.
///
/// The probability rises linearly from 10 % to 100 % at `ramp`. A `ramp` of zero always admits. `random` is a uniform
/// number, drawn for each backend.
#[must_use]
pub fn admits(since_back: Duration, ramp: Duration, random: u64) -> bool {
    if since_back >= ramp {
        return true;
    }
    let share = since_back.div_duration_f64(ramp).max(FLOOR);
    (random as f64) < share * 2_f64.powi(64)
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
