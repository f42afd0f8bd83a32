//! Counts the requests that wait for an endpoint, all workers together, and wakes them, first come first served.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Requests that wait for an endpoint. Shared by the groups of one upstream over reloads, so that none is invalidated.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    /// How many of them wait under a plan that a reload has replaced: what is free for others may be none for them.
    strangers: AtomicUsize,
    /// The number of the present plan. Held while either count changes.
    plan: Mutex<u64>,
    wake: Notify,
}

impl Queue {
    /// A request has ended: one that waits may go.
    pub fn capacity_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if self.has_strangers() { self.wake.notify_waiters() } else { self.wake.notify_one() }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// More endpoints may be usable than before: all that wait look again.
    pub fn wake_all(&self) {
        self.wake.notify_waiters();
    }

    /// From here on another plan holds: all that wait are strangers to it. Its number.
    pub fn replan(&self) -> u64 {
        let number = {
            let mut plan = self.plan.lock();
            *plan += 1;
            self.strangers.store(self.waiting.load(Ordering::SeqCst), Ordering::SeqCst);
            *plan
        };
        self.wake.notify_waiters();
        number
    }

    /// One more waits, under the plan of this number. Whether it is the first; `None`: `length` wait already.
    pub(super) fn enter(&self, number: u64, length: usize) -> Option<bool> {
        let plan = self.plan.lock();
        let one_more = |now: usize| (now < length).then(|| now + 1);
        let before = self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        if *plan != number {
            self.strangers.fetch_add(1, Ordering::SeqCst);
        }
        Some(before == 0)
    }

    /// One less waits, of those under the plan of this number.
    pub(super) fn give_up(&self, number: u64) {
        let plan = self.plan.lock();
        if *plan != number {
            self.strangers.fetch_sub(1, Ordering::SeqCst);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits for the next wake-up: what is freed from here on is not missed.
    pub(super) fn woken(&self) -> Pin<Box<Notified<'_>>> {
        let mut woken = Box::pin(self.wake.notified());
        woken.as_mut().enable();
        fence(Ordering::SeqCst);
        woken
    }

    /// Whether some wait under a plan that a reload has replaced.
    pub(super) fn has_strangers(&self) -> bool {
        self.strangers.load(Ordering::SeqCst) > 0
    }
}
