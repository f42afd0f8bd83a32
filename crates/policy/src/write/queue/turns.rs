//! Tickets: requests that bypass the journal, but wait for the pending writes of their key.

use super::uri_queue::{UriQueue, UriQueueItem, UriQueueState};
use super::{Effect, Queue, Ticket};
use crate::time::Now;

impl<K: Ord + Clone> Queue<K> {
    /// Adds a ticket behind all pending writes of its key. `true`: it is its turn already; otherwise an
    /// [`Effect::Turn`] announces it; the requirement of `Turn` applies in both cases. From its turn until
    /// [`finished`](Self::finished) nothing else of the key is sent. The writes before it wait only for back-offs and
    /// for the upstream.
    ///
    /// Known tickets are ignored.
    pub fn wait_turn(&mut self, key: &K, ticket: Ticket, now: Now) -> bool {
        if self.tickets.contains_key(&ticket) {
            return self.turn(ticket);
        }
        self.tickets.insert(ticket, key.clone());
        let uri_queue = self.uri_queues.entry(key.clone()).or_insert_with(UriQueue::new);
        uri_queue.items.push_back(UriQueueItem::Ticket(ticket));
        uri_queue.tickets += 1;
        if let UriQueueState::Patient(lane, slot) = uri_queue.place {
            uri_queue.place = UriQueueState::Unplaced;
            self.lane(lane).patient.remove(&slot);
        }
        self.place(key, None, now.mono).is_some()
    }

    /// Whether it is this ticket's turn.
    #[must_use]
    pub fn turn(&self, ticket: Ticket) -> bool {
        let uri_queue = self.tickets.get(&ticket).and_then(|key| self.uri_queues.get(key));
        uri_queue.is_some_and(|uri_queue| {
            uri_queue.place == UriQueueState::Held && uri_queue.items.front() == Some(&UriQueueItem::Ticket(ticket))
        })
    }

    /// Removes a ticket that had its turn, whatever the outcome. The effect announces the next ticket, if it is its
    /// turn.
    pub fn finished(&mut self, ticket: Ticket, now: Now) -> Option<Effect> {
        self.leave(ticket, now)
    }

    /// Removes a ticket that is given up, at any position: its client has left, or does not wait any longer. Unknown
    /// tickets are ignored.
    pub fn leave(&mut self, ticket: Ticket, now: Now) -> Option<Effect> {
        let held = self.turn(ticket);
        let key = self.tickets.remove(&ticket)?;
        let uri_queue = self.uri_queues.get_mut(&key)?;
        uri_queue.remove(UriQueueItem::Ticket(ticket));
        uri_queue.tickets = uri_queue.tickets.saturating_sub(1);
        if held {
            uri_queue.place = UriQueueState::Unplaced;
        }
        self.place(&key, None, now.mono)
    }
}
