//! Statistics of the queue for operators.

use std::time::Duration;

use super::uri_queue::UriQueueState;
use super::{Lane, Queue, QueueEntry};

/// Statistics of the whole queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that are neither settled nor dead, including those in flight and those that they supersede.
    pub pending: usize,
    /// The bytes of these writes.
    pub pending_bytes: u64,
    /// The bytes reserved for writes that are being written to the journal.
    pub reserved_bytes: u64,
    /// Keys with a pending write or a ticket.
    pub keys: usize,
    /// Writes in flight.
    pub in_flight: usize,
    /// Keys that wait for their upstream to be up.
    pub asleep: usize,
    /// Tickets that wait for their turn or have it.
    pub tickets: usize,
    /// Dead letters.
    pub dead: usize,
    /// The bytes of their records.
    pub dead_bytes: u64,
    /// When the oldest pending write was accepted, since the Unix epoch.
    pub oldest: Option<Duration>,
}

/// Statistics of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Writes that are neither settled nor dead.
    pub pending: usize,
    /// The bytes of their records.
    pub pending_bytes: u64,
    /// Writes in flight.
    pub in_flight: usize,
    /// Keys whose last attempt failed, or whose upstream is down.
    pub stuck: usize,
    /// Dead letters.
    pub dead: usize,
    /// The bytes of their records.
    pub dead_bytes: u64,
}

impl<K: Ord + Clone> Queue<K> {
    /// The statistics of the queue. Visits each lane once.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            pending: self.pending.len(),
            pending_bytes: self.lanes.values().map(|lane| lane.pending_bytes).sum(),
            reserved_bytes: self.lanes.values().map(|lane| lane.reserved_bytes).sum(),
            keys: self.uri_queues.len(),
            in_flight: self.in_flight.values().sum(),
            asleep: self.down.values().map(|sleepers| sleepers.len()).sum(),
            tickets: self.tickets.len(),
            dead: self.dead.len(),
            dead_bytes: self.dead_bytes,
            oldest: self.pending.values().next().map(|write| write.entry.accepted),
        }
    }

    /// The statistics of one lane.
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

    /// All pending writes by number, each with its number of attempts.
    pub fn pending(&self) -> impl Iterator<Item = (&QueueEntry<K>, u32)> {
        self.pending.values().map(|write| (&write.entry, write.attempts))
    }

    /// Whether a write of this key is in flight.
    #[must_use]
    pub fn is_in_flight(&self, key: &K) -> bool {
        match self.uri_queues.get(key).map(|uri_queue| uri_queue.place) {
            Some(UriQueueState::InFlight { .. }) => true,
            Some(
                UriQueueState::Unplaced
                | UriQueueState::Patient(..)
                | UriQueueState::Urgent(..)
                | UriQueueState::Asleep(..)
                | UriQueueState::Held,
            )
            | None => false,
        }
    }
}
