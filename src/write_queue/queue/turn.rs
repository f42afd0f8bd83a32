//! Turns: a write that goes past the journal waits until all that is pending for its URI has gone out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy::write::fingerprint::fingerprint;
use policy::write::queue::{Effect, Ticket};
use tokio::sync::oneshot;

use super::WriteQueue;
use crate::telemetry::clock;

impl WriteQueue {
    pub(super) fn turn(&self, ticket: Ticket) {
        let turn = self.state.lock().turns.remove(&ticket);
        if let Some(turn) = turn {
            let _left = turn.send(());
        }
    }

    /// Waits until all that is pending for this URI has gone out. What is kept holds the line: nothing of it is sent until
    /// it is dropped.
    pub(crate) async fn wait_turn(self: &Arc<Self>, line: &[u8]) -> Turn {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let turn = Turn { desk: Arc::clone(self), ticket };
        let line = fingerprint(&self.secret, line);
        let waiting = {
            let mut state = self.state.lock();
            let is_now = state.queue.wait_turn(&line, ticket, clock::now());
            (!is_now).then(|| {
                let (told, waiting) = oneshot::channel();
                state.turns.insert(ticket, told);
                waiting
            })
        };
        self.changed.notify_one();
        match waiting {
            Some(waiting) => drop(waiting.await),
            // What was settled a moment ago may not be safe yet.
            None => self.journal.notes_are_safe().await,
        }
        turn
    }
}

/// A line held by one who writes past the journal. Dropped, it lets the next go.
#[derive(Debug)]
pub(crate) struct Turn {
    desk: Arc<WriteQueue>,
    ticket: Ticket,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.desk.state.lock();
        state.turns.remove(&self.ticket);
        let next = state.queue.finished(self.ticket, clock::now());
        drop(state);
        if let Some(Effect::Turn(next)) = next {
            self.desk.turn(next);
        }
        self.desk.changed.notify_one();
    }
}
