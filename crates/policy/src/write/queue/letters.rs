//! Writes that were given up, until a person revives or discards them, or the oldest give way.

use std::time::Duration;

use super::{DeadLetter, Lane, Queue, Seq};
use crate::time::Now;

/// The most that is dropped at once: all are under one lock.
const DROPPED_MAX: usize = 1_000;

/// For how long dead letters are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The longest that one is kept.
    pub age_max: Duration,
    /// The most that all may have taken while they were pending, in bytes.
    pub bytes_max: u64,
    /// The most at once.
    pub count_max: usize,
}

impl Keep {
    /// All, for ever.
    pub const ALL: Self = Self { age_max: Duration::MAX, bytes_max: u64::MAX, count_max: usize::MAX };
}

/// Which bound a dead letter was dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It was kept for as long as is allowed.
    Age,
    /// All took more than is allowed, and it was the oldest.
    Bytes,
    /// There were more than is allowed, and it was the oldest.
    Count,
}

/// A dead letter that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Which write it was.
    pub seq: Seq,
    /// The lane that it came by.
    pub lane: Lane,
    /// Why.
    pub bound: Bound,
}

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

    /// A dead letter is invalidated. `false`: it is no dead letter.
    pub fn discard(&mut self, seq: Seq) -> bool {
        self.unbury(seq).is_some()
    }

    /// For how long dead letters are kept from now on, and how many.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Forgets the oldest dead letters if there are more than are kept; a thousand at most, so ask again while that many
    /// come. Each is a record for the journal, as if a person had discarded it.
    #[must_use]
    pub fn drop_letters(&mut self, now: Now) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        while dropped.len() < DROPPED_MAX
            && let Some((at, seq)) = self.dead_by_age.first().copied()
            && let Some(bound) = self.beyond(at, now)
            && let Some(letter) = self.unbury(seq)
        {
            dropped.push(Dropped { seq, lane: letter.entry.lane, bound });
        }
        dropped
    }

    /// Which bound the oldest letter, which died then, is beyond.
    fn beyond(&self, at: Duration, now: Now) -> Option<Bound> {
        let Keep { age_max, bytes_max, count_max } = self.keep;
        if self.dead.len() > count_max {
            return Some(Bound::Count);
        }
        if self.dead_bytes > bytes_max {
            return Some(Bound::Bytes);
        }
        (now.wall.saturating_sub(at) > age_max).then_some(Bound::Age)
    }

    pub(super) fn bury(&mut self, letter: DeadLetter<K>) {
        let lane = self.lane(letter.entry.lane);
        lane.dead += 1;
        lane.dead_bytes = lane.dead_bytes.saturating_add(letter.entry.bytes.into());
        self.dead_bytes = self.dead_bytes.saturating_add(letter.entry.bytes.into());
        self.dead_by_age.insert((letter.at, letter.entry.seq));
        self.dead.insert(letter.entry.seq, letter);
    }

    pub(super) fn unbury(&mut self, seq: Seq) -> Option<DeadLetter<K>> {
        let letter = self.dead.remove(&seq)?;
        self.dead_by_age.remove(&(letter.at, seq));
        self.dead_bytes = self.dead_bytes.saturating_sub(letter.entry.bytes.into());
        let lane = self.lane(letter.entry.lane);
        lane.dead = lane.dead.saturating_sub(1);
        lane.dead_bytes = lane.dead_bytes.saturating_sub(letter.entry.bytes.into());
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::super::tests::{at, put};
    use super::*;

    /// Letters that died so many milliseconds after the epoch, numbered from 1.
    fn letters(times: &[u64]) -> Queue<&'static str> {
        let numbered = (1..).zip(times);
        Queue::recover(numbered.flat_map(|(seq, at)| {
            let at = Duration::from_millis(*at);
            [Event::Write(put(seq, "a")), Event::Dead { seq, status: None, attempts: 1, at }]
        }))
    }

    fn dropped(queue: &mut Queue<&'static str>, now: Duration) -> Vec<(Seq, Bound)> {
        let now = Now { wall: now, ..at(0) };
        queue.drop_letters(now).iter().map(|dropped| (dropped.seq, dropped.bound)).collect()
    }

    #[test]
    fn all_are_kept_unless_told_otherwise() {
        assert_eq!(dropped(&mut letters(&[1, 2, 3]), Duration::MAX), []);
    }

    #[test]
    fn those_that_died_first_are_dropped_whatever_their_number() {
        let mut queue = letters(&[30, 10, 20]);
        queue.set_keep(Keep { count_max: 1, ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), [(2, Bound::Count), (3, Bound::Count)]);
        assert_eq!(queue.counts().dead, 1);
    }

    #[test]
    fn what_all_take_is_bounded() {
        let mut queue = letters(&[10, 20, 30]);
        let all = queue.counts().dead_bytes;
        queue.set_keep(Keep { bytes_max: all, ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
        queue.set_keep(Keep { bytes_max: all - 1, ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), [(1, Bound::Bytes)]);
    }

    #[test]
    fn one_is_kept_for_so_long_and_for_ever_if_the_clock_stands_before_its_death() {
        let mut queue = letters(&[1_000, 2_000]);
        queue.set_keep(Keep { age_max: Duration::from_secs(30), ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
        assert_eq!(dropped(&mut queue, Duration::from_secs(31)), []);
        assert_eq!(dropped(&mut queue, Duration::from_millis(31_001)), [(1, Bound::Age)]);
    }

    #[test]
    fn so_many_are_dropped_at_once_and_the_rest_when_asked_again() {
        let mut queue = letters(&[5; DROPPED_MAX + 5]);
        queue.set_keep(Keep { count_max: 2, ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO).len(), DROPPED_MAX);
        assert_eq!(dropped(&mut queue, Duration::ZERO).len(), 3);
    }

    #[test]
    fn what_is_revived_or_discarded_counts_no_more() {
        let mut queue = letters(&[10, 20, 30]);
        assert!(queue.revive(1, at(0)) && queue.discard(2));
        queue.set_keep(Keep { count_max: 1, bytes_max: queue.counts().dead_bytes, ..Keep::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
    }
}
