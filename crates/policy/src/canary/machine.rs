//! The state machine of a canary.
//!
//! It has no clock and no counters: the caller passes the time and the totals since the process began, and gets back
//! changes. Each step uses the results since its own start.
//!
//! ```text
//!  begin ─▶ Stepping ──pass──▶ next step … last step ──pass──▶ Done
//!             │  ▲                                              │
//!        pause│  │resume, promote                          abort│   restart: from everywhere to the first step
//!             ▼  │                                              ▼
//!           Paused ──ceiling──▶ (fails)       abort: ───────▶ Aborted
//!
//!  fails: ─▶ Paused, or RolledBack, or RollingBack ──steps──▶ RolledBack, as the rules say
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::evidence::Evidence;
use super::judge::{self, Case, Verdict};
use super::looks::Looks;
use super::progress::{Change, Event, Pause, Phase, Progress};
use super::reason::{Reason, Summary, Waiting};
use super::recent::Recent;
use super::rules::{OnFailure, Rollback, Rules};
use crate::route::split::Share;
use crate::time::Now;

/// The longest name of an operator that is kept, in characters.
const BY_MAX: usize = 100;

/// An operator's command to a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryCommand {
    /// Pause. Allowed while it steps or rolls back.
    Pause,
    /// Continue the current step. Allowed while it is paused. After a failure, or weights set by an operator, the step
    /// restarts.
    Resume,
    /// Go to the next step without a verdict, or finish at the last one. Allowed while it steps or is paused.
    Promote,
    /// Go to the last step without a verdict, or finish there. Allowed while it steps or is paused.
    PromoteFully,
    /// Take the share away at once, and end. Allowed unless it has ended without a share.
    Abort,
    /// Start at the first step. Always allowed.
    Restart,
}

impl CanaryCommand {
    /// Its name in the API and the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote | Self::PromoteFully => "promote",
            Self::Abort => "abort",
            Self::Restart => "restart",
        }
    }
}

/// A command that the current phase does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the canary is {}: it takes no {}", .phase.name(), .command.name())]
pub struct NotAllowed {
    /// The phase.
    pub phase: Phase,
    /// The command.
    pub command: CanaryCommand,
}

/// A canary.
#[derive(Clone, Debug)]
pub struct Canary {
    rules: Rules,
    progress: Progress,
    /// The totals at the start of the step.
    start: Evidence,
    /// The totals some time ago.
    recent: Recent,
    /// The latest time passed in, monotonic.
    seen: Duration,
    looks: Looks,
    waiting: Waiting,
}

impl Canary {
    /// A new canary at its first step, with a `Started` entry in its history.
    #[must_use]
    pub fn begin(rules: Rules, now: Now, totals: Evidence) -> Self {
        let history = VecDeque::new();
        let (phase, share, held) = (Phase::Stepping, Share::NONE, Duration::ZERO);
        let progress = Progress { phase, step: 0, share, held, baseline: None, history };
        let mut canary = Self::with(rules, progress, now, totals);
        canary.progress.share = canary.share_at(0);
        canary.record(now, Event::Started, String::from("the first step"));
        canary
    }

    /// The canary after a restart of the process: keeps phase, step and elapsed time, and collects new results. Changed
    /// rules apply as with [`Canary::adopt`].
    #[must_use]
    pub fn resume(rules: Rules, progress: Progress, now: Now, totals: Evidence) -> Self {
        let mut canary = Self::with(rules, progress, now, totals);
        canary.progress.history.truncate(super::progress::HISTORY_MAX);
        canary.find_step(now, None);
        canary
    }

    /// Applies other rules in the same phase. The step becomes the last one whose share is at most the current one, or
    /// else the first, so that no share is raised without a verdict. The share changes only while the canary steps, and
    /// then the step restarts; otherwise it changes with the next command.
    pub fn adopt(&mut self, rules: Rules, now: Now, totals: &Evidence) {
        self.rules = rules;
        self.find_step(now, Some(totals));
    }

