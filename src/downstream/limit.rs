//! How many client connections may be open at once, all workers together.
//!
//! A connection that has been accepted waits for a place; those that wait get one in order, whichever worker they are
//! at. Each socket that is listened on has one such connection at most: more stay in the kernel's queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit, and the places that are free.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    /// How many places there are.
    max: Mutex<usize>,
    /// How many of those that are taken are not given back when they are left: the limit has been lowered.
    surplus: AtomicUsize,
}

/// Room for one connection. Dropped, it makes room for the next one.
#[derive(Debug)]
pub(crate) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    limit: Arc<ConnectionLimit>,
}

impl ConnectionLimit {
    /// A limit of so many connections.
    #[must_use]
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { free: Arc::new(Semaphore::new(max)), max: Mutex::new(max), surplus: AtomicUsize::new(0) })
    }

    /// Waits for a place.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        let permit = match Arc::clone(&self.free).acquire_owned().await {
            Ok(permit) => permit,
            // It is never closed.
            Err(_closed) => std::future::pending().await,
        };
        Place { permit: Some(permit), limit: Arc::clone(self) }
    }

    /// A place, if one is free and nobody waits for it.
    #[must_use]
    pub(crate) fn try_place(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place { permit: Some(permit), limit: Arc::clone(self) })
    }

    /// Changes the limit. Connections that are over a lower one stay open; no other takes their place.
    pub(crate) fn set(&self, max: usize) {
        let max = max.min(Semaphore::MAX_PERMITS);
        let mut known = self.max.lock();
        if max < *known {
            let fewer = *known - max;
            let invalidated = self.free.forget_permits(fewer);
            self.surplus.fetch_add(fewer - invalidated, Ordering::AcqRel);
        } else {
            let more = max - *known;
            let kept = (0..more).take_while(|_| self.take_surplus()).count();
            self.free.add_permits(more - kept);
        }
        *known = max;
    }

    fn take_surplus(&self) -> bool {
        self.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, |surplus| surplus.checked_sub(1)).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.limit.take_surplus()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(limit: &Arc<ConnectionLimit>) -> Vec<Place> {
        std::iter::from_fn(|| limit.try_place()).collect()
    }

    #[test]
    fn a_limit_that_is_lowered_and_raised_holds_at_all_times() {
        let limit = ConnectionLimit::new(3);
        let mut open = take_all(&limit);
        assert_eq!(open.len(), 3);
        limit.set(1);
        open.pop();
        assert!(limit.try_place().is_none(), "two are open still");
        limit.set(3);
        assert_eq!(take_all(&limit).len(), 1, "two are open, and three may be");
        limit.set(1);
        drop(open);
        assert_eq!(take_all(&limit).len(), 1);
        limit.set(5);
        assert_eq!(take_all(&limit).len(), 5);
    }

    #[test]
    fn a_place_that_is_left_goes_to_who_has_waited_longest() {
        let limit = ConnectionLimit::new(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = limit.place().await;
            let (mut first, mut second) = (Box::pin(limit.place()), Box::pin(limit.place()));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(first.as_mut().poll(&mut context).is_pending() && second.as_mut().poll(&mut context).is_pending());
            drop(place);
            assert!(limit.try_place().is_none(), "others have waited for it");
            assert!(second.as_mut().poll(&mut context).is_pending());
            drop(first);
            assert!(second.as_mut().poll(&mut context).is_ready(), "who gives up waiting gives the place on");
        });
    }
}
