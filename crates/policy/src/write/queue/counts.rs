//! What operators see of the queue.

use std::time::Duration;

use super::uri_queue::Step;
use super::{Entry, Lane, Queue};

/// The whole queue in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that are neither settled nor dead; those under way and those they supersede included.
    pub pending: usize,
    /// What they take.
    pub pending_bytes: u64,
    /// What is set aside for writes that are on their way into the journal.
    pub reserved_bytes: u64,
    /// Keys with something pending, or with a turn awaited.
    pub keys: usize,
    /// Writes that are being sent.
    pub in_flight: usize,
    /// Keys that wait for their upstream to be up.
    pub asleep: usize,
    /// Writes that wait for their turn to go past the journal, or have it.
    pub tickets: usize,
    /// Dead letters.
    pub dead: usize,
    /// The length of their records.
    pub dead_bytes: u64,
    /// When the oldest pending write was accepted, since the Unix epoch.
    pub oldest: Option<Duration>,
}

/// One lane in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Writes that are neither settled nor dead.
    pub pending: usize,
    /// The length of their records.
    pub pending_bytes: u64,
    /// Writes that are being sent.
    pub in_flight: usize,
    /// Keys whose last attempt failed, or whose upstream is down.
    pub stuck: usize,
    /// Dead letters.
    pub dead: usize,
    /// The length of their records.
    pub dead_bytes: u64,
}

impl<K: Ord + Clone> Queue<K> {
    /// The queue in numbers, at the cost of a look at each lane.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            pending: self.pending.len(),
            pending_bytes: self.lanes.values().map(|lane| lane.pending_bytes).sum(),
            reserved_bytes: self.lanes.values().map(|lane| lane.reserved_bytes).sum(),
            keys: self.lines.len(),
            in_flight: self.in_flight.values().sum(),
            asleep: self.down.values().map(|sleepers| sleepers.len()).sum(),
            tickets: self.tickets.len(),
            dead: self.dead.len(),
            dead_bytes: self.dead_bytes,
            oldest: self.pending.values().next().map(|write| write.entry.accepted),
        }
    }

    /// One lane in numbers.
    #[must_use]
    pub fn lane_counts(&self, lane: Lane) -> LaneCounts {
        let Some(lane) = self.lanes.get(&lane) else { return LaneCounts::default() };
        LaneCounts {
            pending: lane.pending,
            pending_bytes: lane.pending_bytes,
            in_flight: lane.in_flight,
            stuck: lane.stuck,
            dead: lane.dead,
            dead_bytes: lane.dead_bytes,
        }
    }

    /// All pending writes by number, each with how often it was sent.
    pub fn pending(&self) -> impl Iterator<Item = (&Entry<K>, u32)> {
        self.pending.values().map(|write| (&write.entry, write.attempts))
    }

    /// Whether a write of that key is being sent.
    #[must_use]
    pub fn is_in_flight(&self, key: &K) -> bool {
        match self.lines.get(key).map(|line| line.place) {
            Some(Step::InFlight { .. }) => true,
            Some(Step::Unplaced | Step::Patient(..) | Step::Urgent(..) | Step::Asleep(..) | Step::Held) | None => false,
        }
    }
}
