//! A latency histogram of fixed size, accurate to some 3 % from one microsecond to nine minutes.
//!
//! Each octave has 16 buckets of equal width; below 16 µs a bucket is one microsecond wide. Longer latencies count in
//! the last bucket. Source: the log-linear layout of Gil Tene's HdrHistogram.

use std::time::Duration;

/// Buckets per octave, a power of two.
const PER_OCTAVE: u64 = 16;

/// The binary logarithm of the buckets per octave.
const OCTAVE_BITS: u32 = PER_OCTAVE.ilog2();

/// Latencies from this on, in microseconds, count in the last bucket: some nine minutes.
const END_MICROS: u64 = 1 << 29;

/// The number of buckets.
pub const BUCKETS: usize = bucket_of(END_MICROS - 1) + 1;

/// The bucket of a latency, below [`BUCKETS`].
#[must_use]
pub fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    bucket_of(if micros < END_MICROS { micros } else { END_MICROS - 1 })
}

const fn bucket_of(micros: u64) -> usize {
    if micros < PER_OCTAVE {
        return micros as usize;
    }
    let octave = micros.ilog2() - OCTAVE_BITS;
    // The leading bits without the first one, which the octave implies; fits any usize.
    (PER_OCTAVE * octave as u64 + (micros >> octave)) as usize
}

/// The start and width of a bucket, in microseconds.
fn span(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < PER_OCTAVE {
        return (bucket, 1);
    }
    let octave = bucket / PER_OCTAVE - 1;
    ((bucket % PER_OCTAVE + PER_OCTAVE) << octave, 1 << octave)
}

/// The number of responses in each bucket. The vector ends with a non-empty bucket, so an empty histogram has no
/// allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one response.
    pub fn record(&mut self, latency: Duration) {
        self.add(bucket(latency), 1);
    }

    /// Adds to a bucket; ignored for an invalid one.
    pub fn add(&mut self, bucket: usize, answers: u64) {
        if bucket >= BUCKETS || answers == 0 {
            return;
        }
        self.reach(bucket + 1);
        if let Some(count) = self.0.get_mut(bucket) {
            *count = count.saturating_add(answers);
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.reach(other.0.len());
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().copied().chain(std::iter::repeat(0));
        let mut counts: Vec<u64> = self.0.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
        let held = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.truncate(held);
        Self(counts)
    }

    /// The non-empty buckets in ascending order, each with its number of responses.
    pub fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// The number of responses.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The quantile for this share (`0.95`: the 95th percentile), interpolated within a bucket. `None`: the histogram
    /// is empty.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut rank = share.clamp(0.0, 1.0) * self.total() as f64;
        let mut last = None;
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (start, width) = span(bucket);
            let within = (rank / *count as f64).min(1.0);
            last = Some(Duration::from_secs_f64((start as f64 + width as f64 * within) / 1e6));
            rank -= *count as f64;
            if rank <= 0.0 {
                break;
            }
        }
        last
    }

    /// The number of responses slower than `limit`, interpolated within a bucket.
    #[must_use]
    pub fn above(&self, limit: Duration) -> u64 {
        let micros = limit.as_secs_f64() * 1e6;
        let mut above = 0.0;
        for (bucket, count) in self.0.iter().enumerate() {
            let (start, width) = span(bucket);
            let share = ((start + width) as f64 - micros) / width as f64;
            above += *count as f64 * share.clamp(0.0, 1.0);
        }
        above.round() as u64
    }

    /// Extends the vector to this many buckets.
    fn reach(&mut self, buckets: usize) {
        if self.0.len() < buckets {
            self.0.resize(buckets, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new();
        millis.into_iter().for_each(|ms| histogram.record(Duration::from_millis(ms)));
        histogram
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for bucket in 1..BUCKETS {
            let (before, width) = span(bucket - 1);
            let (start, _) = span(bucket);
            assert_eq!(before + width, start, "bucket {bucket}");
            assert_eq!(bucket_of(start), bucket);
            assert_eq!(bucket_of(start - 1), bucket - 1);
        }
        assert_eq!(span(BUCKETS - 1).0 + span(BUCKETS - 1).1, END_MICROS);
    }

    #[test]
    fn the_longest_latencies_count_in_the_last_bucket() {
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::from_secs(3600)), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
        assert!(bucket(Duration::from_secs(300)) < BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_within_a_bucket_of_the_truth() {
        let histogram = of(1..=1000);
        for (share, truth) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((found / truth - 1.0).abs() < 0.01, "{share}: {found}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::new().quantile(0.95), None);
        assert_eq!(Histogram::new().above(Duration::ZERO), 0);
    }

    #[test]
    fn what_is_above_a_quantile_is_the_rest() {
        let histogram = of(1..=1000);
        let p95 = histogram.quantile(0.95).unwrap();
        assert_eq!(histogram.above(p95), 50);
        assert_eq!(histogram.above(Duration::MAX), 0);
        assert_eq!(histogram.above(Duration::ZERO), 1000);
    }

    #[test]
    fn a_difference_holds_what_came_since() {
        let before = of([5, 7]);
        let mut after = before.clone();
        after.merge(&of([9, 9]));
        assert_eq!(after.since(&before), of([9, 9]));
        assert_eq!(before.since(&after).total(), 0);
    }

    #[test]
    fn a_bucket_that_there_is_not_counts_nothing() {
        let mut histogram = Histogram::new();
        histogram.add(BUCKETS, 7);
        assert_eq!(histogram.total(), 0);
        histogram.add(0, u64::MAX);
        histogram.add(1, u64::MAX);
        assert_eq!(histogram.total(), u64::MAX);
        assert!(histogram.quantile(0.95).is_some());
    }

    proptest! {
        #[test]
        fn quantiles_grow_with_the_share(millis in prop::collection::vec(0_u64..1_000_000, 1..50), a in 0.0..1.0, b in 0.0..1.0) {
            let histogram = of(millis);
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(histogram.quantile(low) <= histogram.quantile(high));
        }

        #[test]
        fn a_latency_is_within_its_bucket(micros in 0..END_MICROS) {
            let (start, width) = span(bucket(Duration::from_micros(micros)));
            prop_assert!((start..start + width).contains(&micros));
            prop_assert!(width == 1 || width * PER_OCTAVE <= start);
        }
    }
}
