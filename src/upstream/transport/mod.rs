//! HTTP/1.1 towards backends: connections, and one call (a request and its response) at a time on each.
//!
//! A connection has no task of its own. The future of the exchange that uses it polls the socket, both ways at once, and
//! drops it to give up. While a connection waits in its pool it holds a socket and no buffer.

pub mod buffer;
pub mod call;
pub mod connect;
pub mod connection;
pub mod counted;
pub mod head;
pub mod pool;
pub mod sending;
pub mod socket;
pub mod tls;
