//! The queue after a restart: what the journal's surviving records, in their order, say of it.
//!
//! It is what it was, but that nothing is in flight, no attempt is counted, nobody waits for a turn, and all is due at
//! once, since it has waited long enough.

use std::hash::Hash;
use std::time::Duration;

use super::line::Item;
use super::{Class, DeadLetter, Entry, Queue, Seq};

/// What one record of the journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<K> {
    /// A write was accepted.
    Write(Entry<K>),
    /// A write was done with.
    Settled(Seq),
    /// A write became a dead letter.
    Dead {
        /// Which write.
        seq: Seq,
        /// The last answer's status, if there was an answer.
        status: Option<u16>,
        /// How often it was sent.
        attempts: u32,
        /// When it was given up, since the Unix epoch.
        at: Duration,
    },
    /// A dead letter was sent to the end of its line.
    Revived(Seq),
    /// A dead letter was forgotten.
    Discarded(Seq),
}

impl<K: Hash + Eq + Clone> Queue<K> {
    /// The queue that these records tell of; what they say of writes that they don't hold is ignored.
    ///
    /// A line is done with in its order: so a write that was settled or buried says the same of older ones before it,
    /// should the records that said so be lost.
    pub fn recover(events: impl IntoIterator<Item = Event<K>>) -> Self {
        let mut queue = Self::default();
        for event in events {
            match event {
                Event::Write(entry) => queue.append(entry, Duration::ZERO),
                Event::Settled(seq) => {
                    queue.unbury(seq);
                    queue.done_with(seq);
                }
                Event::Dead { seq, status, attempts, at } => {
                    if let Some(entry) = queue.done_with(seq) {
                        queue.bury(DeadLetter { entry, status, attempts, at });
                    }
                }
                Event::Revived(seq) => {
                    if let Some(letter) = queue.unbury(seq) {
                        queue.append(letter.entry, Duration::ZERO);
                    }
                }
                Event::Discarded(seq) => drop(queue.unbury(seq)),
            }
        }
        let keys: Vec<K> = queue.pending.values().map(|write| write.entry.key.clone()).collect();
        for key in keys {
            // There are no tickets yet whose turn it could be.
            let _ = queue.place(&key, None, Duration::ZERO);
        }
        queue
    }

    /// One write leaves its line, and with it the older ones before it. Younger ones stand before it only if it was
    /// revived, or its record was copied forward: they stay.
    fn done_with(&mut self, seq: Seq) -> Option<Entry<K>> {
        let key = self.pending.get(&seq)?.entry.key.clone();
        let mut stay = Vec::new();
        let line = self.lines.get_mut(&key)?;
        let mut leave = Vec::new();
        while let Some(item) = line.items.pop_front() {
            match item {
                Item::Write(other) if other <= seq => leave.push(other),
                Item::Write(_) | Item::Ticket(_) => stay.push(item),
            }
            if item == Item::Write(seq) {
                break;
            }
        }
        stay.into_iter().rev().for_each(|item| line.items.push_front(item));
        let is_empty = line.items.is_empty();
        let mut last = None;
        for seq in leave {
            last = self.take(seq);
            if let Some(Class::Other) = last.as_ref().map(|entry| entry.class)
                && let Some(line) = self.lines.get_mut(&key)
            {
                line.others = line.others.saturating_sub(1);
            }
        }
        if is_empty {
            self.lines.remove(&key);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, post, put};
    use super::super::{Counts, KeyState, Outcome};
    use super::*;

    fn dead(seq: Seq) -> Event<&'static str> {
        Event::Dead { seq, status: Some(422), attempts: 1, at: Duration::ZERO }
    }

    fn line(queue: &mut Queue<&'static str>) -> Vec<Seq> {
        let mut order = Vec::new();
        while let Some(send) = queue.due(at(0)).pop() {
            order.push(send.seq);
            let _ = queue.answered(send.seq, Outcome::Done, at(0), 0);
        }
        order
    }

    #[test]
    fn what_is_neither_settled_nor_dead_is_pending_in_its_order_and_due_at_once() {
        let events = [
            Event::Write(post(1, "a")),
            Event::Write(post(2, "a")),
            Event::Settled(1),
            Event::Write(post(3, "a")),
            Event::Write(post(4, "b")),
            dead(4),
        ];
        let mut queue = Queue::recover(events);
        assert_eq!((queue.counts().dead, queue.counts().pending_bytes), (1, 20));
        assert_eq!(line(&mut queue), [2, 3]);
        assert_eq!(queue.state(&"a"), KeyState::Clean);
    }

    #[test]
    fn a_settled_write_says_the_same_of_older_ones_before_it() {
        let mut queue = Queue::recover([Event::Write(put(1, "a")), Event::Write(put(2, "a")), Event::Settled(2)]);
        assert_eq!((queue.counts().pending, line(&mut queue).len()), (0, 0));
    }

    #[test]
    fn a_revived_letter_is_behind_what_came_after_it() {
        let events = [Event::Write(post(1, "a")), dead(1), Event::Write(post(2, "a")), Event::Revived(1)];
        assert_eq!(line(&mut Queue::recover(events.clone())), [2, 1]);
        let settled = events.into_iter().chain([Event::Settled(1)]);
        assert_eq!(line(&mut Queue::recover(settled)), [2], "it says nothing of younger ones");
    }

    #[test]
    fn a_letter_whose_records_were_copied_forward_takes_nobody_along() {
        let events = [Event::Write(post(2, "a")), Event::Write(post(1, "a")), dead(1)];
        let mut queue = Queue::recover(events.clone());
        assert_eq!((queue.counts().dead, line(&mut queue)), (1, vec![2]));
        let both = [Event::Write(post(1, "a")), dead(1)].into_iter().chain(events);
        let mut queue = Queue::recover(both);
        assert_eq!((queue.counts().dead, line(&mut queue)), (1, vec![2]));
    }

    #[test]
    fn notes_about_writes_that_are_gone_are_ignored() {
        let events = [Event::Settled(1), dead(2), Event::Revived(3), Event::Discarded(4), Event::Write(put(5, "a"))];
        assert_eq!(line(&mut Queue::recover(events)), [5]);
    }

    #[test]
    fn nothing_is_both_settled_and_dead() {
        let queue = Queue::recover([Event::Write(put(1, "a")), dead(1), Event::Settled(1), dead(1)]);
        assert_eq!(queue.counts(), Counts::default());
        let queue = Queue::recover([Event::Write(put(1, "a")), dead(1), Event::Discarded(1)]);
        assert_eq!(queue.counts(), Counts::default());
    }
}
