//! HTTP/2 towards backends, on the `h2` crate (decision 0070): connections that many requests share, and one call on a
//! stream of one of them.
//!
//! A connection has a task that moves its frames and asks a silent backend whether it is there. A call has none: the future
//! of its exchange moves both bodies.

pub(crate) mod call;
mod connection;
mod head;
pub(crate) mod pool;
mod sending;
mod wire;
