//! A connection to a backend between two calls.

use std::task::{Context, Waker};

use super::call::Call;
use super::counted::Counted;
use super::head::RequestHead;
use super::socket::Socket;
use crate::upstream::upload::Upload;

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

impl Call {
    /// Begins a call. Nothing is sent before it is polled.
    #[must_use]
    pub(crate) fn new(connection: Connection, head: &RequestHead<'_>, body: Upload) -> Box<Self> {
        let Connection(mut call) = connection;
        call.begin(head, body);
        call
    }

    /// The connection, if it can carry another request: request and response are whole, and nothing came behind them.
    #[must_use]
    pub(crate) fn finish(mut self: Box<Self>) -> Option<Connection> {
        self.come_to_rest().then(|| Connection(self))
    }
}
