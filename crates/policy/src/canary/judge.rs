//! Judges a canary's results.
//!
//! [`ceiling`]: must it be stopped at once? [`failure`]: has it failed beyond doubt during a step? [`judge`]: may it go
//! on after a step? [`super::looks`] decides when to ask, and with what risk of error.

use std::time::Duration;

use super::evidence::{Evidence, Figures};
use super::proportion::{Seen, chance_above, chance_above_other};
use super::reason::{Reason, Waiting};
use super::rules::Rules;

/// The canary's requests before the ceiling applies, unless all have failed.
const CEILING_REQUESTS_MIN: u64 = 20;

/// The canary's failed requests before the ceiling applies.
const CEILING_ERRORS_MIN: u64 = 10;

/// The ceiling is computed with at least this error rate of the stable side, in percent: otherwise ten errors among any
/// number would reach it where no increase is allowed.
const CEILING_BASE_MIN: f64 = 0.1;

/// The highest ceiling in percent: otherwise it could not be reached while the stable side fails, too.
const CEILING_MAX: f64 = 90.0;

/// Latencies that differ by less are equal: the difference is noise.
const LATENCY_NOISE: Duration = Duration::from_millis(1);

/// The fraction of requests slower than the 95th percentile.
const SLOW_SHARE: f64 = 0.05;

/// The input of a verdict.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The results of the current step.
    pub window: &'a Evidence,
    /// The results that the canary is compared with: those of the stable side in this step or, if the canary has all
    /// requests, the last ones with enough requests. `None`: unknown.
    pub stable: Option<Figures>,
    /// Whether the canary has all requests, so that the stable side and the mirror have none.
    pub is_whole: bool,
}

/// The verdict at the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The canary passes.
    Pass,
    /// The canary fails beyond doubt.
    Fail(Reason),
    /// Not enough data.
    Wait(Waiting),
}

/// The data that is missing for a verdict, apart from the duration of the step.
#[must_use]
pub fn missing(rules: &Rules, case: Case<'_>) -> Option<Waiting> {
    let needed = rules.requests_min;
    let had = case.window.canary.requests;
    if had < needed {
        return Some(Waiting::Requests { had, needed });
    }
    if case.is_whole {
        return None;
    }
    let had = case.stable.map_or(0, |stable| stable.requests);
    if had < needed {
        return Some(Waiting::OtherRequests { had, needed });
    }
    let had = case.window.compared;
    (rules.mismatch_rate_max.is_some() && had < needed).then_some(Waiting::Comparisons { had, needed })
}

/// The verdict at the end of a step. The canary fails if it exceeds a limit beyond doubt, passes if the observed values
/// exceed none, and waits in between. `risk`: the accepted probability of a false failure, 0.01 for a confidence of 99
/// %, for each of errors, latency and mismatches.
///
/// Passing needs no test: just at the limit it makes no difference, and far above it `requests_min` requests reveal it.
///
/// A canary with all requests is compared with earlier results of the stable side, and its mismatches are ignored. If
/// those are unknown (an operator moved all requests before the stable side had enough), only the [`ceiling`] applies,
/// and the canary passes.
#[must_use]
pub fn judge(rules: &Rules, case: Case<'_>, risk: f64) -> Verdict {
    if let Some(waiting) = missing(rules, case) {
        return Verdict::Wait(waiting);
    }
    let exceeded: Vec<Finding> = findings(rules, case).into_iter().flatten().collect();
    if let Some(finding) = exceeded.iter().find(|finding| finding.chance < risk) {
        return Verdict::Fail(finding.reason.clone());
    }
    match exceeded.into_iter().next() {
        Some(finding) => Verdict::Wait(Waiting::Undecided(finding.reason)),
        None => Verdict::Pass,
    }
}

