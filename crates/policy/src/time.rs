//! The moment a decision is made at, passed in by the caller.

use std::time::Duration;

/// One moment, on both clocks. Read once a request by the caller; nothing in this crate reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the process started: never goes back. For timeouts, ages of things that happened here, back-off.
    pub mono: Duration,
    /// Since the Unix epoch: for HTTP dates and logs. May jump.
    pub wall: Duration,
}

impl Now {
    /// A moment with the given monotonic time, at the Unix epoch: for state machines that look at `mono` alone.
    #[must_use]
    pub fn at(mono: Duration) -> Self {
        Self { mono, wall: Duration::ZERO }
    }
}
