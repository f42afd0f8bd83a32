//! Limits events that clients can cause to one a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The interval between two events.
const SILENCE_SECONDS: u64 = 60;

/// Decides when an event may be logged again. Shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    /// The next time, in seconds of monotonic time.
    next: AtomicU64,
}

impl Notice {
    /// Whether an event may be logged now (monotonic): once a minute.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let (now, next) = (now.as_secs(), self.next.load(Ordering::Relaxed));
        let then = now.saturating_add(SILENCE_SECONDS);
        now >= next && self.next.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_once_a_minute() {
        let notice = Notice::default();
        let due = [0, 1, 59, 60, 61, 200].map(|seconds| notice.is_due(Duration::from_secs(seconds)));
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
