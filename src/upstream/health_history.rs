//! The latest changes of an endpoint's health, for people who ask why it gets no requests.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How many changes are kept.
const CHANGES_MAX: usize = 16;

/// The longest reason that is kept, in characters.
const REASON_MAX: usize = 200;

/// A change of an endpoint's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthChange {
    /// When, since the epoch.
    pub(crate) at: Duration,
    /// What happened.
    pub(crate) event: HealthEvent,
    /// What caused it.
    pub(crate) reason: Arc<str>,
}

/// What can happen to an endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthEvent {
    /// Its active checks fail.
    Down,
    /// Its active checks pass again.
    Up,
    /// It accepts no connection.
    Unreachable,
    /// It accepts connections again.
    Reachable,
    /// It failed too many requests.
    Ejected,
    /// Its trial request succeeded.
    Returned,
    /// A person has taken it out of use.
    Drained,
    /// A person has put it to use again.
    Readied,
}

impl HealthEvent {
    /// Its name in the API.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Unreachable => "unreachable",
            Self::Reachable => "reachable",
            Self::Ejected => "ejected",
            Self::Returned => "returned",
            Self::Drained => "drained",
            Self::Readied => "readied",
        }
    }
}

/// The latest changes of an endpoint's health, at most [`CHANGES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct HealthHistory(Mutex<VecDeque<HealthChange>>);

impl HealthHistory {
    /// Adds a change.
    pub(crate) fn add(&self, at: Duration, event: HealthEvent, reason: &dyn Display) {
        let reason: String = reason.to_string().chars().take(REASON_MAX).collect();
        let mut changes = self.0.lock();
        if changes.len() == CHANGES_MAX {
            changes.pop_front();
        }
        changes.push_back(HealthChange { at, event, reason: reason.into() });
    }

    /// All changes, newest first.
    #[must_use]
    pub(crate) fn changes(&self) -> Vec<HealthChange> {
        self.0.lock().iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_changes_are_kept_and_their_reasons_are_bounded() {
        let history = HealthHistory::default();
        for second in 0..40 {
            history.add(Duration::from_secs(second), HealthEvent::Down, &"x".repeat(1000));
        }
        let changes = history.changes();
        assert_eq!(changes.len(), CHANGES_MAX);
        assert_eq!(changes[0].at, Duration::from_secs(39));
        assert!(changes.iter().all(|change| change.reason.len() == REASON_MAX));
    }
}
