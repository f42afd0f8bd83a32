//! The waiting URI queues of one lane, and which of them may send next within the lane's limits.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::write::outcome::Backoff;

/// The burst that the rate limit allows: a tenth of a second's worth, so that timers need not be exact.
const BURST: Duration = Duration::from_millis(100);

/// The limits of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// How long the first pending write of a key waits for others to coalesce with.
    pub flush_interval: Duration,
    /// The most pending bytes. From half of it on, nothing waits for `flush_interval`.
    pub pending_bytes_max: u64,
    /// The most writes in flight, each of another key. Zero counts as one.
    pub concurrency_max: usize,
    /// The most writes started per second (a tenth more after a pause); `None`: no limit.
    pub rate_max: Option<NonZeroU32>,
    /// The number of attempts after which a write becomes a dead letter. Zero counts as one.
    pub attempts_max: u32,
    /// The delay between attempts.
    pub backoff: Backoff,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(5),
            pending_bytes_max: 64 << 20,
            concurrency_max: 16,
            rate_max: None,
            attempts_max: 8,
            backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) },
        }
    }
}

/// A time on the monotonic clock in nanoseconds. Half the size of a `Duration`; there are three for each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DueTime(u64);

impl DueTime {
    pub(super) fn of(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    fn time(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// The time at which a URI queue is due, and a number that makes the slot unique.
pub(super) type DueSlot = (DueTime, u64);

/// The waiting URI queues of one lane, and its load.
#[derive(Debug)]
pub(super) struct WaitingQueues<K> {
    pub(super) limits: LaneLimits,
    /// URI queues that only wait for more writes to coalesce.
    pub(super) patient: BTreeMap<DueSlot, K>,
    /// URI queues that only wait for their time.
    pub(super) urgent: BTreeMap<DueSlot, K>,
    pub(super) in_flight: usize,
    pub(super) pending: usize,
    pub(super) pending_bytes: u64,
    /// URI queues whose last attempt failed, or whose upstream is down.
    pub(super) stuck: usize,
    /// The bytes reserved for writes that are being written to the journal.
    pub(super) reserved_bytes: u64,
    pub(super) dead: usize,
    pub(super) dead_bytes: u64,
    /// When the next write is due at the configured rate (generic cell rate algorithm, ITU-T I.371).
    pace: Duration,
}

impl<K> Default for WaitingQueues<K> {
    fn default() -> Self {
        Self {
            limits: LaneLimits::default(),
            patient: BTreeMap::new(),
            urgent: BTreeMap::new(),
            in_flight: 0,
            pending: 0,
            pending_bytes: 0,
            stuck: 0,
            reserved_bytes: 0,
            dead: 0,
            dead_bytes: 0,
            pace: Duration::ZERO,
        }
    }
}

impl<K> WaitingQueues<K> {
    /// Whether there is room for a write of this size.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let taken = self.pending_bytes.saturating_add(self.reserved_bytes);
        taken.saturating_add(bytes) <= self.limits.pending_bytes_max
    }

    /// When a URI queue may become due; `None`: after the next event.
    pub(super) fn next_due(&self, hurry: bool) -> Option<Duration> {
        if !self.has_hands() {
            return None;
        }
        let patient =
            self.patient.keys().next().map(|(due, _)| if self.hurries(hurry) { Duration::ZERO } else { due.time() });
        let urgent = self.urgent.keys().next().map(|(due, _)| due.time());
        let due = [patient, urgent].into_iter().flatten().min()?;
        Some(due.max(self.pace_allows_from()))
    }

    /// Removes the URI queue that has been due for longest, if the limits allow; so no key starves.
    pub(super) fn take_next(&mut self, hurry: bool, now: Duration) -> Option<(DueSlot, K)> {
        if !self.has_hands() || self.pace_allows_from() > now {
            return None;
        }
        let hurries = self.hurries(hurry);
        let patient = self.patient.keys().next().filter(|(due, _)| hurries || due.time() <= now);
        let urgent = self.urgent.keys().next().filter(|(due, _)| due.time() <= now);
        match (urgent, patient) {
            (None, None) => None,
            (Some(urgent), Some(patient)) if patient < urgent => self.patient.pop_first(),
            (None, Some(_)) => self.patient.pop_first(),
            (Some(_), _) => self.urgent.pop_first(),
        }
    }

    /// Records that a write was sent.
    pub(super) fn sent(&mut self, now: Duration) {
        self.in_flight += 1;
        if let Some(rate) = self.limits.rate_max {
            self.pace = self.pace.max(now).saturating_add(Duration::from_secs(1) / rate.get());
        }
    }

    fn has_hands(&self) -> bool {
        self.in_flight < self.limits.concurrency_max.max(1)
    }

    fn hurries(&self, hurry: bool) -> bool {
        hurry || self.pending_bytes > self.limits.pending_bytes_max / 2
    }

    fn pace_allows_from(&self) -> Duration {
        match self.limits.rate_max {
            Some(_) => self.pace.saturating_sub(BURST),
            None => Duration::ZERO,
        }
    }
}
