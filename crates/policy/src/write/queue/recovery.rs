//! Rebuilds the queue after a restart from the surviving records of the journal, in order.
//!
//! Afterwards nothing is in flight, no attempt is counted, there are no tickets, and every URI queue is due at once.

use std::collections::HashSet;
use std::time::Duration;

use super::super::class::Class;
use super::uri_queue::UriQueueItem;
use super::{DeadLetter, Queue, QueueEntry, Seq};

/// A record of the journal, as far as the queue needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryEvent<K> {
    /// A write was accepted.
    Write(QueueEntry<K>),
    /// A write was carried out or superseded.
    Settled(Seq),
    /// A write became a dead letter.
    Dead {
        /// The number of the write.
        seq: Seq,
        /// Status of the last response; `None`: no response.
        status: Option<u16>,
        /// The number of attempts.
        attempts: u32,
        /// When it was given up, since the Unix epoch.
        at: Duration,
    },
    /// A dead letter was queued again, at the end of its URI queue.
    Revived(Seq),
    /// A dead letter was discarded.
    Discarded(Seq),
    /// A write was not acknowledged, and must not be sent.
    Cancelled(Seq),
}

impl<K: Ord + Clone> Queue<K> {
    /// Rebuilds the queue from these records. Records about writes that are missing are ignored.
    ///
    /// A URI queue is settled in order. So a settled write also settles all earlier ones of its key, in case their
    /// records are damaged; otherwise an old write would overwrite a newer one. A dead letter settles no other write:
    /// its records may be copied forward, behind writes that it never waited for.
    pub fn recover(events: impl IntoIterator<Item = RecoveryEvent<K>>) -> Self {
        let mut queue = Self::default();
        let mut revived = HashSet::new();
        for event in events {
            match event {
                RecoveryEvent::Write(entry) => queue.append(entry, Duration::ZERO),
                RecoveryEvent::Settled(seq) => {
                    queue.remove_dead_letter(seq);
                    queue.settle(seq);
                }
                RecoveryEvent::Dead { seq, status, attempts, at } => {
                    revived.remove(&seq);
                    if let Some(entry) = queue.withdraw(seq) {
                        queue.add_dead_letter(DeadLetter { entry, status, attempts, at });
                    }
                }
                RecoveryEvent::Revived(seq) => {
                    // Reviving is idempotent, and works even if the record of the death is damaged.
                    if revived.insert(seq)
                        && let Some(entry) =
                            queue.remove_dead_letter(seq).map(|letter| letter.entry).or_else(|| queue.withdraw(seq))
                    {
                        queue.append(entry, Duration::ZERO);
                    }
                }
                RecoveryEvent::Discarded(seq) => drop(queue.remove_dead_letter(seq)),
                RecoveryEvent::Cancelled(seq) => drop(queue.withdraw(seq)),
            }
        }
        let keys: Vec<K> = queue.pending.values().map(|write| write.entry.key.clone()).collect();
        for key in keys {
            // There are no tickets yet whose turn it could be.
            let _ = queue.place(&key, None, Duration::ZERO);
        }
        queue
    }

    /// Settles a write and all earlier ones of its URI queue.
    fn settle(&mut self, seq: Seq) {
        let Some(key) = self.pending.get(&seq).map(|write| write.entry.key.clone()) else { return };
        let before = self.uri_queues.get(&key).into_iter().flat_map(|uri_queue| uri_queue.items.iter());
        let covers = before.take_while(|item| **item != UriQueueItem::Write(seq)).count() + 1;
        for finished in self.finish(&key, covers) {
            self.remove_pending(finished);
        }
        self.forget_if_empty(&key);
    }

    /// Removes one write from its URI queue, at any position.
    fn withdraw(&mut self, seq: Seq) -> Option<QueueEntry<K>> {
        let entry = self.remove_pending(seq)?;
        let uri_queue = self.uri_queues.get_mut(&entry.key)?;
        uri_queue.remove(UriQueueItem::Write(seq));
        uri_queue.others = uri_queue.others.saturating_sub(u32::from(entry.class == Class::Other));
        self.forget_if_empty(&entry.key);
        Some(entry)
    }

    fn forget_if_empty(&mut self, key: &K) {
        if self.uri_queues.get(key).is_some_and(|uri_queue| uri_queue.items.is_empty()) {
            self.uri_queues.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, post, put};
    use super::super::{Counts, KeyState, Outcome};
    use super::*;

    fn dead(seq: Seq) -> RecoveryEvent<&'static str> {
        RecoveryEvent::Dead { seq, status: Some(422), attempts: 1, at: Duration::ZERO }
    }

    fn uri_queue(queue: &mut Queue<&'static str>) -> Vec<Seq> {
        let mut order = Vec::new();
        while let Some(send) = queue.due(at(0)).pop() {
            order.push(send.seq);
            let _ = queue.attempt_ended(send.seq, Outcome::Done, at(0), 0);
        }
        order
    }

