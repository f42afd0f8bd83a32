//! One worker's statistics of a split's side: responses, failures, latencies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policy::canary::evidence::Side;
use policy::canary::histogram::{self, BUCKETS};

use super::counters::Counter;

/// One worker's statistics of a side. Only that worker writes; any thread may read.
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
    /// Counts a response head; `after`: the time since the request head.
    pub fn answered(&self, after: Duration, is_error: bool) {
        self.requests.up();
        if is_error {
            self.errors.up();
        }
        if let Some(bucket) = self.latency.get(histogram::bucket(after)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a failure without a response head that the client did not cause.
    pub fn unanswered(&self) {
        self.requests.up();
        self.errors.up();
    }

    /// Counts a response body that was incomplete, unless its head counted as an error.
    pub fn broke(&self) {
        self.errors.up();
    }

    /// Adds the statistics to `side`.
    pub fn add_to(&self, side: &mut Side) {
        // Errors are read first: a request in between must not appear as an error without a request.
        side.errors += self.errors.get();
        side.requests += self.requests.get();
        for (index, bucket) in self.latency.iter().enumerate() {
            side.latency.add(index, bucket.load(Ordering::Relaxed));
        }
    }
}
