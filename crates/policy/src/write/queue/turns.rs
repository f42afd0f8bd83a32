//! Writes that go through at once, but in order: they wait for their turn behind what is pending for their key.

use super::uri_queue::{Item, Step, UriQueue};
use super::{Effect, Queue, Ticket};
use crate::time::Now;

impl<K: Ord + Clone> Queue<K> {
    /// A write wants to go past the journal, behind all that is pending for its key now. `true`: it is its turn already,
    /// else an [`Effect::Turn`] will name it; what that demands holds for both. From then until
    /// [`finished`](Self::finished) it holds the line: nothing of its key is sent. What is before it waits for nothing
    /// but retries and the upstream.
    ///
    /// A ticket that waits already is ignored.
    pub fn wait_turn(&mut self, key: &K, ticket: Ticket, now: Now) -> bool {
        if self.tickets.contains_key(&ticket) {
            return self.turn(ticket);
        }
        self.tickets.insert(ticket, key.clone());
        let line = self.lines.entry(key.clone()).or_insert_with(UriQueue::new);
        line.items.push_back(Item::Ticket(ticket));
        line.tickets += 1;
        if let Step::Patient(lane, slot) = line.place {
            line.place = Step::Unplaced;
            self.lane(lane).patient.remove(&slot);
        }
        self.place(key, None, now.mono).is_some()
    }

    /// Whether this ticket holds its line.
    #[must_use]
    pub fn turn(&self, ticket: Ticket) -> bool {
        let line = self.tickets.get(&ticket).and_then(|key| self.lines.get(key));
        line.is_some_and(|line| line.place == Step::Held && line.items.front() == Some(&Item::Ticket(ticket)))
    }

    /// A ticket that held its line is done, whatever came of it; the effect names the next, if it is a ticket's turn.
    pub fn finished(&mut self, ticket: Ticket, now: Now) -> Option<Effect> {
        self.leave(ticket, now)
    }

    /// A ticket is given up, wherever it stands: its client has left, or will not wait any longer. Ignored for one that
    /// does not wait.
    pub fn leave(&mut self, ticket: Ticket, now: Now) -> Option<Effect> {
        let held = self.turn(ticket);
        let key = self.tickets.remove(&ticket)?;
        let line = self.lines.get_mut(&key)?;
        line.remove(Item::Ticket(ticket));
        line.tickets = line.tickets.saturating_sub(1);
        if held {
            line.place = Step::Unplaced;
        }
        self.place(&key, None, now.mono)
    }
}
