//! Tickets: a request that bypasses the journal waits for all pending writes of its URI.

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

    /// Waits until all pending writes of this URI are finished. Until the returned guard is dropped, nothing else of
    /// this URI is sent.
    pub(crate) async fn wait_turn(self: &Arc<Self>, uri: &[u8]) -> Turn {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let turn = Turn { write_queue: Arc::clone(self), ticket };
        let uri = fingerprint(&self.secret, uri);
        let waiting = {
            let mut state = self.state.lock();
            let is_now = state.queue.wait_turn(&uri, ticket, clock::now());
            (!is_now).then(|| {
                let (completion, waiting) = oneshot::channel();
                state.turns.insert(ticket, completion);
                waiting
            })
        };
        self.changed.notify_one();
        match waiting {
            Some(waiting) => drop(waiting.await),
            // Outcomes that were just recorded may not be durable yet.
            None => self.journal.outcomes_are_durable().await,
        }
        turn
    }
}

/// The turn of a ticket. Dropping it starts the next write or ticket of the URI.
#[derive(Debug)]
pub(crate) struct Turn {
    write_queue: Arc<WriteQueue>,
    ticket: Ticket,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.write_queue.state.lock();
        state.turns.remove(&self.ticket);
        let next = state.queue.finished(self.ticket, clock::now());
        drop(state);
        if let Some(Effect::Turn(next)) = next {
            self.write_queue.turn(next);
        }
        self.write_queue.changed.notify_one();
    }
}
