//! How far a canary has come, in a shape that is kept over a restart.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Figures;
use crate::route::split::Share;

/// How many changes are remembered.
pub const HISTORY_MAX: usize = 20;

/// Where a canary stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It has a step's share and is judged.
    Stepping,
    /// It stays as it is.
    Paused(Pause),
    /// It goes down the steps that it came up.
    RollingBack,
    /// It failed and has no share.
    RolledBack,
    /// A person has taken its share.
    Aborted,
    /// It has passed every step, and keeps the last one's share.
    Done,
}

impl Phase {
    /// How people and the API call it: `stepping`, `paused`, `rolling-back`, `rolled-back`, `aborted`, `done`.
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

/// Why a canary stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// A person said so. It is not promoted, but still protected: the error ceiling acts.
    Person,
    /// A person has set the weights: from then on they are the person's concern, and nothing acts.
    Weights,
    /// It failed, and the rules leave it to a person what becomes of it: nothing acts.
    Failure,
}

/// What a change of a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It is new, and has its first step's share.
    Started,
    /// It has the next step's share.
    Promoted,
    /// It stays as it is.
    Paused,
    /// It goes on.
    Resumed,
    /// It failed: it is paused, or begins to go down the steps.
    Failed,
    /// It lost share because it failed; when none is left, that was the end.
    RolledBack,
    /// A person has taken its share.
    Aborted,
    /// A person had it begin anew.
    Restarted,
    /// It has passed every step.
    Done,
}

impl Event {
    /// How people and the API call it: `started`, `rolled-back` …
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
    /// When, since the Unix epoch, in milliseconds.
    pub at_ms: u64,
    /// What it was.
    pub event: Event,
    /// The canary's share from then on; kept in percent.
    #[serde(rename = "weight", with = "percent")]
    pub share: Share,
    /// Why, or who, for people.
    pub reason: String,
}

/// How far a canary has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Which step it is at, or ended at, counted from 0.
    pub step: usize,
    /// The canary's share; kept in percent.
    #[serde(rename = "weight", with = "percent")]
    pub share: Share,
    /// How long the step has lasted, pauses left out; kept in milliseconds.
    #[serde(rename = "held_ms", with = "millis")]
    pub held: Duration,
    /// What the others answered when they last had enough requests: what the canary is compared with once it has
    /// them all.
    #[serde(default)]
    pub baseline: Option<Figures>,
    /// The last changes, newest first; at most [`HISTORY_MAX`].
    #[serde(default)]
    pub history: VecDeque<Change>,
}

impl Progress {
    /// Remembers a change, and forgets the oldest when there are too many.
    pub(super) fn note(&mut self, change: Change) {
        self.history.push_front(change);
        self.history.truncate(HISTORY_MAX);
    }
}

/// A share as percent.
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

/// A length of time as whole milliseconds.
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
            progress.note(Change { at_ms, event: Event::Paused, share: Share::NONE, reason: String::new() });
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
