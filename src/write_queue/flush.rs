//! Sends pending writes: a task on the control thread.
//!
//! The queue decides when, in which order and how often writes are sent; the caller provides the function that sends
//! one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::write::outcome::Outcome;
use policy::write::queue::Effect;
use policy::write::record::Write;

use super::alarms::{Alarms, Death};
use super::queue::{Gone, WriteQueue};
use crate::telemetry::{clock, random};

/// The longest sleep of the flusher, for changes that do not wake it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One attempt to send a write.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The number of the write.
    pub seq: u64,
    /// The ordinal of the attempt.
    pub number: u32,
    /// The journal's identity.
    pub journal: u128,
    /// The write.
    pub write: Arc<Write>,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct AttemptResult {
    /// What it means for the write.
    pub outcome: Outcome,
    /// The error as text; `None`: the attempt succeeded.
    pub why: Option<Box<str>>,
}

/// Sends writes to backends. `proxy` implements it.
pub(crate) trait WriteSender: 'static {
    /// Sends a write, updates the cache accordingly, and returns the outcome.
    fn send(&self, attempt: Attempt) -> impl Future<Output = AttemptResult> + 'static;

    /// The number of endpoints of an upstream that can be used now; 0 also if there is no upstream with this name.
    fn endpoints(&self, upstream: &str) -> usize;
}

/// Sends writes when they are due. Never returns.
pub(crate) async fn run(write_queue: Arc<WriteQueue>, sender: Rc<impl WriteSender>) {
    let flusher = Rc::new(Flusher { write_queue, sender, alarms: RefCell::default(), silent: RefCell::default() });
    let write_queue = &flusher.write_queue;
    loop {
        for upstream in write_queue.upstreams() {
            write_queue.set_up(&upstream, flusher.is_up(&upstream));
        }
        let now = clock::now();
        for (send, queued) in write_queue.due(now) {
            let Some(write) = queued.unpack().map(Arc::new) else { continue };
            let attempt =
                Attempt { seq: send.seq, number: send.attempt, journal: write_queue.journal().identity(), write };
            tokio::task::spawn_local(Rc::clone(&flusher).send(attempt));
        }
        for Gone { route, seq, bound } in write_queue.drop_dead_letters(now) {
            flusher.alarms.borrow_mut().dropped(&route, seq, bound, now.mono);
        }
        flusher.alarms.borrow_mut().look(write_queue, now.mono);
        let wait = write_queue.next_due().map_or(SLEEP_MAX, |due| due.saturating_sub(clock::mono()).min(SLEEP_MAX));
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = write_queue.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The state of the task.
#[derive(Debug)]
struct Flusher<W> {
    write_queue: Arc<WriteQueue>,
    sender: Rc<W>,
    alarms: RefCell<Alarms>,
    /// For each upstream, the number of consecutive attempts without a response.
    silent: RefCell<HashMap<Box<str>, usize>>,
}

impl<W: WriteSender> Flusher<W> {
    async fn send(self: Rc<Self>, attempt: Attempt) {
        let (seq, write) = (attempt.seq, Arc::clone(&attempt.write));
        let AttemptResult { outcome, why } = self.sender.send(attempt).await;
        self.learn(&write, outcome, why);
        for effect in self.write_queue.attempt_ended(seq, outcome, random::roll()).await {
            match effect {
                Effect::MarkDead { seq, status, reason, attempts: _ } => {
                    let death = Death { seq, status, reason };
                    self.alarms.borrow_mut().add_dead_letter(&write.route, death, clock::mono());
                }
                Effect::Settle(_) | Effect::Turn(_) => {}
            }
        }
    }

    fn learn(&self, write: &Write, outcome: Outcome, why: Option<Box<str>>) {
        let mut alarms = self.alarms.borrow_mut();
        let is_answered = match outcome {
            Outcome::Done | Outcome::Refused { .. } => {
                alarms.reached(&write.route);
                true
            }
            Outcome::Retry { status, .. } => status.is_some(),
            Outcome::Unsent => false,
        };
        if let Some(why) = why {
            alarms.failed(&write.route, why);
        }
        let mut silent = self.silent.borrow_mut();
        if is_answered {
            silent.remove(&write.upstream);
        } else {
            *silent.entry(write.upstream.clone()).or_default() += 1;
        }
    }

    /// Whether writes may be sent to an upstream. While the process drains, an upstream counts as down after as many
    /// attempts in a row without a response as it has endpoints: its writes stay in the journal, and waiting longer
    /// would only delay the start of the next process.
    fn is_up(&self, upstream: &str) -> bool {
        let endpoints = self.sender.endpoints(upstream);
        let silent = || self.silent.borrow().get(upstream).copied().unwrap_or_default();
        endpoints > 0 && !(self.write_queue.is_draining() && silent() >= endpoints)
    }
}
