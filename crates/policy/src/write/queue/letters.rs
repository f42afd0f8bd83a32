//! Writes that were given up, until a person revives or discards them.

use super::{DeadLetter, Queue, Seq};
use crate::time::Now;

impl<K: Ord + Clone> Queue<K> {
    /// All dead letters, by number.
    pub fn dead(&self) -> impl Iterator<Item = &DeadLetter<K>> {
        self.dead.values()
    }

    /// One dead letter.
    #[must_use]
    pub fn dead_letter(&self, seq: Seq) -> Option<&DeadLetter<K>> {
        self.dead.get(&seq)
    }

    /// A dead letter is to be sent again, as if it were written now: it goes to the end of its key's line, so it
    /// overwrites what came after it, and its attempts are counted anew. It may take its lane beyond its bounds.
    /// `false`: it is no dead letter.
    pub fn revive(&mut self, seq: Seq, now: Now) -> bool {
        let Some(entry) = self.unbury(seq).map(|letter| letter.entry) else { return false };
        let key = entry.key.clone();
        self.append(entry, now.mono);
        // Nobody's turn can come by this: a line with a ticket in front is placed already.
        let _ = self.place(&key, None, now.mono);
        true
    }

    /// A dead letter is forgotten. `false`: it is no dead letter.
    pub fn discard(&mut self, seq: Seq) -> bool {
        self.unbury(seq).is_some()
    }

    pub(super) fn bury(&mut self, letter: DeadLetter<K>) {
        let lane = self.lane(letter.entry.lane);
        lane.dead += 1;
        lane.dead_bytes = lane.dead_bytes.saturating_add(letter.entry.bytes.into());
        self.dead.insert(letter.entry.seq, letter);
    }

    pub(super) fn unbury(&mut self, seq: Seq) -> Option<DeadLetter<K>> {
        let letter = self.dead.remove(&seq)?;
        let lane = self.lane(letter.entry.lane);
        lane.dead = lane.dead.saturating_sub(1);
        lane.dead_bytes = lane.dead_bytes.saturating_sub(letter.entry.bytes.into());
        Some(letter)
    }
}