/// Whether errors or mismatches exceed their limit beyond doubt before the end of a step. Call it when there are
/// `requests_min` requests; mismatches count when as many responses were compared.
///
/// Latency is evaluated at the end of the step only. Slowness comes in bursts that many requests share (a pause, load
/// of a neighbour), so the requests of one second carry hardly more information than one of them, however significant
/// the test looks.
#[must_use]
pub fn failure(rules: &Rules, case: Case<'_>, risk: f64) -> Option<Reason> {
    let [errors, _latency, mismatches] = findings(rules, case);
    let mismatches = mismatches.filter(|_| case.window.compared >= rules.requests_min);
    let mut found = errors.into_iter().chain(mismatches);
    found.find(|finding| finding.chance < risk).map(|finding| finding.reason)
}

/// Whether the canary must be stopped at once: ten of its requests have failed, and its error rate has reached the
/// ceiling, a multiple of the stable side's. Applies from 20 requests on, or when all failed.
///
/// The stable side's rate counts as at least `error_rate_max_increase`, and at least `usual` percent, its rate over a
/// longer time. The ceiling is at most 90 %. If both sides fail alike (a shared database is down), the canary is not at
/// fault: so its excess must also be beyond doubt.
#[must_use]
pub fn ceiling(rules: &Rules, case: Case<'_>, usual: f64) -> Option<Reason> {
    let ratio = rules.error_ratio_ceiling?;
    let canary = case.window.canary.figures();
    let is_enough = canary.requests >= CEILING_REQUESTS_MIN || canary.errors == canary.requests;
    if canary.errors < CEILING_ERRORS_MIN || !is_enough {
        return None;
    }
    let others = case.stable.unwrap_or_default();
    let base = others.error_rate().max(usual).max(rules.error_rate_max_increase).max(CEILING_BASE_MIN);
    let rate_max = (ratio * base).min(CEILING_MAX);
    let is_its_own = others.requests == 0 || errors(rules, &canary, &others).is_some_and(|it| it.chance < risk(rules));
    (canary.error_rate() >= rate_max && is_its_own).then_some(Reason::Ceiling { canary, rate_max })
}

/// The accepted probability of a false failure, from the rules.
#[must_use]
pub fn risk(rules: &Rules) -> f64 {
    1.0 - rules.confidence / 100.0
}

/// A limit that the observed values exceed.
struct Finding {
    reason: Reason,
    /// The probability of this by chance.
    chance: f64,
}

/// The limits that the observed values exceed.
fn findings(rules: &Rules, case: Case<'_>) -> [Option<Finding>; 3] {
    let canary = case.window.canary.figures();
    let compared = |find: &dyn Fn(&Figures) -> Option<Finding>| case.stable.as_ref().and_then(find);
    [
        compared(&|stable| errors(rules, &canary, stable)),
        compared(&|stable| latency(rules, case.window, stable)),
        if case.is_whole { None } else { mismatches(rules, case.window) },
    ]
}

/// Errors: does the canary's rate exceed the stable side's by more than the margin?
fn errors(rules: &Rules, canary: &Figures, stable: &Figures) -> Option<Finding> {
    let increase_max = rules.error_rate_max_increase;
    if canary.error_rate() - stable.error_rate() <= increase_max {
        return None;
    }
    let failed = Seen::new(canary.errors, canary.requests);
    let others = Seen::new(stable.errors, stable.requests);
    let chance = chance_above_other(failed, others, increase_max / 100.0);
    Some(Finding { reason: Reason::Errors { canary: *canary, stable: *stable, increase_max }, chance })
}

/// Latency: are more than 5 % of the canary's responses slower than the limit for its 95th percentile?
///
/// A test of this fraction needs no model of the distribution. The stable side's percentile is only an estimate; the
/// test accounts for that by comparing with 5 % of the stable side's requests.
fn latency(rules: &Rules, window: &Evidence, stable: &Figures) -> Option<Finding> {
    let p95 = stable.p95()?;
    let micros = p95.as_micros() as f64 * rules.p95_max_ratio?;
    let scaled = Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX);
    let p95_max = scaled.max(p95.saturating_add(LATENCY_NOISE));
    let answers = &window.canary.latency;
    let slow = Seen::new(answers.above(p95_max), answers.total());
    if slow.share() <= SLOW_SHARE {
        return None;
    }
    let all = stable.answered as f64;
    let chance = chance_above_other(slow, Seen { times: all * SLOW_SHARE, among: all }, 0.0);
    Some(Finding { reason: Reason::Slow { p95: answers.quantile(0.95), p95_max }, chance })
}

