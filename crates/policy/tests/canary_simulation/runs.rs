//! A canary's whole life under simulated traffic, many times over.

use std::time::Duration;

use fastrand::Rng;
use policy::canary::machine::Canary;
use policy::canary::progress::Phase;
use policy::canary::rules::{OnFailure, Rollback, Rules};
use policy::route::split::Share;
use policy::time::Now;

use crate::traffic::{self, Nature};

/// The rules when the file says nothing else.
pub(crate) fn defaults() -> Rules {
    Rules {
        steps: [1.0, 5.0, 25.0, 50.0, 100.0].into_iter().filter_map(Share::from_percent).collect(),
        hold: Duration::from_secs(300),
        requests_min: 500,
        error_rate_max_increase: 0.5,
        confidence: 99.0,
        p95_max_ratio: Some(1.5),
        mismatch_rate_max: None,
        error_ratio_ceiling: Some(20.0),
        on_failure: OnFailure::Rollback,
        rollback: Rollback::Now,
        rollback_interval: Duration::from_secs(10),
    }
}

/// A situation that a canary is put into.
pub(crate) struct Setting {
    /// Requests a second, all sides together.
    pub(crate) rate: f64,
    pub(crate) stable: Nature,
    pub(crate) canary: Nature,
    /// What the canary is like from this step on, after this time within it; counted from 0.
    pub(crate) turn: Option<(usize, Duration, Nature)>,
    /// How often the canary looks.
    pub(crate) tick: Duration,
    /// How long it is watched.
    pub(crate) until: Duration,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) phase: Phase,
    pub(crate) step: usize,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long ago it had turned bad.
    pub(crate) since_turn: Duration,
    /// The share of all requests that went to the canary, in percent.
    pub(crate) exposure: f64,
}

/// One life.
pub(crate) fn live(setting: &Setting, seed: u64) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let mut totals = traffic::nothing();
    let mut canary = Canary::begin(defaults(), Now::at(Duration::ZERO), totals.clone());
    let mut at = Duration::ZERO;
    let mut turned = None;
    let mean = setting.rate * setting.tick.as_secs_f64();
    while at < setting.until && canary.progress().phase == Phase::Stepping {
        let progress = canary.progress();
        let is_turned =
            |(step, after, _): &&(usize, Duration, Nature)| progress.step >= *step && progress.held >= *after;
        let turn = setting.turn.as_ref().filter(is_turned);
        if turn.is_some() {
            turned.get_or_insert(at);
        }
        let nature = turn.map_or(&setting.canary, |(_, _, nature)| nature);
        let share = canary.share().percent() / 100.0;
        traffic::pass(&mut totals, mean, share, (nature, &setting.stable), &mut rng);
        at += setting.tick;
        canary.tick(Now::at(at), &totals);
    }
    let all = (totals.canary.requests + totals.stable.requests).max(1);
    Outcome {
        phase: canary.progress().phase,
        step: canary.progress().step,
        took: at,
        since_turn: turned.map_or(Duration::ZERO, |turned| at - turned),
        exposure: totals.canary.requests as f64 * 100.0 / all as f64,
    }
}

/// Many lives in one setting.
pub(crate) struct Lives(Vec<Outcome>);

impl Lives {
    pub(crate) fn of(setting: &Setting, seeds: u64) -> Self {
        Self((0..seeds).map(|seed| live(setting, seed)).collect())
    }

    /// How many percent ended like that.
    pub(crate) fn percent(&self, is_such: impl Fn(&Outcome) -> bool) -> f64 {
        self.0.iter().filter(|outcome| is_such(outcome)).count() as f64 * 100.0 / self.0.len() as f64
    }

    pub(crate) fn ended(&self, phase: Phase) -> f64 {
        self.percent(|outcome| outcome.phase == phase)
    }

    /// How many percent of those that were rolled back were so at each step: `91/7/2/0/0`.
    fn steps_back(&self) -> String {
        let back: Vec<usize> =
            self.0.iter().filter(|outcome| outcome.phase == Phase::RolledBack).map(|outcome| outcome.step).collect();
        if back.is_empty() {
            return "–".to_owned();
        }
        let at = |step: usize| back.iter().filter(|other| **other == step).count() as f64 * 100.0 / back.len() as f64;
        (0..5).map(|step| format!("{:.0}", at(step))).collect::<Vec<_>>().join("/")
    }

    /// The one in the middle, and the largest.
    pub(crate) fn middle_and_most(&self, figure: impl Fn(&Outcome) -> f64) -> (f64, f64) {
        let mut figures: Vec<f64> = self.0.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        (figures.get(figures.len() / 2).copied().unwrap_or_default(), figures.last().copied().unwrap_or_default())
    }

    /// A line of the table.
    pub(crate) fn line(&self, setting: &Setting, base: f64) -> String {
        let (exposure, exposure_max) = self.middle_and_most(|outcome| outcome.exposure);
        let is_turning = setting.turn.is_some();
        let (took, took_max) = self.middle_and_most(|outcome| {
            if is_turning { outcome.since_turn.as_secs_f64() } else { outcome.took.as_secs_f64() }
        });
        format!(
            "| {} | {base} % | {:.2} % | {:.2} % | {:.2} % | {} | {exposure:.2} % | {exposure_max:.2} % | {} | {} |",
            if setting.rate < 1.0 { "20 a minute".to_owned() } else { format!("{}", setting.rate) },
            self.ended(Phase::Done),
            self.ended(Phase::RolledBack),
            self.ended(Phase::Stepping),
            self.steps_back(),
            time(took),
            time(took_max),
        )
    }
}

fn time(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    if seconds < 36_000.0 { format!("{:.1} min", seconds / 60.0) } else { format!("{:.1} h", seconds / 3600.0) }
}
