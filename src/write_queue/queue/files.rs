//! The journal's files as their thread asks of them: which are needed, and what of them.

use policy::write::record::Payload;
use policy::write::segment_table::Position;

use super::WriteQueue;
use crate::write_queue::held::Live;

impl WriteQueue {
    /// A segment has been begun.
    pub(in crate::write_queue) fn begun(&self, segment: u64) {
        self.state.lock().shelf.add(segment, false);
    }

    /// The segments before `present` that nobody needs any more; with each, whether it is damaged.
    pub(in crate::write_queue) fn unneeded(&self, present: u64, is_begun: bool) -> Vec<(u64, bool)> {
        self.state.lock().shelf.unneeded(present, is_begun)
    }

    /// The segments before `present` that are to be made small, where `bytes` are in all of them.
    pub(in crate::write_queue) fn worth_thinning(&self, present: u64, bytes: u64) -> Vec<(u64, bool)> {
        self.state.lock().shelf.worth_thinning(present, bytes)
    }

    /// All that could be made small is so, and `bytes` are in all before `present`.
    pub(in crate::write_queue) fn thinning_done(&self, present: u64, bytes: u64) {
        self.state.lock().shelf.thinning_done(present, bytes);
    }

    /// A segment could not be removed: it is kept, and so are those behind it, with these that were to go.
    pub(in crate::write_queue) fn keep(&self, segment: (u64, bool), behind: &[(u64, bool)]) {
        let mut state = self.state.lock();
        state.shelf.keep(segment.0, segment.1);
        behind.iter().for_each(|(segment, is_damaged)| state.shelf.add(*segment, *is_damaged));
    }

    /// What a segment is to hold, by number, when it is made small; with each write, how it died if it did. `None`: it
    /// can't be, since a write in it was sent to the end of its line, or an earlier segment needs the notes in it.
    pub(in crate::write_queue) fn live_in(&self, segment: u64) -> Option<Vec<Live>> {
        let state = self.state.lock();
        if !state.shelf.may_thin(segment) {
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

    /// A segment was made small when notes went into `present`; these are its writes, and where they are now.
    pub(in crate::write_queue) fn thinned(&self, segment: u64, present: u64, places: &[(u64, Position)]) {
        let mut state = self.state.lock();
        state.shelf.thinned(segment, present);
        for (seq, place) in places {
            if let Some(held) = state.writes.get_mut(seq) {
                held.place = *place;
            }
        }
    }
}
