//! One route's way out: which of its lines may send next, within its bounds.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::write::outcome::Backoff;

/// How far ahead of an even pace a lane may send: a tenth of a second's worth, so that timers need not be exact.
const BURST: Duration = Duration::from_millis(100);

/// Bounds of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the first pending write of a key waits for others to be coalesced with.
    pub flush_interval: Duration,
    /// How many bytes may be pending. From half of it on, nothing waits for `flush_interval`.
    pub pending_bytes_max: u64,
    /// How many writes may be under way at a time; each of another key. Zero counts as one.
    pub concurrency_max: usize,
    /// How many writes may go out in a second (a tenth more at once after a pause); `None`: no limit.
    pub rate_max: Option<NonZeroU32>,
    /// How often a write is sent before it becomes a dead letter. Zero counts as one.
    pub attempts_max: u32,
    /// How long to wait between attempts.
    pub backoff: Backoff,
}

impl Default for Limits {
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

/// A time on the monotonic clock, in nanoseconds: half of what a `Duration` takes, and there are three for each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn of(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    fn time(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// When a line's turn is, and a number that no other line has at that time.
pub(super) type Slot = (Moment, u64);

/// The lines of one lane that wait, and what is under way.
#[derive(Debug)]
pub(super) struct Waiting<K> {
    pub(super) limits: Limits,
    /// Lines whose writes wait only for others to be coalesced with.
    pub(super) patient: BTreeMap<Slot, K>,
    /// Lines that nothing but their time holds back.
    pub(super) urgent: BTreeMap<Slot, K>,
    pub(super) in_flight: usize,
    pub(super) pending: usize,
    pub(super) pending_bytes: u64,
    /// Lines whose last attempt failed, or whose upstream is down.
    pub(super) stuck: usize,
    /// What is set aside for writes that are on their way into the journal.
    pub(super) reserved_bytes: u64,
    pub(super) dead: usize,
    pub(super) dead_bytes: u64,
    /// When the next write would go out at an even pace (the generic cell rate algorithm, ITU-T I.371).
    pace: Duration,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
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

impl<K> Waiting<K> {
    /// Whether a write of that size may be taken.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let taken = self.pending_bytes.saturating_add(self.reserved_bytes);
        taken.saturating_add(bytes) <= self.limits.pending_bytes_max
    }

    /// When to look again; `None`: not before something else happens.
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

    /// The line whose turn it is, of those that are due the one that has been so for longest: so no key starves.
    pub(super) fn take_next(&mut self, hurry: bool, now: Duration) -> Option<(Slot, K)> {
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

    /// A write goes out.
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
