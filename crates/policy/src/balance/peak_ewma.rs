//! The cheaper of two backends drawn by chance, by recent latency and requests in flight.
//!
//! [`PeakEwma`] picks; [`Ewma`] is one backend's latency. Where the latencies are kept, and which requests count
//! (an error that comes fast must not make a backend look good), is the caller's concern.

use std::time::Duration;

use super::{Draw, Seats, pair};
use crate::time::Now;

/// How fast a peak is invalidated: to 37 % after this long.
const DECAY: Duration = Duration::from_secs(10);

/// What a backend costs that has requests in flight but has answered none, in nanoseconds for each: more than any
/// that has. So an unknown backend is given one request at once, and more only when its first answer is in.
const UNKNOWN_COST: f64 = 1e15;

/// Cost = latency × (requests in flight + 1); the lower of two wins. Weights are not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma;

impl PeakEwma {
    pub(super) fn pick(self, seats: &impl Seats, draw: &Draw) -> Option<usize> {
        let (first, second) = pair::draw(seats, draw.dice)?;
        Some(second.filter(|&second| cost(seats, second) < cost(seats, first)).unwrap_or(first))
    }
}

fn cost(seats: &impl Seats, index: usize) -> f64 {
    let (latency, in_flight) = (seats.latency(index), f64::from(seats.in_flight(index)));
    if latency > 0.0 { latency * (in_flight + 1.0) } else { UNKNOWN_COST * in_flight }
}

/// A backend's recent latency: a slower answer counts at once and in full, faster ones bring it down with time.
///
/// Without answers it fades, so a backend that was slow is tried again. The default has no samples and reads 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    nanos: f64,
    at: Duration,
}

impl Ewma {
    /// Notes how long an answer took.
    pub fn observe(&mut self, latency: Duration, now: Now) {
        let sample = latency.as_nanos() as f64;
        let kept = self.kept(now);
        self.nanos = if sample >= self.nanos { sample } else { sample + (self.nanos - sample) * kept };
        self.at = self.at.max(now.mono);
    }

    /// The latency as of now, in nanoseconds; 0: no samples, or none for hours.
    #[must_use]
    pub fn read(&self, now: Now) -> f64 {
        self.nanos * self.kept(now)
    }

    /// How much of the value is left. A `now` before the last sample, from another worker, counts as that moment.
    fn kept(&self, now: Now) -> f64 {
        (-now.mono.saturating_sub(self.at).div_duration_f64(DECAY)).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    fn draw(dice: u64) -> Draw {
        Draw { key: 0, dice, retry: false }
    }

    fn at(millis: u64) -> Now {
        Now::at(Duration::from_millis(millis))
    }

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(100);

    #[test]
    fn the_faster_of_two_wins_until_it_is_busy_enough() {
        let mut scripted = Scripted::of(2);
        scripted.latency = vec![1e6, 5e6];
        scripted.in_flight = vec![3, 0];
        assert_eq!(PeakEwma.pick(&scripted, &draw(1)), Some(0));
        scripted.in_flight = vec![5, 0];
        assert_eq!(PeakEwma.pick(&scripted, &draw(1)), Some(1));
    }

    #[test]
    fn an_unknown_backend_is_tried_early_but_with_one_request() {
        let mut scripted = Scripted::of(2);
        scripted.latency = vec![1e6, 0.0];
        assert!((0..50).all(|dice| PeakEwma.pick(&scripted, &draw(dice)) == Some(1)));
        scripted.in_flight = vec![100, 1];
        assert!((0..50).all(|dice| PeakEwma.pick(&scripted, &draw(dice)) == Some(0)));
    }

    #[test]
    fn unknown_backends_share_the_first_requests() {
        let mut scripted = Scripted::of(4);
        for dice in 0..40 {
            let picked = PeakEwma.pick(&scripted, &draw(dice)).expect("all are open");
            scripted.in_flight[picked] += 1;
        }
        assert!(scripted.in_flight.iter().all(|in_flight| (7..=12).contains(in_flight)), "{scripted:?}");
    }

    #[test]
    fn a_peak_counts_at_once_and_in_full() {
        let mut latency = Ewma::default();
        latency.observe(FAST, at(0));
        latency.observe(SLOW, at(1));
        assert_eq!(latency.read(at(1)), 1e8);
    }

    #[test]
    fn a_peak_fades_to_37_percent_in_ten_seconds() {
        let mut latency = Ewma::default();
        latency.observe(SLOW, at(0));
        assert!((latency.read(at(10_000)) / 1e8 - 0.3679).abs() < 0.001);
        latency.observe(FAST, at(10_000));
        assert!((latency.read(at(10_000)) / 1e6 - (1.0 + 99.0 * 0.3679)).abs() < 0.1);
    }

    #[test]
    fn fast_answers_settle_on_their_latency() {
        let mut latency = Ewma::default();
        latency.observe(SLOW, at(0));
        for tick in 0..2_000 {
            latency.observe(FAST, at(tick * 100));
        }
        assert!((latency.read(at(199_900)) / 1e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn without_samples_the_latency_is_nought() {
        assert_eq!(Ewma::default().read(at(5)), 0.0);
    }

    #[test]
    fn a_slow_backend_gets_little_of_the_traffic() {
        let mut scripted = Scripted::of(3);
        scripted.latency = vec![1e6, 1e6, 50e6];
        let slow = (0..1_000).filter(|dice| PeakEwma.pick(&scripted, &draw(*dice)) == Some(2)).count();
        assert_eq!(slow, 0);
    }

    proptest! {
        #[test]
        fn a_latency_stays_between_nought_and_its_greatest_sample(
            samples in prop::collection::vec((0_u64..10_000_000_000, 0_u64..60_000), 1..50),
        ) {
            let mut latency = Ewma::default();
            let mut greatest = 0;
            for (nanos, millis) in samples {
                greatest = greatest.max(nanos);
                latency.observe(Duration::from_nanos(nanos), at(millis));
                let read = latency.read(at(millis));
                prop_assert!((0.0..=greatest as f64).contains(&read));
                prop_assert!(latency.read(at(millis + 1)) <= read);
            }
        }
    }
}
