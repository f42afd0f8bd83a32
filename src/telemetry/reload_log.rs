//! What became of the reloads of the configuration.

use std::time::Duration;

use parking_lot::Mutex;

use super::clock;

/// The longest message that is kept, in characters.
const MESSAGE_MAX: usize = 4096;

/// What became of the reloads of the configuration.
#[derive(Debug, Default)]
pub struct ReloadLog(Mutex<Reloads>);

/// The reloads so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads {
    /// How many took effect.
    pub(crate) succeeded: u64,
    /// How many changed nothing.
    pub(crate) failed: u64,
    /// The last one.
    pub(crate) last: Option<LastReload>,
    /// When the configuration was last replaced, since the epoch; `None`: it is that of the start.
    pub(crate) in_force_since: Option<Duration>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub(crate) struct LastReload {
    /// When it happened, since the epoch.
    pub(crate) at: Duration,
    /// Whether it took effect.
    pub(crate) succeeded: bool,
    /// What has changed, or why nothing has.
    pub(crate) message: String,
}

impl ReloadLog {
    /// A reload took effect; `message` says what has changed.
    pub fn succeeded(&self, message: &str) {
        self.add(true, message);
    }

    /// A reload changed nothing; `message` says why.
    pub fn failed(&self, message: &str) {
        self.add(false, message);
    }

    fn add(&self, succeeded: bool, message: &str) {
        let at = clock::now().wall;
        let mut reloads = self.0.lock();
        let count = if succeeded { &mut reloads.succeeded } else { &mut reloads.failed };
        *count += 1;
        if succeeded {
            reloads.in_force_since = Some(at);
        }
        reloads.last = Some(LastReload { at, succeeded, message: message.chars().take(MESSAGE_MAX).collect() });
    }

    /// The reloads so far.
    #[must_use]
    pub(crate) fn reloads(&self) -> Reloads {
        self.0.lock().clone()
    }
}