    /// Evaluates the canary; call it a few times a second. Returns at most one change.
    pub fn tick(&mut self, now: Now, totals: &Evidence) -> Option<Change> {
        let passed = now.mono.saturating_sub(self.seen);
        self.seen = self.seen.max(now.mono);
        match self.progress.phase {
            Phase::Stepping => {
                self.progress.held = self.progress.held.saturating_add(passed);
                self.look(now, totals)
            }
            Phase::Paused(Pause::Person) => self.guard(now, totals),
            Phase::RollingBack => {
                self.progress.held = self.progress.held.saturating_add(passed);
                let is_due = self.progress.held >= self.rules.rollback_interval;
                is_due.then(|| self.step_down(now, Event::RolledBack, String::from("a step back")))
            }
            Phase::Paused(Pause::Weights | Pause::Failure) | Phase::RolledBack | Phase::Aborted | Phase::Done => None,
        }
    }

    /// Carries out an operator's command; `by` is the operator's name.
    ///
    /// # Errors
    /// If the current phase does not allow the command.
    pub fn command(
        &mut self,
        command: CanaryCommand,
        by: &str,
        now: Now,
        totals: &Evidence,
    ) -> Result<Change, NotAllowed> {
        let phase = self.progress.phase;
        self.advance_clock(now);
        let by = by_operator(by);
        let is_running = matches!(phase, Phase::Stepping | Phase::RollingBack);
        let is_paused = matches!(phase, Phase::Paused(_));
        let is_over = matches!(phase, Phase::RolledBack | Phase::Aborted);
        let may_step = is_paused || phase == Phase::Stepping;
        let last = self.last_step();
        match command {
            CanaryCommand::Pause if is_running => {
                if phase == Phase::RollingBack {
                    // The failure has been acted on. The same results would fail again at once, even while paused.
                    self.begin_window(totals);
                }
                self.progress.phase = Phase::Paused(Pause::Person);
                Ok(self.record(now, Event::Paused, by))
            }
            CanaryCommand::Resume if is_paused => {
                let step = self.progress.step;
                if phase == Phase::Paused(Pause::Person) && self.share_at(step) == self.progress.share {
                    self.progress.phase = Phase::Stepping;
                } else {
                    self.enter(step, totals);
                }
                Ok(self.record(now, Event::Resumed, by))
            }
            CanaryCommand::Promote | CanaryCommand::PromoteFully if may_step && self.progress.step >= last => {
                self.enter(last, totals);
                self.progress.phase = Phase::Done;
                Ok(self.record(now, Event::Done, by))
            }
            CanaryCommand::Promote | CanaryCommand::PromoteFully if may_step => {
                self.update_baseline(&totals.since(&self.start));
                let next = if command == CanaryCommand::Promote { self.progress.step + 1 } else { last };
                self.enter(next, totals);
                Ok(self.record(now, Event::Promoted, by))
            }
            CanaryCommand::Abort if !is_over => {
                self.end_without_share(Phase::Aborted);
                Ok(self.record(now, Event::Aborted, by))
            }
            CanaryCommand::Restart => {
                self.progress.baseline = None;
                self.enter(0, totals);
                Ok(self.record(now, Event::Restarted, by))
            }
            CanaryCommand::Pause
            | CanaryCommand::Resume
            | CanaryCommand::Promote
            | CanaryCommand::PromoteFully
            | CanaryCommand::Abort => Err(NotAllowed { phase, command }),
        }
    }

    /// An operator has set the weights, and so the canary's share. From now on the canary does not change it. A running
    /// canary is paused, which is a change.
    pub fn weights_were_set(&mut self, share: Share, by: &str, now: Now) -> Option<Change> {
        self.advance_clock(now);
        self.progress.share = share;
        match self.progress.phase {
            Phase::Stepping | Phase::RollingBack => {
                self.progress.phase = Phase::Paused(Pause::Weights);
                Some(self.record(now, Event::Paused, format!("weights were set {}", by_operator(by))))
            }
            Phase::Paused(_) => {
                self.progress.phase = Phase::Paused(Pause::Weights);
                None
            }
            Phase::RolledBack | Phase::Aborted | Phase::Done => None,
        }
    }

