//! A canary from its first step to its end.
//!
//! It holds no clock and counts nothing: it is told the time and what the sides have answered since the process began,
//! and tells what changes. Each step goes by what has come since its own start.
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

/// The longest name of a person that is kept, in characters.
const BY_MAX: usize = 100;

/// What a person has a canary do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To stay as it is. Taken while it steps or goes back.
    Pause,
    /// To go on with the step where it is. Taken while it is paused. After a failure, or weights that were set by hand,
    /// the step begins anew; else it goes on where it was.
    Resume,
    /// To go to the next step now, without a verdict; at the last one: to be done. Taken while it steps or is paused.
    Promote,
    /// To go to the last step now, without a verdict; there: to be done. Taken while it steps or is paused.
    PromoteFully,
    /// To lose its share at once, and end. Taken until it has none.
    Abort,
    /// To begin with the first step. Always taken.
    Restart,
}

impl Order {
    /// How people call it.
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

/// An order that is not for the phase the canary is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the canary is {}: it takes no {}", .phase.name(), .order.name())]
pub struct NotNow {
    /// Where it stands.
    pub phase: Phase,
    /// What it was told.
    pub order: Order,
}

/// A canary.
#[derive(Clone, Debug)]
pub struct Canary {
    rules: Rules,
    progress: Progress,
    /// What the totals were when the step began.
    start: Evidence,
    /// What they were some moments ago.
    recent: Recent,
    /// When it last looked at the clock.
    seen: Duration,
    looks: Looks,
    waiting: Waiting,
}

impl Canary {
    /// A new one at its first step; its history says that it started.
    #[must_use]
    pub fn begin(rules: Rules, now: Now, totals: Evidence) -> Self {
        let history = VecDeque::new();
        let (phase, share, held) = (Phase::Stepping, Share::NONE, Duration::ZERO);
        let progress = Progress { phase, step: 0, share, held, baseline: None, history };
        let mut canary = Self::with(rules, progress, now, totals);
        canary.progress.share = canary.share_at(0);
        canary.note(now, Event::Started, String::from("the first step"));
        canary
    }

    /// The same one after a restart: phase, step, and the time that it has lasted are as they were; what is judged
    /// begins anew. When the rules have changed meanwhile: as with [`Canary::adopt`].
    #[must_use]
    pub fn resume(rules: Rules, progress: Progress, now: Now, totals: Evidence) -> Self {
        let mut canary = Self::with(rules, progress, now, totals);
        canary.progress.history.truncate(super::progress::HISTORY_MAX);
        canary.settle(now, None);
        canary
    }

    /// Goes by other rules from now on, in the same phase. The step becomes the last whose share is at most the
    /// present one's, or else the first: none is reached that nobody has judged. Its share follows only while it steps, and then the step begins anew; else it has it
    /// from the next order on.
    pub fn adopt(&mut self, rules: Rules, now: Now, totals: &Evidence) {
        self.rules = rules;
        self.settle(now, Some(totals));
    }

    /// Looks at the clock and at what has come, a few times a second. At most one thing changes at a time.
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

    /// Does what a person says. `by`: who.
    ///
    /// # Errors
    /// When the order is not for the phase that it is in.
    pub fn direct(&mut self, order: Order, by: &str, now: Now, totals: &Evidence) -> Result<Change, NotNow> {
        let phase = self.progress.phase;
        self.tell_time(now);
        let by = person(by);
        let is_running = matches!(phase, Phase::Stepping | Phase::RollingBack);
        let is_paused = matches!(phase, Phase::Paused(_));
        let is_over = matches!(phase, Phase::RolledBack | Phase::Aborted);
        let may_step = is_paused || phase == Phase::Stepping;
        let last = self.last_step();
        match order {
            Order::Pause if is_running => {
                if phase == Phase::RollingBack {
                    // What it failed by has been acted on. It would fail by that again at once, pause or no pause.
                    self.begin_window(totals);
                }
                self.progress.phase = Phase::Paused(Pause::Person);
                Ok(self.note(now, Event::Paused, by))
            }
            Order::Resume if is_paused => {
                let step = self.progress.step;
                if phase == Phase::Paused(Pause::Person) && self.share_at(step) == self.progress.share {
                    self.progress.phase = Phase::Stepping;
                } else {
                    self.enter(step, totals);
                }
                Ok(self.note(now, Event::Resumed, by))
            }
            Order::Promote | Order::PromoteFully if may_step && self.progress.step >= last => {
                self.enter(last, totals);
                self.progress.phase = Phase::Done;
                Ok(self.note(now, Event::Done, by))
            }
            Order::Promote | Order::PromoteFully if may_step => {
                self.learn(&totals.since(&self.start));
                let next = if order == Order::Promote { self.progress.step + 1 } else { last };
                self.enter(next, totals);
                Ok(self.note(now, Event::Promoted, by))
            }
            Order::Abort if !is_over => {
                self.give_back(Phase::Aborted);
                Ok(self.note(now, Event::Aborted, by))
            }
            Order::Restart => {
                self.progress.baseline = None;
                self.enter(0, totals);
                Ok(self.note(now, Event::Restarted, by))
            }
            Order::Pause | Order::Resume | Order::Promote | Order::PromoteFully | Order::Abort => {
                Err(NotNow { phase, order })
            }
        }
    }

