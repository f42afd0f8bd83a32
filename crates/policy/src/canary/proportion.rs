//! Whether a proportion is too high by more than chance explains.
//!
//! Both tests are likelihood-ratio tests, one-sided, by the signed root: how much less likely the counts are when the
//! proportion is just what is allowed than when it is what was seen. Errors are rare, and at a handful of them a z
//! score made of a standard deviation cries wolf more often than it says; the likelihood keeps its word,
//! with half a count taken off for that counts are whole. Source: Barndorff-Nielsen, Cox, "Inference and
//! Asymptotics", 1994, §4; Farrington, Manning, "Test statistics … with non-zero risk difference", 1990, for the
//! margin.

/// How often something was seen among how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// How often; may be a fraction when it was interpolated.
    pub times: f64,
    /// Among how many.
    pub among: f64,
}

impl Seen {
    /// From counts.
    #[must_use]
    pub fn new(times: u64, among: u64) -> Self {
        Self { times: times.min(among) as f64, among: among as f64 }
    }

    /// The proportion; 0 when there was nothing.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.among > 0.0 { self.times / self.among } else { 0.0 }
    }

    /// Half a count less, for that counts are whole.
    fn corrected(self) -> Self {
        Self { times: (self.times - 0.5).max(0.0), ..self }
    }

    /// The logarithm of how likely this is when the true proportion is `share`.
    fn log_likelihood(self, share: f64) -> f64 {
        let term = |count: f64, share: f64| if count > 0.0 { count * share.ln() } else { 0.0 };
        term(self.times, share) + term(self.among - self.times, 1.0 - share)
    }

    /// How fast [`Seen::log_likelihood`] grows with the share.
    fn slope(self, share: f64) -> f64 {
        let term = |count: f64, share: f64| if count > 0.0 { count / share } else { 0.0 };
        term(self.times, share) - term(self.among - self.times, 1.0 - share)
    }
}

/// How likely chance alone makes so many or more, when the true proportion is `limit`. At most ½ when more than the
/// limit were seen; 1 when not.
#[must_use]
pub fn chance_above(seen: Seen, limit: f64) -> f64 {
    let seen = seen.corrected();
    if seen.share() <= limit {
        return 1.0;
    }
    by_likelihood(seen.log_likelihood(seen.share()) - seen.log_likelihood(limit))
}

/// How likely chance alone makes such a difference or a greater one, when the true proportion of `seen` is `margin`
/// more than that of `other`. At most ½ when more than that were seen; 1 when not, or when `other` saw nothing.
#[must_use]
pub fn chance_above_other(seen: Seen, other: Seen, margin: f64) -> f64 {
    let seen = seen.corrected();
    if other.among <= 0.0 || seen.share() <= other.share() + margin {
        return 1.0;
    }
    // The most likely proportion of the other under the null hypothesis: where the slope of the joint likelihood,
    // which only falls, is zero.
    let (mut low, mut high) = (0.0, 1.0 - margin);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if seen.slope(middle + margin) + other.slope(middle) > 0.0 { low = middle } else { high = middle }
    }
    let allowed = f64::midpoint(low, high);
    let under_null = seen.log_likelihood(allowed + margin) + other.log_likelihood(allowed);
    by_likelihood(seen.log_likelihood(seen.share()) + other.log_likelihood(other.share()) - under_null)
}

/// The chance that belongs to a loss of log-likelihood: the signed root is normally distributed.
fn by_likelihood(loss: f64) -> f64 {
    upper_tail((2.0 * loss.max(0.0)).sqrt())
}

/// How likely a normally distributed number is above this many standard deviations; `deviations` ≥ 0.
///
/// Right to nine digits also far out, where 1 − Φ has none left: near the middle by the series of Φ, beyond by the
/// continued fraction of Mills' ratio. Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.2.11 and
/// 26.2.14.
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

    /// The true chance of so many or more, summed up.
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
