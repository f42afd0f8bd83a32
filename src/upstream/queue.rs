//! Requests that wait for an endpoint, all workers together, first come first served.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::shared::SharedUpstream;

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

/// A place in a queue, given up on drop.
#[derive(Debug)]
pub struct Place<'a> {
    group: &'a SharedUpstream,
    is_first: bool,
}

impl Queue {
    /// A request has ended: one that waits may go.
    pub fn capacity_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if self.strangers.load(Ordering::SeqCst) > 0 { self.wake.notify_waiters() } else { self.wake.notify_one() }
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

    /// A place in the queue, for a request under this group's plan; `None`: `length` wait already.
    #[must_use]
    pub fn line_up<'a>(&self, group: &'a SharedUpstream, length: usize) -> Option<Place<'a>> {
        let plan = self.plan.lock();
        let one_more = |now: usize| (now < length).then(|| now + 1);
        let before = self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        if *plan != group.number {
            self.strangers.fetch_add(1, Ordering::SeqCst);
        }
        Some(Place { group, is_first: before == 0 })
    }

    fn give_up(&self, number: u64) {
        let plan = self.plan.lock();
        if *plan != number {
            self.strangers.fetch_sub(1, Ordering::SeqCst);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place<'_> {
    /// Waits for the next wake-up: what is freed from here on is not missed.
    #[must_use]
    pub fn woken(&self) -> Pin<Box<Notified<'_>>> {
        let mut woken = Box::pin(self.group.queue().wake.notified());
        woken.as_mut().enable();
        fence(Ordering::SeqCst);
        woken
    }

    /// Whether one that has not been woken may look for room. Only the first may: others would overtake those that
    /// have just been woken.
    #[must_use]
    pub fn may_look(&self) -> bool {
        self.is_first || self.group.queue().strangers.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let queue = self.group.queue();
        queue.give_up(self.group.number);
        // Those that came later have not looked: if there is room for one more, it is their turn.
        if self.group.has_room() {
            queue.capacity_freed();
        }
    }
}