    /// A person has set the weights, and with them the canary's share: from then on it is out of the canary's hands.
    /// One that was running is paused, which is a change.
    pub fn weights_were_set(&mut self, share: Share, by: &str, now: Now) -> Option<Change> {
        self.tell_time(now);
        self.progress.share = share;
        match self.progress.phase {
            Phase::Stepping | Phase::RollingBack => {
                self.progress.phase = Phase::Paused(Pause::Weights);
                Some(self.note(now, Event::Paused, format!("weights were set {}", person(by))))
            }
            Phase::Paused(_) => {
                self.progress.phase = Phase::Paused(Pause::Weights);
                None
            }
            Phase::RolledBack | Phase::Aborted | Phase::Done => None,
        }
    }

    /// The canary's share now.
    #[must_use]
    pub fn share(&self) -> Share {
        self.progress.share
    }

    /// What it goes by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How far it has come: what is kept.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What has come since the step began.
    #[must_use]
    pub fn window(&self, totals: &Evidence) -> Evidence {
        totals.since(&self.start)
    }

    /// What it waits for, or why it is where it is, for people.
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

    /// A step that is judged. Latencies are taken into account only when the canary is looked at, which is seldom.
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
                // Nobody is judged on less, the ceiling excepted.
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

    /// The error ceiling, over the whole step and over its last moments. It also acts while a person has paused the
    /// canary: that stops promotion, not protection.
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
            return self.note(now, Event::Done, shown);
        }
        self.learn(&totals.since(&self.start));
        self.enter(self.progress.step + 1, totals);
        self.note(now, Event::Promoted, shown)
    }

    fn fail(&mut self, now: Now, reason: &Reason) -> Change {
        let reason = reason.to_string();
        match (self.rules.on_failure, self.rules.rollback) {
            (OnFailure::Pause, Rollback::Now | Rollback::Steps) => {
                self.progress.phase = Phase::Paused(Pause::Failure);
                self.note(now, Event::Failed, reason)
            }
            (OnFailure::Rollback, Rollback::Now) => {
                self.give_back(Phase::RolledBack);
                self.note(now, Event::RolledBack, reason)
            }
            (OnFailure::Rollback, Rollback::Steps) => {
                self.progress.phase = Phase::RollingBack;
                self.step_down(now, Event::Failed, reason)
            }
        }
    }

    /// One step down; from the first one to nothing, which is the end.
    fn step_down(&mut self, now: Now, event: Event, reason: String) -> Change {
        let Some(below) = self.progress.step.checked_sub(1) else {
            let failed = |change: &&Change| change.event == Event::Failed;
            let why = self.progress.history.iter().find(failed).map_or(reason.clone(), |change| change.reason.clone());
            self.give_back(Phase::RolledBack);
            return self.note(now, Event::RolledBack, if event == Event::Failed { reason } else { why });
        };
        self.progress.step = below;
        self.progress.share = self.share_at(below);
        self.progress.held = Duration::ZERO;
        self.note(now, event, reason)
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

    /// Ends without a share.
    fn give_back(&mut self, phase: Phase) {
        self.progress.phase = phase;
        self.progress.share = Share::NONE;
    }

    /// Remembers what the others answered, to compare with once they have nothing.
    fn learn(&mut self, window: &Evidence) {
        let stable = window.stable.figures();
        if stable.requests >= self.rules.requests_min && stable.requests > 0 {
            self.progress.baseline = Some(stable);
        }
    }

    /// Finds its place among the steps of rules that may be others than before. `totals`: where a new window begins;
    /// `None`: there is a new one already.
    fn settle(&mut self, now: Now, totals: Option<&Evidence>) {
        self.tell_time(now);
        let share = self.progress.share;
        match self.progress.phase {
            Phase::Stepping | Phase::RollingBack | Phase::Paused(Pause::Person | Pause::Failure) | Phase::Done => {
                // Never the one above: nobody has judged that.
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

    fn tell_time(&mut self, now: Now) {
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

    fn note(&mut self, now: Now, event: Event, reason: String) -> Change {
        let at_ms = u64::try_from(now.wall.as_millis()).unwrap_or(u64::MAX);
        let change = Change { at_ms, event, share: self.progress.share, reason };
        self.progress.note(change.clone());
        change
    }
}

/// `by alice`.
fn person(by: &str) -> String {
    format!("by {}", by.chars().take(BY_MAX).collect::<String>())
}

#[cfg(test)]
mod tests;
