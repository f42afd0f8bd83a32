//! Whether what a canary has answered is good enough.
//!
//! Three questions: is it so bad that nothing need be waited for ([`ceiling`]), has it failed beyond doubt
//! ([`failure`]), and may it go on ([`judge`])? When they are asked, and how sure the answers must be, is in
//! [`super::looks`].

use std::time::Duration;

use super::evidence::{Evidence, Figures};
use super::proportion::{Seen, chance_above, chance_above_other};
use super::reason::{Reason, Waiting};
use super::rules::Rules;

/// How many requests the canary must have had before the ceiling acts, unless all have failed.
const CEILING_REQUESTS_MIN: u64 = 20;

/// How many of them must have failed.
const CEILING_ERRORS_MIN: u64 = 10;

/// The ceiling is never lower than it is for this error rate of the others, in percent: else ten errors among any
/// number would reach it where none are allowed.
const CEILING_BASE_MIN: f64 = 0.1;

/// The ceiling is never higher, in percent: else it could not be reached where the others fail too.
const CEILING_MAX: f64 = 90.0;

/// Latencies closer together than that are the same: what differs there is noise.
const LATENCY_NOISE: Duration = Duration::from_millis(1);

/// The share of requests that is slower than the 95th percentile.
const SLOW_SHARE: f64 = 0.05;

/// What a canary is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What has come in this step.
    pub window: &'a Evidence,
    /// What the canary is compared with: what the others answered in this step, or, when the canary has the whole, what
    /// they answered when they last had enough requests. `None`: nothing is known of them.
    pub stable: Option<Figures>,
    /// Whether the canary has all requests: the others, and the mirror, have none then.
    pub is_whole: bool,
}

/// What becomes of a canary at the end of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is good enough.
    Pass,
    /// It is not, beyond doubt.
    Fail(Reason),
    /// Neither can be said yet.
    Wait(Waiting),
}

/// What is still missing before a verdict, the time that a step lasts left aside.
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

/// The verdict at the end of a step. It fails when a limit is exceeded beyond doubt; it passes when none is exceeded in
/// what was seen; in between it waits for more. `risk`: how likely a verdict of failure may be by chance, 0.01 for a
/// confidence of 99 %; it goes for each of errors, latency, and mismatches.
///
/// That it passes by what was seen, without a test, is no carelessness: where it is just at the limit it makes no
/// difference, and where it is far above, `requests_min` requests show it.
///
/// A canary that has the whole is compared with what the others answered before, and its mismatches are not looked at.
/// Where nothing is known of the others (a canary that was sent to the whole by hand before they had enough requests)
/// only the [`ceiling`] is left, and it passes.
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

/// Whether more fail, or differ, than may, beyond doubt, before a step has lasted long enough. To be asked when there
/// are `requests_min` requests; answers that differ count when as many were compared.
///
/// Latency is left to the end of the step. Slowness comes in bursts that many requests share (a pause, a neighbour's
/// load), so that those of a second say hardly more than one of them would, however sure the reckoning looks.
#[must_use]
pub fn failure(rules: &Rules, case: Case<'_>, risk: f64) -> Option<Reason> {
    let [errors, _latency, mismatches] = findings(rules, case);
    let mismatches = mismatches.filter(|_| case.window.compared >= rules.requests_min);
    let mut found = errors.into_iter().chain(mismatches);
    found.find(|finding| finding.chance < risk).map(|finding| finding.reason)
}

/// Whether the canary is so bad that it must go at once: ten of its requests have failed, and they are so many times
/// as large a share as that of the others that the rules' ceiling is reached. From 20 requests on, or when all failed.
///
/// The others' rate counts as at least `error_rate_max_increase`, and as at least `usual` percent: what it is over a
/// longer time. The ceiling is at most 90 %. When both sides fail alike (a database that they share is down) it is not
/// the canary's fault: its excess must be beyond doubt, too.
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

/// How likely a verdict of failure may be by chance, as the rules say it.
#[must_use]
pub fn risk(rules: &Rules) -> f64 {
    1.0 - rules.confidence / 100.0
}

/// A limit that is exceeded in what was seen.
struct Finding {
    reason: Reason,
    /// How likely that is by chance.
    chance: f64,
}

/// The limits that are exceeded in what was seen.
fn findings(rules: &Rules, case: Case<'_>) -> [Option<Finding>; 3] {
    let canary = case.window.canary.figures();
    let compared = |find: &dyn Fn(&Figures) -> Option<Finding>| case.stable.as_ref().and_then(find);
    [
        compared(&|stable| errors(rules, &canary, stable)),
        compared(&|stable| latency(rules, case.window, stable)),
        if case.is_whole { None } else { mismatches(rules, case.window) },
    ]
}

/// Errors: is the canary's rate higher than the others' by more than the margin?
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

/// Latency: is more than a twentieth of the canary's answers slower than the longest that its 95th percentile may be?
///
/// A test of that share needs no model of how latencies are spread. That the others' percentile is itself only an
/// estimate is accounted for by comparing with a twentieth of as many requests as they had.
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

/// Mismatches: do more of the compared answers differ than may?
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

    /// So many requests, of which so many fail; a tenth takes `tail`, the others half of it.
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
