//! Connections to backends, and calls (a request and its response) on them.
//!
//! A connection of HTTP/1.1 has no task of its own, and one call at a time. The future of the exchange that uses it polls the
//! socket, both ways at once, and drops it to give up. While a connection waits in its pool it holds a socket and no buffer.
//! HTTP/2 is in `http2`.

pub(crate) mod any;
pub(crate) mod buffer;
pub(crate) mod call;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod counted;
pub(crate) mod head;
pub(crate) mod http2;
pub(crate) mod pool;
pub(crate) mod sending;
pub(crate) mod socket;
pub(crate) mod tls;
