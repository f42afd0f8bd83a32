//! Lines that can't go on: their last attempt failed, or their upstream is down. Counted for each lane, to tell when a
//! route's writes don't reach their backend, and whether waiting for more to go out is of use.

use super::lane::Waiting;
use super::uri_queue::UriQueue;
use super::{Lane, Queue, Upstream};

impl UriQueue {
    /// From now on its lane counts it as stuck.
    pub(super) fn get_stuck<K>(&mut self, name: Lane, lane: &mut Waiting<K>) {
        if self.stuck.is_none() {
            self.stuck = Some(name);
            lane.stuck += 1;
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// A line goes on.
    pub(super) fn unstick(&mut self, key: &K) {
        if let Some(stuck) = self.lines.get_mut(key).and_then(|line| line.stuck.take()) {
            let lane = self.lane(stuck);
            lane.stuck = lane.stuck.saturating_sub(1);
        }
    }

    /// Whether anything is being sent, or waits for nothing but its time: if not, all that is pending has failed, is for
    /// an upstream that is down, though it may be on its way there, or waits behind such a write.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let waiting: usize = self.lanes.values().map(|lane| lane.patient.len() + lane.urgent.len()).sum();
        let asleep: usize = self.down.values().map(|sleepers| sleepers.len()).sum();
        let stuck: usize = self.lanes.values().map(|lane| lane.stuck).sum();
        let flies = |(upstream, count): (&Upstream, &usize)| *count > 0 && !self.down.contains_key(upstream);
        // Those that are stuck wait or sleep, but for those that are being sent again.
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
    use crate::write::queue::Entry;

    const FAILED: Outcome = Outcome::Retry { status: None, after: None };

    /// A queue in a hurry, with two writes.
    fn queue() -> Queue<u8> {
        let mut queue = Queue::default();
        queue.set_hurry(true);
        for seq in 1..=2 {
            let (lane, upstream, class) = (Lane(0), Upstream(0), Class::Put);
            let entry = Entry { seq, key: seq as u8, lane, upstream, class, bytes: 1, accepted: Duration::ZERO };
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
        let _none = queue.answered(1, Outcome::Done, at(1), 0);
        assert!(queue.is_busy());
        let _none = queue.answered(2, FAILED, at(1), u64::MAX);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 1));
        assert_eq!(queue.due(at(1000)).len(), 1);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (true, 1));
        let _none = queue.answered(2, Outcome::Done, at(1000), 0);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 0));
    }

    #[test]
    fn what_is_for_an_upstream_that_is_down_does_not_keep_it_busy_even_on_its_way() {
        let mut queue = queue();
        queue.set_up(Upstream(0), false);
        assert!(queue.due(at(1)).is_empty());
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 2));
        queue.set_up(Upstream(0), true);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (true, 0));
        assert_eq!(queue.due(at(10)).len(), 2);
        queue.set_up(Upstream(0), false);
        assert!(!queue.is_busy());
        let _none = queue.answered(1, FAILED, at(11), u64::MAX);
        assert_eq!((queue.is_busy(), is_stuck(&queue)), (false, 1));
        queue.set_up(Upstream(0), true);
        assert!(queue.is_busy());
    }
}
