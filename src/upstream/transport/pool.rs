//! Connections to one backend that wait for a request: one worker's, used last-in first-out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::connection::Connection;

struct Idle {
    connection: Connection,
    since: Duration,
}

type IdleList = RefCell<VecDeque<Idle>>;

thread_local! {
    /// The pools of this thread: of one worker, of the control thread, or of the mirrors.
    static POOLS: RefCell<Vec<Weak<IdleList>>> = const { RefCell::new(Vec::new()) };
}

/// Closes the connection that has waited longest in any pool of this thread, so that its descriptor is free at once.
/// `false`: there is none.
pub(super) fn close_oldest() -> bool {
    let oldest = POOLS.with_borrow(|pools| {
        let pools = pools.iter().filter_map(Weak::upgrade);
        let waiting = pools.filter_map(|pool| {
            let since = pool.borrow().front()?.since;
            Some((since, pool))
        });
        waiting.min_by_key(|(since, _)| *since).and_then(|(_, pool)| pool.borrow_mut().pop_front())
    });
    oldest.is_some()
}

/// Connections to one backend that wait for a request.
pub struct Pool {
    idle: Rc<IdleList>,
    is_closed: Cell<bool>,
}

impl Default for Pool {
    fn default() -> Self {
        let idle = Rc::default();
        POOLS.with_borrow_mut(|pools| {
            if pools.len() == pools.capacity() {
                pools.retain(|pool| pool.strong_count() > 0);
            }
            pools.push(Rc::downgrade(&idle));
        });
        Self { idle, is_closed: Cell::new(false) }
    }
}

impl Pool {
    /// Takes the connection used last, if one is still good and has waited no longer than `age_max`.
    #[must_use]
    pub fn take(&self, now: Duration, age_max: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut last) = idle.pop_back_if(|last| now.saturating_sub(last.since) <= age_max) {
            if last.connection.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Puts a connection back whose response has ended; at most `max` are kept, the oldest goes.
    pub fn put(&self, mut connection: Connection, now: Duration, max: usize) {
        if max == 0 || self.is_closed.get() {
            return;
        }
        connection.0.is_reused = true;
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= max {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: now });
    }

    /// Drops all connections, and those that are put back later: no request will come for them any more.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.idle.borrow_mut().clear();
    }

    /// Drops connections that have waited longer than `age_max`, that the backend has closed, or on which it has sent
    /// something.
    pub fn tidy(&self, now: Duration, age_max: Duration) {
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| now.saturating_sub(idle.since) <= age_max && idle.connection.stays_quiet());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::super::socket::Socket;
    use super::*;

    /// A runtime to keep sockets, and a connection with its backend's end.
    fn opened() -> (tokio::runtime::Runtime, Connection, UnixStream) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = runtime.block_on(async { tokio::net::UnixStream::from_std(ours).unwrap() });
        (runtime, Connection::new(Socket::Unix(ours), None), theirs)
    }

    const NOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_request_that_wants_a_fresher_connection_leaves_older_ones_to_others() {
        let (pool, (_runtime, connection, _backend)) = (Pool::default(), opened());
        pool.put(connection, NOW, 1);
        let later = NOW + Duration::from_secs(10);
        assert!(pool.take(later, Duration::from_secs(2)).is_none());
        assert!(pool.take(later, Duration::MAX).is_some_and(|connection| connection.0.is_reused));
        assert!(pool.take(later, Duration::MAX).is_none());
    }

    #[test]
    fn a_connection_that_its_backend_has_closed_is_not_kept() {
        let (pool, (runtime, connection, backend)) = (Pool::default(), opened());
        pool.put(connection, NOW, 1);
        pool.tidy(NOW, Duration::MAX);
        assert_eq!(pool.idle.borrow().len(), 1);
        drop(backend);
        for _ in 0..3 {
            runtime.block_on(tokio::task::yield_now());
        }
        pool.tidy(NOW, Duration::MAX);
        assert_eq!(pool.idle.borrow().len(), 0);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_or_no_descriptor_is_left() {
        let pool = Pool::default();
        let opened = [opened(), opened(), opened()];
        let mut backends = Vec::new();
        for (place, (runtime, connection, backend)) in opened.into_iter().enumerate() {
            pool.put(connection, NOW * u32::try_from(place).unwrap(), 2);
            backends.push((runtime, backend));
        }
        let is_closed = |place: usize| {
            let (_, backend): &(_, UnixStream) = &backends[place];
            backend.set_nonblocking(true).unwrap();
            std::io::Read::read(&mut &*backend, &mut [0]).is_ok_and(|count| count == 0)
        };
        assert_eq!([0, 1, 2].map(is_closed), [true, false, false]);
        assert!(close_oldest());
        assert_eq!([0, 1, 2].map(is_closed), [true, true, false]);
        pool.close();
        assert_eq!(([0, 1, 2].map(is_closed), close_oldest()), ([true, true, true], false));
    }
}
