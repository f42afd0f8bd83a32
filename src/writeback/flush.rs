//! Sending what is pending: a task on the control thread.
//!
//! When, in which order and how often is the queue's to say; how a write is sent is handed in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::write::outcome::Outcome;
use policy::write::record::Write;

use super::desk::Desk;
use crate::observe::{clock, dice};

/// How long the flusher sleeps at most, for what nobody tells it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One attempt to send a write.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The write's number.
    pub seq: u64,
    /// Which attempt it is.
    pub number: u32,
    /// The journal's identity.
    pub journal: u128,
    /// The write.
    pub write: Arc<Write>,
}

/// The way to the backends.
pub trait Way: 'static {
    /// Sends a write, and says what came of it.
    fn send(&self, attempt: Attempt) -> impl Future<Output = Outcome> + 'static;

    /// Whether there is an upstream of this name.
    fn leads_to(&self, upstream: &str) -> bool;
}

/// Sends what is due, for as long as it is polled.
pub async fn run(desk: Arc<Desk>, way: Rc<impl Way>) {
    loop {
        for upstream in desk.upstreams() {
            desk.set_up(&upstream, way.leads_to(&upstream));
        }
        let now = clock::now();
        for (send, write) in desk.due(now) {
            let attempt = Attempt { seq: send.seq, number: send.attempt, journal: desk.journal().identity(), write };
            let (desk, way) = (Arc::clone(&desk), Rc::clone(&way));
            tokio::task::spawn_local(async move {
                let outcome = way.send(attempt).await;
                let _carried_out = desk.answered(send.seq, outcome, dice::roll()).await;
            });
        }
        let wait = desk.next_due().map_or(SLEEP_MAX, |due| due.saturating_sub(clock::mono()).min(SLEEP_MAX));
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = desk.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
