//! Dead letters: kept until an operator revives or discards them, or until a limit drops the oldest.

use std::time::Duration;

use super::{DeadLetter, Lane, Queue, Seq};
use crate::time::Now;

/// The most dead letters dropped in one call, because the caller holds a lock.
const DROPPED_MAX: usize = 1_000;

/// How many dead letters are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The longest time that a dead letter is kept.
    pub age_max: Duration,
    /// The most bytes of all dead letters.
    pub bytes_max: u64,
    /// The most dead letters.
    pub count_max: usize,
}

impl Retention {
    /// No limit.
    pub const ALL: Self = Self { age_max: Duration::MAX, bytes_max: u64::MAX, count_max: usize::MAX };
}

/// The limit for which a dead letter was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It was kept for the longest time.
    Age,
    /// All dead letters together exceeded the bytes, and it was the oldest.
    Bytes,
    /// There were too many, and it was the oldest.
    Count,
}

/// A dead letter that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The number of the write.
    pub seq: Seq,
    /// Its lane.
    pub lane: Lane,
    /// The limit that was exceeded.
    pub bound: Bound,
}

impl<K: Ord + Clone> Queue<K> {
    /// All dead letters, by number.
    pub fn dead(&self) -> impl Iterator<Item = &DeadLetter<K>> {
        self.dead.values()
    }

    /// The dead letter with this number.
    #[must_use]
    pub fn dead_letter(&self, seq: Seq) -> Option<&DeadLetter<K>> {
        self.dead.get(&seq)
    }

    /// Queues a dead letter again, like a new write: it goes to the end of its URI queue, so it overwrites what came
    /// after it, and its attempts start at zero. It may exceed the limits of its lane. `false`: there is no such dead
    /// letter.
    pub fn revive(&mut self, seq: Seq, now: Now) -> bool {
        let Some(entry) = self.remove_dead_letter(seq).map(|letter| letter.entry) else { return false };
        let key = entry.key.clone();
        self.append(entry, now.mono);
        // This cannot make it a ticket's turn: a URI queue with a ticket at its front is placed already.
        let _ = self.place(&key, None, now.mono);
        true
    }

    /// Discards a dead letter. `false`: there is no such dead letter.
    pub fn discard(&mut self, seq: Seq) -> bool {
        self.remove_dead_letter(seq).is_some()
    }

    /// Sets how many dead letters are kept, and for how long.
    pub fn set_retention(&mut self, keep: Retention) {
        self.keep = keep;
    }

    /// Drops the oldest dead letters that exceed a limit, at most 1,000; call again while it returns that many. Each is
    /// to be recorded in the journal as discarded.
    #[must_use]
    pub fn drop_dead_letters(&mut self, now: Now) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        while dropped.len() < DROPPED_MAX
            && let Some((at, seq)) = self.dead_by_age.first().copied()
            && let Some(bound) = self.beyond(at, now)
            && let Some(letter) = self.remove_dead_letter(seq)
        {
            dropped.push(Dropped { seq, lane: letter.entry.lane, bound });
        }
        dropped
    }

    /// The limit that the oldest dead letter, given up at `at`, exceeds.
    fn beyond(&self, at: Duration, now: Now) -> Option<Bound> {
        let Retention { age_max, bytes_max, count_max } = self.keep;
        if self.dead.len() > count_max {
            return Some(Bound::Count);
        }
        if self.dead_bytes > bytes_max {
            return Some(Bound::Bytes);
        }
        (now.wall.saturating_sub(at) > age_max).then_some(Bound::Age)
    }

    pub(super) fn add_dead_letter(&mut self, letter: DeadLetter<K>) {
        let lane = self.lane(letter.entry.lane);
        lane.dead += 1;
        lane.dead_bytes = lane.dead_bytes.saturating_add(letter.entry.bytes.into());
        self.dead_bytes = self.dead_bytes.saturating_add(letter.entry.bytes.into());
        self.dead_by_age.insert((letter.at, letter.entry.seq));
        self.dead.insert(letter.entry.seq, letter);
    }

    pub(super) fn remove_dead_letter(&mut self, seq: Seq) -> Option<DeadLetter<K>> {
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
    use super::super::RecoveryEvent;
    use super::super::tests::{at, put};
    use super::*;

    /// Letters that died so many milliseconds after the epoch, numbered from 1.
    fn letters(times: &[u64]) -> Queue<&'static str> {
        let numbered = (1..).zip(times);
        Queue::recover(numbered.flat_map(|(seq, at)| {
            let at = Duration::from_millis(*at);
            [RecoveryEvent::Write(put(seq, "a")), RecoveryEvent::Dead { seq, status: None, attempts: 1, at }]
        }))
    }

    fn dropped(queue: &mut Queue<&'static str>, now: Duration) -> Vec<(Seq, Bound)> {
        let now = Now { wall: now, ..at(0) };
        queue.drop_dead_letters(now).iter().map(|dropped| (dropped.seq, dropped.bound)).collect()
    }

    #[test]
    fn all_are_kept_unless_told_otherwise() {
        assert_eq!(dropped(&mut letters(&[1, 2, 3]), Duration::MAX), []);
    }

    #[test]
    fn those_that_died_first_are_dropped_whatever_their_number() {
        let mut queue = letters(&[30, 10, 20]);
        queue.set_retention(Retention { count_max: 1, ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), [(2, Bound::Count), (3, Bound::Count)]);
        assert_eq!(queue.counts().dead, 1);
    }

    #[test]
    fn what_all_take_is_bounded() {
        let mut queue = letters(&[10, 20, 30]);
        let all = queue.counts().dead_bytes;
        queue.set_retention(Retention { bytes_max: all, ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
        queue.set_retention(Retention { bytes_max: all - 1, ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), [(1, Bound::Bytes)]);
    }

    #[test]
    fn one_is_kept_for_so_long_and_for_ever_if_the_clock_stands_before_its_death() {
        let mut queue = letters(&[1_000, 2_000]);
        queue.set_retention(Retention { age_max: Duration::from_secs(30), ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
        assert_eq!(dropped(&mut queue, Duration::from_secs(31)), []);
        assert_eq!(dropped(&mut queue, Duration::from_millis(31_001)), [(1, Bound::Age)]);
    }

    #[test]
    fn so_many_are_dropped_at_once_and_the_rest_when_asked_again() {
        let mut queue = letters(&[5; DROPPED_MAX + 5]);
        queue.set_retention(Retention { count_max: 2, ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO).len(), DROPPED_MAX);
        assert_eq!(dropped(&mut queue, Duration::ZERO).len(), 3);
    }

    #[test]
    fn what_is_revived_or_discarded_counts_no_more() {
        let mut queue = letters(&[10, 20, 30]);
        assert!(queue.revive(1, at(0)) && queue.discard(2));
        queue.set_retention(Retention { count_max: 1, bytes_max: queue.counts().dead_bytes, ..Retention::ALL });
        assert_eq!(dropped(&mut queue, Duration::ZERO), []);
    }
}
