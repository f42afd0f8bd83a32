//! What happens to the journal beside traffic: writes are cancelled, people decide on dead letters, these are dropped,
//! segments are freed, and the disk forgets.

use policy::write::queue::{DeadLetter, Retention, Seq};
use policy::write::record::{Payload, Record};

use super::World;
use crate::disk::Staged;

impl World {
    /// A client waits no longer for a write that is being written: the note of that is written behind it.
    pub(super) fn abandon_any(&mut self) {
        let waiting = self.staged.iter().enumerate().filter(|(_, staged)| matches!(staged, Staged::Write(_)));
        let Some(place) = self.dice.choice(waiting.map(|(place, _)| place).collect::<Vec<_>>()) else { return };
        let Staged::Write(seq) = self.staged[place] else { return };
        self.staged[place] = Staged::Abandoned(seq);
        let record = Record { seq: self.number(), payload: Payload::Cancelled { write: seq } };
        self.disk.append(&record);
    }

    pub(super) fn stage_for_a_dead_letter(&mut self) {
        let Some(seq) = self.dice.choice(self.truth.dead.iter().copied().collect::<Vec<_>>()) else { return };
        let (staged, payload) = match self.dice.bool() {
            true => (Staged::Discard(seq), Payload::Discarded { write: seq }),
            false => (Staged::Revive(seq), Payload::Revived { write: seq }),
        };
        let record = Record { seq: self.number(), payload };
        self.disk.append(&record);
        self.staged.push(staged);
    }

    /// Segments are freed, and made small so that others can be: the notes of what is settled need not be on the disk by
    /// then, and power may be cut between any two steps.
    pub(super) fn free(&mut self) {
        self.sync();
        (0..self.dice.u8(..3)).for_each(|_| self.answer_any());
        if !self.remove_unneeded() {
            return;
        }
        let to_thin = self.disk.worth_compacting();
        let (is_any, mut is_blocked) = (!to_thin.is_empty(), false);
        for segment in to_thin {
            if self.dice.u8(..8) == 0 {
                return self.crash();
            }
            match self.live_in(segment) {
                Some(live) if !live.is_empty() => {
                    self.disk.thin(segment, live);
                    self.see("made small");
                }
                Some(_) => {}
                None => {
                    is_blocked = true;
                    self.see("not made small");
                }
            }
            if !self.remove_unneeded() {
                return;
            }
        }
        if !is_any {
            return;
        }
        self.disk.compaction_done();
        let notes_max = 60 * self.truth.dead.len() as u64;
        assert!(is_blocked || self.disk.spare_bytes() <= notes_max, "{} are kept", self.disk.spare_bytes());
    }

    /// Whether power was not cut meanwhile.
    fn remove_unneeded(&mut self) -> bool {
        for segment in self.disk.remove_unneeded() {
            if self.dice.u8(..8) == 0 {
                self.crash();
                return false;
            }
            self.disk.remove(segment);
            self.see("freed");
        }
        true
    }

    /// What a segment is to hold when it is made small. `None`: it can't be, since a letter in it was revived, or an
    /// earlier one needs the notes in it.
    fn live_in(&self, segment: u64) -> Option<Vec<(Seq, Option<Payload>)>> {
        if !self.disk.may_compact(segment) {
            return None;
        }
        let death = |seq: Seq| {
            let DeadLetter { status, attempts, at, .. } = self.queue.dead_letter(seq)?.clone();
            Some(Payload::Dead { write: seq, status, attempts, reason: Box::default(), at })
        };
        let live: Vec<_> = self.disk.held_in(segment).into_iter().map(|seq| (seq, death(seq))).collect();
        let is_revived = |(seq, death): &(Seq, Option<Payload>)| death.is_none() && self.truth.revived.contains(seq);
        (!live.iter().any(is_revived)).then_some(live)
    }

    /// The oldest dead letters give way.
    pub(super) fn drop_dead_letters(&mut self) {
        self.sync();
        self.queue.set_retention(Retention { count_max: self.dice.usize(1..4), ..Retention::ALL });
        for dropped in self.queue.drop_dead_letters(self.now()) {
            let record = Record { seq: self.number(), payload: Payload::Discarded { write: dropped.seq } };
            self.disk.append(&record);
            self.disk.remove_live(dropped.seq);
            assert!(self.truth.dead.remove(&dropped.seq), "{dropped:?} is no dead letter");
            self.truth.ended.insert(dropped.seq);
            self.see("dropped");
        }
        self.queue.set_retention(Retention::ALL);
    }

    pub(super) fn rot(&mut self) {
        if self.rots && self.disk.rot(&mut self.dice) {
            self.see("rotted");
        }
    }
}
