//! Lines that can't go on: their last attempt failed, or their upstream is down. Counted for each lane, to tell when a
//! route's writes don't reach their backend, and whether waiting for more to go out is of use.

use super::lane::Waiting;
use super::line::Line;
use super::{Lane, Queue};

impl Line {
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
    /// an upstream that is down, or waits behind such a write.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let waiting: usize = self.lanes.values().map(|lane| lane.patient.len() + lane.urgent.len()).sum();
        let asleep: usize = self.down.values().map(|sleepers| sleepers.len()).sum();
        let stuck: usize = self.lanes.values().map(|lane| lane.stuck).sum();
        // Of the lines that are not being sent, those that are stuck wait or sleep.
        self.in_flight > 0 || waiting + asleep > stuck
    }
}
