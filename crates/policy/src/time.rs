//! The time at which a decision is made, passed in by the caller.

use std::time::Duration;

/// One point in time on both clocks. The caller reads the clocks once for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since the process started. Monotonic: for timeouts, back-off and the age of local events.
    pub mono: Duration,
    /// Time since the Unix epoch: for HTTP dates and logs. May jump in either direction.
    pub wall: Duration,
}

impl Now {
    /// A point in time with this monotonic time, at the Unix epoch. For state machines that use `mono` alone.
    #[must_use]
    pub fn at(mono: Duration) -> Self {
        Self { mono, wall: Duration::ZERO }
    }
}