/// Mismatches: do more of the compared responses differ than allowed?
fn mismatches(rules: &Rules, window: &Evidence) -> Option<Finding> {
    let rate_max = rules.mismatch_rate_max?;
    let (compared, mismatched) = (window.compared, window.mismatched);
    let seen = Seen::new(mismatched, compared);
    if seen.share() * 100.0 <= rate_max {
        return None;
    }
    let chance = chance_above(seen, rate_max / 100.0);
    Some(Finding { reason: Reason::Mismatches { compared, mismatched, rate_max }, chance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::evidence::Side;
    use crate::canary::histogram::Histogram;
    use crate::canary::rules::{OnFailure, Rollback};

    fn rules() -> Rules {
        Rules {
            steps: Vec::new(),
            hold: Duration::ZERO,
            requests_min: 500,
            error_rate_max_increase: 0.5,
            confidence: 99.0,
            p95_max_ratio: Some(1.5),
            mismatch_rate_max: Some(0.1),
            error_ratio_ceiling: Some(20.0),
            on_failure: OnFailure::Rollback,
            rollback: Rollback::Now,
            rollback_interval: Duration::ZERO,
        }
    }

    /// A side with this many requests and errors; a tenth takes `tail`, the others half of it.
    fn side(requests: u64, errors: u64, tail: Duration) -> Side {
        let mut latency = Histogram::new();
        (0..requests).for_each(|n| latency.record(if n % 10 == 0 { tail } else { tail / 2 }));
        Side { requests, errors, latency }
    }

    fn millis(errors: (u64, u64), tails: (u64, u64)) -> Evidence {
        let canary = side(1000, errors.0, Duration::from_millis(tails.0));
        let stable = side(9000, errors.1, Duration::from_millis(tails.1));
        Evidence { canary, stable, compared: 1000, mismatched: 0 }
    }

    fn case(window: &Evidence) -> Case<'_> {
        Case { window, stable: Some(window.stable.figures()), is_whole: false }
    }

    fn verdict(window: &Evidence) -> Verdict {
        judge(&rules(), case(window), 0.01)
    }

    #[track_caller]
    fn fails(window: &Evidence, with: &str) {
        let verdict = verdict(window);
        let Verdict::Fail(reason) = &verdict else { panic!("{verdict:?}") };
        assert!(reason.to_string().contains(with), "{reason}");
    }

    #[test]
    fn as_good_as_the_others_passes() {
        assert_eq!(verdict(&millis((10, 90), (40, 40))), Verdict::Pass);
        assert_eq!(verdict(&millis((0, 0), (20, 40))), Verdict::Pass);
    }

    #[test]
    fn more_errors_by_no_more_than_the_margin_pass() {
        assert_eq!(verdict(&millis((15, 90), (40, 40))), Verdict::Pass);
    }

    #[test]
    fn many_more_errors_fail_and_a_few_more_are_undecided() {
        fails(&millis((40, 90), (40, 40)), "4 % of 1000 requests failed, 1 % of the others'");
        let verdict = verdict(&millis((17, 90), (40, 40)));
        assert!(matches!(verdict, Verdict::Wait(Waiting::Undecided(Reason::Errors { .. }))), "{verdict:?}");
    }

    #[test]
    fn a_higher_confidence_is_harder_to_convince() {
        let window = millis((30, 90), (40, 40));
        assert!(failure(&rules(), case(&window), 0.01).is_some());
        assert!(failure(&rules(), case(&window), 1e-6).is_none());
    }

    #[test]
    fn twice_the_latency_fails_and_a_little_more_passes() {
        fails(&millis((0, 0), (80, 40)), "95th percentile");
        assert_eq!(verdict(&millis((0, 0), (55, 40))), Verdict::Pass);
    }

    #[test]
    fn fractions_of_a_millisecond_are_noise() {
        let mut window = millis((0, 0), (1, 1));
        window.canary.latency = side(1000, 0, Duration::from_micros(900)).latency;
        window.stable.latency = side(9000, 0, Duration::from_micros(200)).latency;
        assert_eq!(verdict(&window), Verdict::Pass);
        window.canary.latency = side(1000, 0, Duration::from_millis(2)).latency;
        fails(&window, "95th percentile");
    }

    #[test]
    fn latency_may_be_left_aside() {
        let rules = Rules { p95_max_ratio: None, ..rules() };
        assert_eq!(judge(&rules, case(&millis((0, 0), (400, 40))), 0.01), Verdict::Pass);
    }

    #[test]
    fn answers_that_differ_too_often_fail() {
        let window = Evidence { mismatched: 9, ..millis((0, 0), (40, 40)) };
        fails(&window, "9 of 1000 compared answers differ (may be 0.1 %)");
        let window = Evidence { mismatched: 2, ..window };
        assert!(matches!(verdict(&window), Verdict::Wait(Waiting::Undecided(_))));
        let window = Evidence { mismatched: 1, ..window };
        assert_eq!(verdict(&window), Verdict::Pass);
    }

    #[test]
    fn comparisons_are_waited_for_unless_nothing_is_left_to_compare() {
        let window = Evidence { compared: 499, mismatched: 400, ..millis((0, 0), (40, 40)) };
        assert_eq!(verdict(&window), Verdict::Wait(Waiting::Comparisons { had: 499, needed: 500 }));
        let whole = Case { is_whole: true, ..case(&window) };
        assert_eq!(judge(&rules(), whole, 0.01), Verdict::Pass);
    }

    #[test]
    fn where_nothing_is_known_of_the_others_only_the_ceiling_is_left() {
        let window = millis((90, 0), (400, 40));
        let alone = Case { stable: None, is_whole: true, window: &window };
        assert_eq!(judge(&rules(), alone, 0.01), Verdict::Pass);
        assert_eq!(ceiling(&rules(), alone, 0.0), None);
        let window = millis((100, 0), (400, 40));
        assert!(ceiling(&rules(), Case { window: &window, ..alone }, 0.0).is_some());
    }

    #[test]
    fn the_ceiling_goes_by_the_others_rate_now_and_usually() {
        let window = millis((120, 0), (40, 40));
        assert!(ceiling(&rules(), case(&window), 0.0).is_some());
        assert!(ceiling(&rules(), case(&window), 0.7).is_none());
        assert!(ceiling(&rules(), case(&millis((120, 63), (40, 40))), 0.0).is_none());
        let none = Rules { error_ratio_ceiling: None, ..rules() };
        assert!(ceiling(&none, case(&window), 0.0).is_none());
    }

    #[test]
    fn the_ceiling_can_be_reached_where_the_others_fail_too() {
        assert!(ceiling(&rules(), case(&millis((950, 3000), (40, 40))), 0.0).is_some());
        assert!(ceiling(&rules(), case(&millis((950, 8100), (40, 40))), 0.0).is_some());
        assert!(ceiling(&rules(), case(&millis((950, 8550), (40, 40))), 0.0).is_none(), "both fail alike");
    }

    #[test]
    fn a_few_errors_are_no_ceiling_even_where_none_are_allowed() {
        let strict = Rules { error_rate_max_increase: 0.0, ..rules() };
        assert!(ceiling(&strict, case(&millis((10, 0), (40, 40))), 0.0).is_none());
        assert!(ceiling(&strict, case(&millis((21, 0), (40, 40))), 0.0).is_some());
    }
}
