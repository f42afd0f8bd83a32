//! Counts the stuck URI queues of each lane: those whose last attempt failed, or whose upstream is down. The count
//! shows whether a route's writes fail to reach their backend, and whether waiting for further progress is of use.

use super::lane::WaitingQueues;
use super::uri_queue::UriQueue;
use super::{Lane, Queue, UpstreamId};

impl UriQueue {
    /// Counts this URI queue as stuck in its lane.
    pub(super) fn mark_stuck<K>(&mut self, name: Lane, lane: &mut WaitingQueues<K>) {
        if self.stuck.is_none() {
            self.stuck = Some(name);
            lane.stuck += 1;
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Stops counting a URI queue as stuck.
    pub(super) fn clear_stuck(&mut self, key: &K) {
        if let Some(stuck) = self.uri_queues.get_mut(key).and_then(|uri_queue| uri_queue.stuck.take()) {
            let lane = self.lane(stuck);
            lane.stuck = lane.stuck.saturating_sub(1);
        }
    }

    /// Whether progress can be expected: a write is in flight to an upstream that is up, or a URI queue waits only for
    /// its time. If not, all pending writes have failed, are for an upstream that is down, or wait behind such a write.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let waiting: usize = self.lanes.values().map(|lane| lane.patient.len() + lane.urgent.len()).sum();
        let asleep: usize = self.down.values().map(|sleepers| sleepers.len()).sum();
        let stuck: usize = self.lanes.values().map(|lane| lane.stuck).sum();
        let flies = |(upstream, count): (&UpstreamId, &usize)| *count > 0 && !self.down.contains_key(upstream);
        // Stuck URI queues are among those that wait or sleep, except for those in flight again.
        self.in_flight.iter().any(flies) || waiting + asleep + self.retrying > stuck
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Now;
    use crate::write::class::Class;
    use crate::write::outcome::Outcome;
    use crate::write::queue::QueueEntry;

    const FAILED: Outcome = Outcome::Retry { status: None, after: None };

    /// A queue in a hurry, with two writes.
    fn queue() -> Queue<u8> {
        let mut queue = Queue::default();
        queue.set_hurry(true);
        for seq in 1..=2 {
            let (lane, upstream, class) = (Lane(0), UpstreamId(0), Class::Put);
            let entry = QueueEntry { seq, key: seq as u8, lane, upstream, class, bytes: 1, accepted: Duration::ZERO };
            queue.accept(entry, at(0));
        }
        queue
    }

    fn at(seconds: u64) -> Now {
        Now::at(Duration::from_secs(seconds))
    }

    fn is_stuck(queue: &Queue<u8>) -> usize {
        queue.lane_counts(Lane(0)).stuck
    }

    #[test]
    fn what_waits_or_is_being_sent_keeps_it_busy_and_what_has_failed_does_not() {
        let mut queue = queue();
        assert!(queue.is_busy());
        assert_eq!(queue.due(at(1)).len(), 2);
        assert!(queue.is_busy());
        let _none = queue.attempt_ended(1, Outcome::Done, at(1), 0);
        assert!(queue.is_busy());
        let _none = queue.attempt_ended(2, FAILED, at(1), u64::MAX);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 1));
        assert_eq!(queue.due(at(1000)).len(), 1);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (true, 1));
        let _none = queue.attempt_ended(2, Outcome::Done, at(1000), 0);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 0));
    }

    #[test]
    fn what_is_for_an_upstream_that_is_down_does_not_keep_it_busy_even_on_its_way() {
        let mut queue = queue();
        queue.set_up(UpstreamId(0), false);
        assert!(queue.due(at(1)).is_empty());
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 2));
        queue.set_up(UpstreamId(0), true);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (true, 0));
        assert_eq!(queue.due(at(10)).len(), 2);
        queue.set_up(UpstreamId(0), false);
        assert!(!queue.is_busy());
        let _none = queue.attempt_ended(1, FAILED, at(11), u64::MAX);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 1));
        queue.set_up(UpstreamId(0), true);
        assert!(queue.is_busy());
    }
}
