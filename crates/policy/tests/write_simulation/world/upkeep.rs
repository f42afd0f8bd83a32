//! What happens to the journal beside traffic: writes are cancelled, people decide on dead letters, segments are freed,
//! and the disk forgets.

use policy::write::queue::Seq;
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

    /// Segments are freed; dead letters that hold the oldest one back are carried forward before.
    pub(super) fn free(&mut self) {
        self.sync();
        let oldest = self.disk.oldest();
        let pending = self.truth.pending();
        if self.dice.bool() && !oldest.iter().any(|seq| pending.contains(seq)) {
            let dead: Vec<Seq> = oldest.into_iter().filter(|seq| self.truth.dead.contains(seq)).collect();
            dead.into_iter().for_each(|seq| self.carry_forward(seq));
        }
        let truth = &self.truth;
        if self.disk.free(|seq| pending.contains(&seq) || truth.dead.contains(&seq)) > 0 {
            self.see("freed");
        }
    }

    fn carry_forward(&mut self, seq: Seq) {
        let letter = self.queue.dead_letter(seq).unwrap().clone();
        self.see("carried forward");
        let write = self.disk.find(seq);
        self.disk.append(&write);
        let (status, attempts, at) = (letter.status, letter.attempts, letter.at);
        let payload = Payload::Dead { write: seq, status, attempts, reason: "carried".into(), at };
        let record = Record { seq: self.number(), payload };
        self.disk.append(&record);
    }

    pub(super) fn rot(&mut self) {
        if self.rots && self.disk.rot(&mut self.dice) {
            self.see("rotted");
        }
    }
}
