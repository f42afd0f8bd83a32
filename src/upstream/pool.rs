//! Connections to one backend that wait for a request: one worker's, used last-in first-out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::sync::oneshot;

use super::dial::Engine;
use super::overheard::Ear;
use super::upload::Upload;
use crate::exchange::tunnel::End;

/// A connection to a backend that can take a request.
pub struct Connection {
    /// Where requests go in.
    pub sender: SendRequest<Upload>,
    /// What is shared with the task that runs the connection.
    pub link: Rc<Link>,
    /// Where hyper's part of it runs.
    pub engine: Rc<Engine>,
    /// Whether it has carried a request before.
    pub reused: bool,
}

impl Drop for Connection {
    /// Nobody will use it again. hyper alone would first finish a request that the backend does not take.
    fn drop(&mut self) {
        self.engine.leave();
    }
}

/// What a connection's user shares with the task that runs it.
#[derive(Default)]
pub struct Link {
    /// Who gets the stream when the backend switches protocols.
    pub switched: RefCell<Option<oneshot::Sender<End>>>,
    /// Hears 1xx responses.
    pub ear: Ear,
    /// Whether all that hyper wrote has gone out.
    pub is_flushed: Cell<bool>,
}

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
    // Dropping the connection alone would leave it open until its task runs.
    oldest.map(|idle| drop(idle.connection.engine.take())).is_some()
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
    /// Takes the connection used last, if it is still good and has waited no longer than `age_max`.
    #[must_use]
    pub fn take(&self, now: Duration, age_max: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop_back() {
            if last.connection.sender.is_ready() && now.saturating_sub(last.since) <= age_max {
                return Some(last.connection);
            }
        }
        None
    }

    /// Puts a connection back; at most `max` are kept, the oldest goes.
    pub fn put(&self, mut connection: Connection, now: Duration, max: usize) {
        if connection.sender.is_closed() || max == 0 || self.is_closed.get() {
            return;
        }
        connection.reused = true;
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

    /// Drops connections that have waited longer than `age_max`, or that the backend has closed.
    pub fn tidy(&self, now: Duration, age_max: Duration) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.connection.sender.is_closed() && now.saturating_sub(idle.since) <= age_max);
    }
}