    /// The canary's current share.
    #[must_use]
    pub fn share(&self) -> Share {
        self.progress.share
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The progress, which the caller persists.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The results since the step began.
    #[must_use]
    pub fn window(&self, totals: &Evidence) -> Evidence {
        totals.since(&self.start)
    }

    /// What the canary waits for, or why it is in its phase, as text for operators.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.progress.phase {
            Phase::Stepping => self.waiting.to_string(),
            Phase::Paused(_) | Phase::RollingBack | Phase::RolledBack | Phase::Aborted | Phase::Done => {
                self.progress.history.front().map(|change| change.reason.clone()).unwrap_or_default()
            }
        }
    }

    fn with(rules: Rules, progress: Progress, now: Now, start: Evidence) -> Self {
        let waiting = Waiting::Time { left: rules.hold };
        let recent = Recent::begin(now.mono, &start);
        Self { rules, progress, start, recent, seen: now.mono, looks: Looks::default(), waiting }
    }

    /// Evaluates a step. Latencies are only computed for a look, which is rare.
    fn look(&mut self, now: Now, totals: &Evidence) -> Option<Change> {
        if let Some(change) = self.guard(now, totals) {
            return Some(change);
        }
        let counts = totals.counts_since(&self.start);
        let case = self.case(&counts);
        let left = self.rules.hold.saturating_sub(self.progress.held);
        let is_short = (left > Duration::ZERO).then_some(Waiting::Time { left });
        let risk = judge::risk(&self.rules);
        let missing = judge::missing(&self.rules, case);
        let is_too_few = matches!(missing, Some(Waiting::Requests { .. } | Waiting::OtherRequests { .. }));
        if let Some(waiting) = is_short.or(missing) {
            self.waiting = waiting;
            if is_too_few {
                // No verdict with fewer requests, except for the ceiling.
                return None;
            }
            let part = self.looks.during(counts.canary.requests)?;
            let window = totals.since(&self.start);
            let reason = judge::failure(&self.rules, self.case(&window), part * risk)?;
            return Some(self.fail(now, &reason));
        }
        let part = self.looks.after(counts.canary.requests)?;
        let window = totals.since(&self.start);
        let case = self.case(&window);
        match judge::judge(&self.rules, case, part * risk) {
            Verdict::Pass => {
                let shown = Summary { window: &window, stable: case.stable }.to_string();
                Some(self.pass(now, totals, shown))
            }
            Verdict::Fail(reason) => Some(self.fail(now, &reason)),
            Verdict::Wait(waiting) => {
                self.waiting = waiting;
                None
            }
        }
    }

    /// Applies the error ceiling, over the whole step and over its most recent part. It also applies while an operator
    /// has paused the canary: a pause stops promotion, not protection.
    fn guard(&mut self, now: Now, totals: &Evidence) -> Option<Change> {
        let counts = totals.counts_since(&self.start);
        let recent = self.recent.window(self.seen, totals);
        let case = self.case(&counts);
        let usual = case.stable.map_or(0.0, |stable| stable.error_rate());
        let reason = judge::ceiling(&self.rules, case, 0.0);
        let reason = reason.or_else(|| judge::ceiling(&self.rules, self.case(&recent), usual))?;
        Some(self.fail(now, &reason))
    }

    fn case<'a>(&self, window: &'a Evidence) -> Case<'a> {
        let is_whole = self.progress.share == Share::WHOLE;
        let stable = if is_whole { self.progress.baseline } else { Some(window.stable.figures()) };
        Case { window, stable, is_whole }
    }

    fn pass(&mut self, now: Now, totals: &Evidence, shown: String) -> Change {
        if self.progress.step >= self.last_step() {
            self.progress.phase = Phase::Done;
            return self.record(now, Event::Done, shown);
        }
        self.update_baseline(&totals.since(&self.start));
        self.enter(self.progress.step + 1, totals);
        self.record(now, Event::Promoted, shown)
    }

    fn fail(&mut self, now: Now, reason: &Reason) -> Change {
        let reason = reason.to_string();
        match (self.rules.on_failure, self.rules.rollback) {
            (OnFailure::Pause, Rollback::Now | Rollback::Steps) => {
                self.progress.phase = Phase::Paused(Pause::Failure);
                self.record(now, Event::Failed, reason)
            }
            (OnFailure::Rollback, Rollback::Now) => {
                self.end_without_share(Phase::RolledBack);
                self.record(now, Event::RolledBack, reason)
            }
            (OnFailure::Rollback, Rollback::Steps) => {
                self.progress.phase = Phase::RollingBack;
                self.step_down(now, Event::Failed, reason)
            }
        }
    }

    /// Goes one step down; from the first one to no share, which is the end.
    fn step_down(&mut self, now: Now, event: Event, reason: String) -> Change {
        let Some(below) = self.progress.step.checked_sub(1) else {
            let failed = |change: &&Change| change.event == Event::Failed;
            let why = self.progress.history.iter().find(failed).map_or(reason.clone(), |change| change.reason.clone());
            self.end_without_share(Phase::RolledBack);
            return self.record(now, Event::RolledBack, if event == Event::Failed { reason } else { why });
        };
        self.progress.step = below;
        self.progress.share = self.share_at(below);
        self.progress.held = Duration::ZERO;
        self.record(now, event, reason)
    }

    /// Begins a step.
    fn enter(&mut self, step: usize, totals: &Evidence) {
        self.progress.phase = Phase::Stepping;
        self.progress.step = step.min(self.last_step());
        self.progress.share = self.share_at(self.progress.step);
        self.begin_window(totals);
    }

    fn begin_window(&mut self, totals: &Evidence) {
        self.progress.held = Duration::ZERO;
        self.start = totals.clone();
        self.recent = Recent::begin(self.seen, totals);
        self.looks = Looks::default();
        self.waiting = Waiting::Time { left: self.rules.hold };
    }

    /// Ends the canary without a share.
    fn end_without_share(&mut self, phase: Phase) {
        self.progress.phase = phase;
        self.progress.share = Share::NONE;
    }

    /// Remembers the stable side's results, to compare with when it has no more requests.
    fn update_baseline(&mut self, window: &Evidence) {
        let stable = window.stable.figures();
        if stable.requests >= self.rules.requests_min && stable.requests > 0 {
            self.progress.baseline = Some(stable);
        }
    }

    /// Finds the step under possibly changed rules. `totals`: the start of a new window; `None`: the window is new
    /// already.
    fn find_step(&mut self, now: Now, totals: Option<&Evidence>) {
        self.advance_clock(now);
        let share = self.progress.share;
        match self.progress.phase {
            Phase::Stepping | Phase::RollingBack | Phase::Paused(Pause::Person | Pause::Failure) | Phase::Done => {
                // Never a step with a higher share: no verdict has allowed that.
                let fits = self.rules.steps.iter().rposition(|step| *step <= share);
                self.progress.step = fits.unwrap_or_default();
            }
            Phase::Paused(Pause::Weights) | Phase::RolledBack | Phase::Aborted => {
                self.progress.step = self.progress.step.min(self.last_step());
            }
        }
        if self.progress.phase != Phase::Stepping || self.share_at(self.progress.step) == share {
            return;
        }
        self.progress.share = self.share_at(self.progress.step);
        self.progress.held = Duration::ZERO;
        if let Some(totals) = totals {
            self.begin_window(totals);
        }
    }

    fn advance_clock(&mut self, now: Now) {
        let passed = now.mono.saturating_sub(self.seen);
        self.seen = self.seen.max(now.mono);
        match self.progress.phase {
            Phase::Stepping | Phase::RollingBack => self.progress.held = self.progress.held.saturating_add(passed),
            Phase::Paused(_) | Phase::RolledBack | Phase::Aborted | Phase::Done => {}
        }
    }

    fn share_at(&self, step: usize) -> Share {
        self.rules.steps.get(step).copied().unwrap_or_default()
    }

    fn last_step(&self) -> usize {
        self.rules.steps.len().saturating_sub(1)
    }

    fn record(&mut self, now: Now, event: Event, reason: String) -> Change {
        let at_ms = u64::try_from(now.wall.as_millis()).unwrap_or(u64::MAX);
        let change = Change { at_ms, event, share: self.progress.share, reason };
        self.progress.record(change.clone());
        change
    }
}

/// `by alice`.
fn by_operator(by: &str) -> String {
    format!("by {}", by.chars().take(BY_MAX).collect::<String>())
}

#[cfg(test)]
mod tests;
