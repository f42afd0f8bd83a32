//! A connection to a backend between two calls.

use std::sync::Arc;
use std::task::{Context, Waker};

use super::call::Call;
use super::connect::Socket;
use crate::telemetry::counters::Counters;

/// A connection to a backend that can take a request. It keeps the place in memory of its calls: the next one begins
/// where the last one ended, and is never moved.
#[derive(Debug)]
pub struct Connection(pub(super) Box<Call>);

impl Connection {
    /// A connection that has carried no request.
    #[must_use]
    pub fn new(socket: Socket, counted: Option<Counted>) -> Self {
        Self(Box::new(Call::at_rest(socket, counted)))
    }

    /// Whether the backend has sent nothing and not closed it since its last response. Without a call of the system,
    /// unless something has come.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        self.0.socket().is_quiet()
    }

    /// Whether the backend has sent nothing, and not closed it. What the backend does from here on wakes no task, so that
    /// none is kept in memory by a connection that waits for long.
    pub(super) fn stays_quiet(&mut self) -> bool {
        let polled = self.0.socket().poll_read_ready(&mut Context::from_waker(Waker::noop()));
        polled.is_pending() || self.is_quiet()
    }
}

/// Counts a connection as long as it is open.
#[derive(Debug)]
pub struct Counted(Arc<Counters>);

impl Counted {
    /// It is open from now on.
    #[must_use]
    pub fn begin(counters: &Arc<Counters>) -> Self {
        counters.backend_connections.up();
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.backend_connections.down();
    }
}
