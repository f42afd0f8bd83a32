//! A connection to a backend between two calls.

use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::connect::Socket;
use crate::observe::counters::Counters;

/// A connection to a backend that can take a request.
#[derive(Debug)]
pub struct Connection {
    /// The stream.
    pub(super) socket: Socket,
    /// Whether it has carried a request before.
    pub(super) is_reused: bool,
    /// Where it is counted, if anywhere.
    pub(super) counted: Option<Counted>,
}

impl Connection {
    /// A connection that has carried no request.
    #[must_use]
    pub fn new(socket: Socket, counted: Option<Counted>) -> Self {
        Self { socket, is_reused: false, counted }
    }

    /// Whether the backend has sent nothing and not closed it since its last response. Without a call of the system,
    /// unless something has come.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let read = self.socket.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the backend has sent nothing beyond its last response. What the backend does from here on wakes no task,
    /// so that none is kept in memory by a connection that waits.
    pub(super) fn come_to_rest(&mut self) -> bool {
        self.is_reused = true;
        let polled = self.socket.poll_read_ready(&mut Context::from_waker(Waker::noop()));
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
