//! The progress of a canary, in a form that is persisted across restarts.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Figures;
use crate::route::split::Share;

/// The most changes in the history.
pub const HISTORY_MAX: usize = 20;

/// The phase of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It has the share of a step and is evaluated.
    Stepping,
    /// It keeps its share.
    Paused(Pause),
    /// It goes down the steps.
    RollingBack,
    /// It failed and has no share.
    RolledBack,
    /// An operator has taken its share.
    Aborted,
    /// It has passed every step, and keeps the share of the last one.
    Done,
}

impl Phase {
    /// Its name in the API: `stepping`, `paused`, `rolling-back`, `rolled-back`, `aborted`, `done`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stepping => "stepping",
            Self::Paused(_) => "paused",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Done => "done",
        }
    }
}

/// Why a canary is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// By an operator. It is not promoted, but still protected: the error ceiling applies.
    Person,
    /// An operator has set the weights, which the canary does not change.
    Weights,
    /// It failed, and the rules leave the decision to an operator.
    Failure,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is new, and has the share of its first step.
    Started,
    /// It has the share of the next step.
    Promoted,
    /// It is paused.
    Paused,
    /// It continues.
    Resumed,
    /// It failed: it is paused, or begins to go down the steps.
    Failed,
    /// It lost share after a failure; without a share it has ended.
    RolledBack,
    /// An operator has taken its share.
    Aborted,
    /// An operator has restarted it.
    Restarted,
    /// It has passed every step.
    Done,
}

impl Event {
    /// Its name in the API: `started`, `rolled-back` …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Promoted => "promoted",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Restarted => "restarted",
            Self::Done => "done",
        }
    }
}

/// A change of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The kind.
    pub event: Event,
    /// The canary's new share; serialized in percent.
    #[serde(rename = "weight", with = "percent")]
    pub share: Share,
    /// The reason, or the operator, as text.
    pub reason: String,
}

/// The progress of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// The step it is at, or ended at, from 0.
    pub step: usize,
    /// The canary's share; serialized in percent.
    #[serde(rename = "weight", with = "percent")]
    pub share: Share,
    /// Elapsed time of the step without pauses; serialized in milliseconds.
    #[serde(rename = "held_ms", with = "millis")]
    pub held: Duration,
    /// The last results of the stable side with enough requests, to compare with when the canary has all requests.
    #[serde(default)]
    pub baseline: Option<Figures>,
    /// The last changes, newest first; at most [`HISTORY_MAX`].
    #[serde(default)]
    pub history: VecDeque<Change>,
}

impl Progress {
    /// Adds a change, and drops the oldest if there are too many.
    pub(super) fn record(&mut self, change: Change) {
        self.history.push_front(change);
        self.history.truncate(HISTORY_MAX);
    }
}

/// Serializes a share in percent.
mod percent {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Share;

    pub(super) fn serialize<S: Serializer>(share: &Share, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(share.percent())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Share, D::Error> {
        Share::from_percent(f64::deserialize(from)?).ok_or_else(|| D::Error::custom("no share: not within 0 to 100"))
    }
}

/// Serializes a duration in whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        let share = Share::from_percent(0.1).unwrap();
        let change = Change { at_ms: 7, event: Event::RolledBack, share, reason: "why".to_owned() };
        let baseline = Some(Figures { requests: 3, errors: 1, answered: 2, p95_micros: Some(9) });
        let held = Duration::from_millis(1500);
        Progress { phase: Phase::Paused(Pause::Person), step: 2, share, held, baseline, history: [change].into() }
    }

    #[test]
    fn progress_comes_back_as_it_was_kept() {
        let kept = serde_json::to_string(&progress()).unwrap();
        assert!(kept.contains(r#""phase":{"paused":"person"}"#), "{kept}");
        assert!(kept.contains(r#""weight":0.1,"held_ms":1500"#), "{kept}");
        assert_eq!(serde_json::from_str::<Progress>(&kept).unwrap(), progress());
    }

    #[test]
    fn garbled_progress_is_refused() {
        let kept = serde_json::to_string(&progress()).unwrap();
        for (from, to) in [("0.1", "200"), ("0.1", "-1"), ("1500", "-1"), ("paused", "napping"), ("\"step\":2", "")] {
            assert!(serde_json::from_str::<Progress>(&kept.replacen(from, to, 1)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn only_the_last_changes_are_remembered() {
        let mut progress = progress();
        for at_ms in 100..200 {
            progress.record(Change { at_ms, event: Event::Paused, share: Share::NONE, reason: String::new() });
        }
        assert_eq!(progress.history.len(), HISTORY_MAX);
        assert_eq!(progress.history.front().map(|change| change.at_ms), Some(199));
    }

    #[test]
    fn events_and_phases_are_kept_under_the_names_that_people_know() {
        for event in [Event::Started, Event::RolledBack, Event::Done, Event::Failed] {
            assert_eq!(serde_json::to_value(event).unwrap(), event.name());
        }
        for phase in [Phase::Stepping, Phase::RollingBack, Phase::RolledBack, Phase::Aborted, Phase::Done] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
    }
}
