//! Sending what is pending: a task on the control thread.
//!
//! When, in which order and how often is the queue's to say; how a write is sent is handed in.

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

/// How long the flusher sleeps at most, for what nobody tells it.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One attempt to send a write.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The write's number.
    pub seq: u64,
    /// Which attempt it is.
    pub number: u32,
    /// The journal's identity.
    pub journal: u128,
    /// The write.
    pub write: Arc<Write>,
}

/// What an attempt has come to.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    /// What that means for the write.
    pub outcome: Outcome,
    /// Why it failed, in words; `None`: it did not.
    pub why: Option<Box<str>>,
}

/// The way to the backends.
pub(crate) trait Way: 'static {
    /// Sends a write, lets the cache follow, and says what came of it.
    fn send(&self, attempt: Attempt) -> impl Future<Output = Came> + 'static;

    /// How many endpoints of an upstream may be sent to now; 0 also if there is none of this name.
    fn endpoints(&self, upstream: &str) -> usize;
}

/// Sends what is due, for as long as it is polled.
pub(crate) async fn run(desk: Arc<WriteQueue>, way: Rc<impl Way>) {
    let flusher = Rc::new(Flusher { desk, way, alarms: RefCell::default(), silent: RefCell::default() });
    let desk = &flusher.desk;
    loop {
        for upstream in desk.upstreams() {
            desk.set_up(&upstream, flusher.is_up(&upstream));
        }
        let now = clock::now();
        for (send, queued) in desk.due(now) {
            let Some(write) = queued.unpack().map(Arc::new) else { continue };
            let attempt = Attempt { seq: send.seq, number: send.attempt, journal: desk.journal().identity(), write };
            tokio::task::spawn_local(Rc::clone(&flusher).send(attempt));
        }
        for Gone { route, seq, bound } in desk.drop_letters(now) {
            flusher.alarms.borrow_mut().dropped(&route, seq, bound, now.mono);
        }
        flusher.alarms.borrow_mut().look(desk, now.mono);
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

/// What sends.
#[derive(Debug)]
struct Flusher<W> {
    desk: Arc<WriteQueue>,
    way: Rc<W>,
    alarms: RefCell<Alarms>,
    /// Of each upstream, how many attempts in a row have come to no answer.
    silent: RefCell<HashMap<Box<str>, usize>>,
}

impl<W: Way> Flusher<W> {
    async fn send(self: Rc<Self>, attempt: Attempt) {
        let (seq, write) = (attempt.seq, Arc::clone(&attempt.write));
        let Came { outcome, why } = self.way.send(attempt).await;
        self.learn(&write, outcome, why);
        for effect in self.desk.answered(seq, outcome, random::roll()).await {
            match effect {
                Effect::Bury { seq, status, reason, attempts: _ } => {
                    let death = Death { seq, status, reason };
                    self.alarms.borrow_mut().died(&write.route, death, clock::mono());
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

    /// Whether writes may be sent to an upstream. At the end of the process they are left in the journal as soon as as
    /// many attempts in a row have had no answer as it has endpoints: waiting for it would only keep the next process
    /// from starting.
    fn is_up(&self, upstream: &str) -> bool {
        let endpoints = self.way.endpoints(upstream);
        let silent = || self.silent.borrow().get(upstream).copied().unwrap_or_default();
        endpoints > 0 && !(self.desk.is_draining() && silent() >= endpoints)
    }
}
