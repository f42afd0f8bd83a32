//! HTTP/1.1 towards backends: connections, and one call (a request and its response) at a time on each.
//!
//! A connection has no task of its own. The future of the exchange that uses it polls the socket, both ways at once, and
//! drops it to give up. While a connection waits in its pool it holds a socket and no buffer.

pub(crate) mod buffer;
pub(crate) mod call;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod counted;
pub(crate) mod head;
pub(crate) mod pool;
pub(crate) mod sending;
pub(crate) mod socket;
pub(crate) mod tls;
