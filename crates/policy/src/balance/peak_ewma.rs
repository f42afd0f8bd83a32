//! Peak EWMA: the cheaper of two random backends, by recent latency and requests in flight.
//!
//! [`PeakEwma`] picks; [`Ewma`] is the latency of one backend. The caller stores the latencies and decides which
//! requests count: a fast error must not make a backend look good.

use std::time::Duration;

use super::{Draw, EndpointView, pair};
use crate::time::Now;

/// How fast a peak decays: to 37 % after this time.
const DECAY: Duration = Duration::from_secs(10);

/// The cost, for each request in flight, of a backend that has not responded yet, in nanoseconds: more than that of any
/// backend with a known latency. So a new backend receives one request at once, and more only after its first response.
const UNKNOWN_COST: f64 = 1e15;

/// Cost = latency × (requests in flight + 1); the lower of two wins. Ignores weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma;

impl PeakEwma {
    pub(super) fn pick(self, endpoints: &impl EndpointView, draw: &Draw) -> Option<usize> {
        let (first, second) = pair::draw(endpoints, draw.random)?;
        Some(second.filter(|&second| cost(endpoints, second) < cost(endpoints, first)).unwrap_or(first))
    }
}

fn cost(endpoints: &impl EndpointView, index: usize) -> f64 {
    let (latency, in_flight) = (endpoints.latency(index), f64::from(endpoints.in_flight(index)));
    if latency > 0.0 { latency * (in_flight + 1.0) } else { UNKNOWN_COST * in_flight }
}

/// The recent latency of a backend: a slower response counts at once and in full, faster ones reduce the value over
/// time.
///
/// Without responses it decays, so a slow backend is tried again. The default has no samples and reads 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    nanos: f64,
    at: Duration,
}

impl Ewma {
    /// Records the latency of a response.
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

    /// The fraction of the value that remains. A `now` before the last sample, which another worker took, counts as the
    /// time of that sample.
    fn kept(&self, now: Now) -> f64 {
        (-now.mono.saturating_sub(self.at).div_duration_f64(DECAY)).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scripted::Scripted;
    use super::*;

    fn draw(random: u64) -> Draw {
        Draw { key: 0, random, retry: false }
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
        assert!((0..50).all(|random| PeakEwma.pick(&scripted, &draw(random)) == Some(1)));
        scripted.in_flight = vec![100, 1];
        assert!((0..50).all(|random| PeakEwma.pick(&scripted, &draw(random)) == Some(0)));
    }

    #[test]
    fn unknown_backends_share_the_first_requests() {
        let mut scripted = Scripted::of(4);
        for random in 0..40 {
            let picked = PeakEwma.pick(&scripted, &draw(random)).expect("all are open");
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
    fn without_samples_the_latency_is_zero() {
        assert_eq!(Ewma::default().read(at(5)), 0.0);
    }

    #[test]
    fn a_slow_backend_gets_little_of_the_traffic() {
        let mut scripted = Scripted::of(3);
        scripted.latency = vec![1e6, 1e6, 50e6];
        let slow = (0..1_000).filter(|random| PeakEwma.pick(&scripted, &draw(*random)) == Some(2)).count();
        assert_eq!(slow, 0);
    }

    proptest! {
        #[test]
        fn a_latency_stays_between_zero_and_its_greatest_sample(
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