    #[test]
    fn what_is_neither_settled_nor_dead_is_pending_in_its_order_and_due_at_once() {
        let events = [
            RecoveryEvent::Write(post(1, "a")),
            RecoveryEvent::Write(post(2, "a")),
            RecoveryEvent::Settled(1),
            RecoveryEvent::Write(post(3, "a")),
            RecoveryEvent::Write(post(4, "b")),
            dead(4),
        ];
        let mut queue = Queue::recover(events);
        assert_eq!((queue.counts().dead, queue.counts().pending_bytes), (1, 20));
        assert_eq!(uri_queue(&mut queue), [2, 3]);
        assert_eq!(queue.state(&"a"), KeyState::Clean);
    }

    #[test]
    fn a_settled_write_says_the_same_of_those_before_it() {
        let mut queue = Queue::recover([
            RecoveryEvent::Write(put(1, "a")),
            RecoveryEvent::Write(put(2, "a")),
            RecoveryEvent::Settled(2),
        ]);
        assert_eq!((queue.counts().pending, uri_queue(&mut queue).len()), (0, 0));
    }

    #[test]
    fn a_revived_letter_is_behind_what_came_after_it() {
        let events = [
            RecoveryEvent::Write(post(1, "a")),
            dead(1),
            RecoveryEvent::Write(post(2, "a")),
            RecoveryEvent::Revived(1),
        ];
        assert_eq!(uri_queue(&mut Queue::recover(events.clone())), [2, 1]);
        let settled = events.into_iter().chain([RecoveryEvent::Settled(1)]);
        assert_eq!(uri_queue(&mut Queue::recover(settled)), Vec::<u64>::new(), "its turn came behind theirs");
    }

    #[test]
    fn a_letter_whose_records_were_copied_forward_takes_nobody_along() {
        let events = [RecoveryEvent::Write(post(2, "a")), RecoveryEvent::Write(post(1, "a")), dead(1)];
        let mut queue = Queue::recover(events.clone());
        assert_eq!((queue.counts().dead, uri_queue(&mut queue)), (1, vec![2]));
        let both = [RecoveryEvent::Write(post(1, "a")), dead(1)].into_iter().chain(events);
        let mut queue = Queue::recover(both);
        assert_eq!((queue.counts().dead, uri_queue(&mut queue)), (1, vec![2]));
    }

    #[test]
    fn a_revived_letter_is_last_even_if_the_note_of_its_death_is_lost() {
        let events =
            [RecoveryEvent::Write(post(1, "a")), RecoveryEvent::Write(post(2, "a")), RecoveryEvent::Revived(1)];
        assert_eq!(uri_queue(&mut Queue::recover(events)), [2, 1]);
    }

    #[test]
    fn a_letter_that_was_revived_twice_rises_once() {
        let events = [
            RecoveryEvent::Write(post(1, "a")),
            dead(1),
            RecoveryEvent::Revived(1),
            RecoveryEvent::Write(post(2, "a")),
        ];
        assert_eq!(uri_queue(&mut Queue::recover(events.into_iter().chain([RecoveryEvent::Revived(1)]))), [1, 2]);
    }

    #[test]
    fn a_dead_letter_says_nothing_of_those_before_it() {
        let events = [RecoveryEvent::Write(post(1, "a")), RecoveryEvent::Write(post(2, "a")), dead(2)];
        assert_eq!(uri_queue(&mut Queue::recover(events)), [1]);
    }

    #[test]
    fn a_cancelled_write_is_gone_and_those_about_it_are_not() {
        let events =
            [1, 2, 3].map(|seq| RecoveryEvent::Write(post(seq, "a"))).into_iter().chain([RecoveryEvent::Cancelled(2)]);
        assert_eq!(uri_queue(&mut Queue::recover(events)), [1, 3]);
        assert_eq!(
            Queue::recover([RecoveryEvent::Write(post(1, "a")), RecoveryEvent::Cancelled(1)]).counts(),
            Counts::default()
        );
    }

    #[test]
    fn notes_about_writes_that_are_gone_are_ignored() {
        let gone = [
            RecoveryEvent::Settled(1),
            dead(2),
            RecoveryEvent::Revived(3),
            RecoveryEvent::Discarded(4),
            RecoveryEvent::Cancelled(6),
        ];
        let events = gone.into_iter().chain([RecoveryEvent::Write(put(5, "a"))]);
        assert_eq!(uri_queue(&mut Queue::recover(events)), [5]);
    }

    #[test]
    fn nothing_is_both_settled_and_dead() {
        let queue = Queue::recover([RecoveryEvent::Write(put(1, "a")), dead(1), RecoveryEvent::Settled(1), dead(1)]);
        assert_eq!(queue.counts(), Counts::default());
        let queue = Queue::recover([RecoveryEvent::Write(put(1, "a")), dead(1), RecoveryEvent::Discarded(1)]);
        assert_eq!(queue.counts(), Counts::default());
    }
}
