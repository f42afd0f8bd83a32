//! Tests whether a proportion exceeds a limit by more than chance explains.
//!
//! Both tests are one-sided likelihood-ratio tests with the signed root: they compare the likelihood of the counts at
//! the allowed proportion with that at the observed one. Errors are rare, and for a handful of them a z-score based on
//! the standard deviation raises more false alarms than stated. The likelihood ratio holds its level, with a continuity
//! correction of half a count. Source: Barndorff-Nielsen, Cox, "Inference and Asymptotics", 1994, §4; Farrington,
//! Manning, "Test statistics … with non-zero risk difference", 1990, for the margin.

/// An observed proportion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The number of events; a fraction if interpolated.
    pub times: f64,
    /// The number of trials.
    pub among: f64,
}

impl Seen {
    /// A proportion from counts.
    #[must_use]
    pub fn new(times: u64, among: u64) -> Self {
        Self { times: times.min(among) as f64, among: among as f64 }
    }

    /// The proportion; 0 without trials.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.among > 0.0 { self.times / self.among } else { 0.0 }
    }

    /// With half an event less: the continuity correction.
    fn corrected(self) -> Self {
        Self { times: (self.times - 0.5).max(0.0), ..self }
    }

    /// The log-likelihood of the observation if the true proportion is `share`.
    fn log_likelihood(self, share: f64) -> f64 {
        let term = |count: f64, share: f64| if count > 0.0 { count * share.ln() } else { 0.0 };
        term(self.times, share) + term(self.among - self.times, 1.0 - share)
    }

    /// The derivative of [`Seen::log_likelihood`].
    fn slope(self, share: f64) -> f64 {
        let term = |count: f64, share: f64| if count > 0.0 { count / share } else { 0.0 };
        term(self.times, share) - term(self.among - self.times, 1.0 - share)
    }
}

/// The p-value of a proportion above `limit`: the probability of at least this many events if the true proportion is
/// `limit`. At most ½ if more than the limit were observed, else 1.
#[must_use]
pub fn chance_above(seen: Seen, limit: f64) -> f64 {
    let seen = seen.corrected();
    if seen.share() <= limit {
        return 1.0;
    }
    by_likelihood(seen.log_likelihood(seen.share()) - seen.log_likelihood(limit))
}

/// The p-value of a difference above `margin`: the probability of at least this difference if the true proportion of
/// `seen` exceeds that of `other` by `margin`. At most ½ if more was observed, else 1; also 1 if `other` has no trials.
#[must_use]
pub fn chance_above_other(seen: Seen, other: Seen, margin: f64) -> f64 {
    let seen = seen.corrected();
    if other.among <= 0.0 || seen.share() <= other.share() + margin {
        return 1.0;
    }
    // The maximum-likelihood proportion of `other` under the null hypothesis: the zero of the joint likelihood's slope,
    // which decreases strictly.
    let (mut low, mut high) = (0.0, 1.0 - margin);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if seen.slope(middle + margin) + other.slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    let allowed = f64::midpoint(low, high);
    let under_null = seen.log_likelihood(allowed + margin) + other.log_likelihood(allowed);
    by_likelihood(seen.log_likelihood(seen.share()) + other.log_likelihood(other.share()) - under_null)
}

/// The p-value of a loss of log-likelihood: its signed root is normally distributed.
fn by_likelihood(loss: f64) -> f64 {
    upper_tail((2.0 * loss.max(0.0)).sqrt())
}

/// The upper tail of the normal distribution: the probability of more than this many standard deviations; `deviations`
/// ≥ 0.
///
/// Accurate to nine digits also far out, where 1 − Φ has none left: uses the series of Φ near the middle, and the
/// continued fraction of Mills' ratio beyond. Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.2.11
/// and 26.2.14.
fn upper_tail(deviations: f64) -> f64 {
    let density = (-deviations * deviations / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if deviations > 3.0 {
        let ratio = (1..=60).rev().fold(deviations, |inner, k| deviations + f64::from(k) / inner);
        return density / ratio;
    }
    let mut term = deviations;
    let mut sum = term;
    for k in 1..60 {
        term *= deviations * deviations / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 - density * sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tail_of_the_normal_distribution_is_right() {
        let known = [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931),
            (2.326_347_874_041, 0.01),
            (3.0, 1.349_898_031_63e-3),
            (3.719_016_485_456, 1e-4),
            (6.0, 9.865_876_450_38e-10),
            (10.0, 7.619_853_024_16e-24),
        ];
        for (deviations, tail) in known {
            assert!((upper_tail(deviations) / tail - 1.0).abs() < 1e-9, "{deviations}: {}", upper_tail(deviations));
        }
    }

    /// The exact probability of at least this many events.
    fn exactly(times: u64, among: u64, share: f64) -> f64 {
        let mut term = (1.0 - share).powf(among as f64);
        let mut below = 0.0;
        for k in 0..times {
            below += term;
            term *= (among - k) as f64 / (k + 1) as f64 * share / (1.0 - share);
        }
        1.0 - below
    }

    #[test]
    fn a_handful_of_errors_is_not_taken_for_more_than_it_is() {
        for (among, share) in [(50, 0.005), (50, 0.015), (200, 0.01), (500, 0.015), (2000, 0.05)] {
            for times in 1..=among.min(60) {
                let truth = exactly(times, among, share);
                let said = chance_above(Seen::new(times, among), share);
                if (1e-7..0.3).contains(&truth) {
                    let more = said / truth;
                    assert!((0.9..3.0).contains(&more), "{times} of {among} at {share}: {said} for {truth}");
                }
            }
        }
    }

    #[test]
    fn against_very_many_others_the_two_tests_agree() {
        let seen = Seen::new(9, 300);
        let one = chance_above(seen, 0.015);
        let two = chance_above_other(seen, Seen::new(10_000_000, 1_000_000_000), 0.005);
        assert!((one / two - 1.0).abs() < 1e-3, "{one} {two}");
    }

    #[test]
    fn no_more_than_allowed_is_always_chance() {
        assert_eq!(chance_above(Seen::new(5, 1000), 0.005).to_string(), "1");
        assert_eq!(chance_above_other(Seen::new(15, 1000), Seen::new(10, 1000), 0.005).to_string(), "1");
        assert_eq!(chance_above_other(Seen::new(15, 15), Seen::new(0, 0), 0.005).to_string(), "1");
    }

    #[test]
    fn where_nothing_is_allowed_one_is_no_chance() {
        assert_eq!(chance_above(Seen::new(1, 1000), 0.0).to_string(), "0");
    }

    #[test]
    fn all_failing_against_none_is_no_chance() {
        assert!(chance_above_other(Seen::new(10, 10), Seen::new(0, 10), 0.005) < 1e-3);
        assert!(chance_above_other(Seen::new(20, 20), Seen::new(0, 20), 0.005) < 1e-6);
    }

    proptest! {
        #[test]
        fn a_chance_is_always_one(times in 0_u64..5000, among in 0_u64..5000, others in 0_u64..5000, all in 0_u64..5000, margin in 0.0..1.0) {
            let (seen, other) = (Seen::new(times, among), Seen::new(others, all));
            for chance in [chance_above(seen, margin), chance_above_other(seen, other, margin)] {
                prop_assert!((0.0..=1.0).contains(&chance), "{}", chance);
            }
        }

        #[test]
        fn more_errors_are_less_of_a_chance(times in 0_u64..500, others in 0_u64..100) {
            let chance = |times| chance_above_other(Seen::new(times, 501), Seen::new(others, 5000), 0.005);
            prop_assert!(chance(times + 1) <= chance(times) + 1e-12);
        }
    }
}
