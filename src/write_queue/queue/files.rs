//! The segment table, as the journal's thread uses it.

use policy::write::record::Payload;
use policy::write::segment_table::Position;

use super::WriteQueue;
use crate::write_queue::held::Live;

impl WriteQueue {
    /// Records that a segment has been begun.
    pub(in crate::write_queue) fn begun(&self, segment: u64) {
        self.state.lock().segment_table.add(segment, false);
    }

    /// Removes from the table the segments before `present` that are no longer needed; each with whether it is damaged.
    pub(in crate::write_queue) fn remove_unneeded(&self, present: u64, is_begun: bool) -> Vec<(u64, bool)> {
        self.state.lock().segment_table.remove_unneeded(present, is_begun)
    }

    /// The segments before `present` to compact, whose total length is `bytes`.
    pub(in crate::write_queue) fn worth_compacting(&self, present: u64, bytes: u64) -> Vec<(u64, bool)> {
        self.state.lock().segment_table.worth_compacting(present, bytes)
    }

    /// Records that compaction has ended, with `bytes` left before `present`.
    pub(in crate::write_queue) fn compaction_done(&self, present: u64, bytes: u64) {
        self.state.lock().segment_table.compaction_done(present, bytes);
    }

    /// Records that a segment could not be removed. The segments `behind` it, which were to be removed, are kept, too.
    pub(in crate::write_queue) fn keep(&self, segment: (u64, bool), behind: &[(u64, bool)]) {
        let mut state = self.state.lock();
        state.segment_table.keep(segment.0, segment.1);
        behind.iter().for_each(|(segment, is_damaged)| state.segment_table.add(*segment, *is_damaged));
    }

    /// The writes that a compacted segment keeps, by number, each with the record of its death if it is a dead letter.
    /// `None`: the segment cannot be compacted, because a write in it was revived, or an earlier segment needs its
    /// records.
    pub(in crate::write_queue) fn live_in(&self, segment: u64) -> Option<Vec<Live>> {
        let state = self.state.lock();
        if !state.segment_table.may_compact(segment) {
            return None;
        }
        let of_it = state.writes.iter().filter(|(_, held)| held.place.segment == segment);
        let mut live = Vec::new();
        for (seq, held) in of_it {
            let death = state.queue.dead_letter(*seq).map(|letter| Payload::Dead {
                write: *seq,
                status: letter.status,
                attempts: letter.attempts,
                reason: Box::default(),
                at: letter.at,
            });
            if death.is_none() && state.revived.contains(seq) {
                return None;
            }
            live.push(Live { seq: *seq, write: held.write.clone(), place: held.place, death });
        }
        drop(state);
        live.sort_unstable_by_key(|live| live.seq);
        Some(live)
    }

    /// Records a compaction that happened while records were appended to `present`, and the new positions of the
    /// writes.
    pub(in crate::write_queue) fn compacted(&self, segment: u64, present: u64, places: &[(u64, Position)]) {
        let mut state = self.state.lock();
        state.segment_table.compacted(segment, present);
        for (seq, place) in places {
            if let Some(held) = state.writes.get_mut(seq) {
                held.place = *place;
            }
        }
    }
}
