//! How long something took, as one worker has counted it: a histogram that any thread can read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policy::canary::histogram::{self, BUCKETS, Histogram};

use super::counters::Counter;

/// A histogram and the sum of its durations. One worker writes it, any thread reads it.
#[derive(Debug)]
pub(crate) struct LatencyStats {
    buckets: Box<[AtomicU64]>,
    micros: Counter,
}

impl Default for LatencyStats {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), micros: Counter::default() }
    }
}

impl LatencyStats {
    /// Counts one duration.
    pub(crate) fn record(&self, duration: Duration) {
        if let Some(bucket) = self.buckets.get(histogram::bucket(duration)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds its counts to a histogram.
    pub(crate) fn add_to(&self, sum: &mut Latency) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            sum.histogram.add(index, bucket.load(Ordering::Relaxed));
        }
        sum.total += Duration::from_micros(self.micros.get());
    }
}

/// How long something took, all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latency {
    /// How many durations fell in each bucket.
    pub(crate) histogram: Histogram,
    /// The sum of all durations.
    pub(crate) total: Duration,
}
