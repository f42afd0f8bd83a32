//! Events that a client can bring about: told once in a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long it is silent after an event.
const SILENCE_SECONDS: u64 = 60;

/// Says when an event may be logged again. Shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    /// When it may be, in seconds of monotonic time.
    next: AtomicU64,
}

impl Notice {
    /// Whether an event may be logged now (monotonic time): once a minute.
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
