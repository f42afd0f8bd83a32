//! What one worker has seen of one side of a split: how many requests it answered, how many failed, how fast.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policy::canary::evidence::Side;
use policy::canary::histogram::{self, BUCKETS};

use super::counters::Counter;

/// What one worker has seen of one side. Written by that worker, read by anyone.
#[derive(Debug)]
pub struct TargetStats {
    requests: Counter,
    errors: Counter,
    latency: Box<[AtomicU64]>,
}

impl Default for TargetStats {
    fn default() -> Self {
        let latency = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { requests: Counter::default(), errors: Counter::default(), latency }
    }
}

impl TargetStats {
    /// A response head is in, so long after the request's.
    pub fn answered(&self, after: Duration, is_error: bool) {
        self.requests.up();
        if is_error {
            self.errors.up();
        }
        if let Some(bucket) = self.latency.get(histogram::bucket(after)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// There will be no response head, and not for the client's sake.
    pub fn unanswered(&self) {
        self.requests.up();
        self.errors.up();
    }

    /// A body broke off; its head did not count as an error.
    pub fn broke(&self) {
        self.errors.up();
    }

    /// Adds what it has seen so far.
    pub fn add_to(&self, side: &mut Side) {
        // Errors first: a request that comes in between must not look like an error without a request.
        side.errors += self.errors.get();
        side.requests += self.requests.get();
        for (index, bucket) in self.latency.iter().enumerate() {
            side.latency.add(index, bucket.load(Ordering::Relaxed));
        }
    }
}
