//! One coarse deadline for all waits of a request, instead of a timer for each.
//!
//! A wait sets the deadline and clears it; the loop that serves the client owns the timer, and arms it anew only when it
//! fires or when an earlier deadline is set. So a request that is answered in time costs two stores, no timer.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use super::timer::Timer;
use crate::telemetry::clock;

/// The wait took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

/// When the present wait of a request ends. Kept by the loop that serves its client, which wakes the task when it has
/// passed.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Cell<Option<Duration>>,
}

impl Deadline {
    /// When the present wait ends (monotonic time), if there is one.
    pub fn at(&self) -> Option<Duration> {
        self.at.get()
    }

    /// A wait begins that may last until `at`.
    pub fn set(&self, at: Duration) {
        self.at.set(Some(at));
    }

    /// The wait is over.
    pub fn clear(&self) {
        self.at.set(None);
    }

    /// Whether the present wait has lasted too long.
    pub fn has_passed(&self) -> bool {
        self.at.get().is_some_and(|at| clock::mono() >= at)
    }

    /// Waits for `work` until `at`. What is pinned is lent: a future that is handed over is moved, and moved again.
    ///
    /// # Errors
    /// [`Expired`] when `at` has passed first.
    pub async fn wait<F: Future>(&self, at: Duration, mut work: Pin<&mut F>) -> Result<F::Output, Expired> {
        let mut wait = Wait::new(self, at);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => wait.poll(|| None).map(Err),
        })
        .await
    }
}

/// One wait of a request. The deadline is set while it really waits, and cleared when this is dropped.
#[derive(Debug)]
pub(crate) struct Wait<D: Deref<Target = Deadline>> {
    deadline: D,
    until: Duration,
    is_waiting: bool,
}

impl<D: Deref<Target = Deadline>> Wait<D> {
    /// A wait that may last until this moment (monotonic time), and has not begun.
    pub(crate) fn new(deadline: D, until: Duration) -> Self {
        Self { deadline, until, is_waiting: false }
    }

    /// What is waited for is not there yet. Ready when that lasts too long, and `extend` gives no later moment.
    pub(crate) fn poll(&mut self, extend: impl FnOnce() -> Option<Duration>) -> Poll<Expired> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.deadline.set(self.until);
        } else if self.deadline.has_passed() {
            match extend() {
                Some(later) => self.deadline.set(later),
                None => return Poll::Ready(Expired),
            }
        }
        Poll::Pending
    }
}

impl<D: Deref<Target = Deadline>> Drop for Wait<D> {
    fn drop(&mut self) {
        if self.is_waiting {
            self.deadline.clear();
        }
    }
}

/// Does `work` and keeps time for it: for a task that has no client connection's loop around it.
pub(crate) async fn attended<F: Future>(deadline: &Deadline, work: F) -> F::Output {
    let mut work = pin!(work);
    let mut timer = Timer::default();
    let mut expired = None;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            let Some(due) = deadline.at() else { return Poll::Pending };
            if expired == Some(due) {
                // Whoever set it has been polled since and left it: it is void.
                deadline.clear();
                return Poll::Pending;
            }
            ready!(timer.poll(due, cx));
            expired = Some(due);
        }
    })
    .await
}
