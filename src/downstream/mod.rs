//! Where clients connect: listeners, connections, workers, draining.
//!
//! Each worker is one thread with its own runtime, its own sockets and its own counters ([`worker`]). An
//! HTTP/1.1 connection is one loop on the worker's thread (`http1`); of HTTP/2 each stream is a task there (`http2`).

mod begin;
pub(crate) mod descriptors;
mod http1;
mod http2;
mod inherited;
pub(crate) mod limit;
mod linger;
pub(crate) mod listener;
mod preface;
pub(crate) mod proxy_protocol;
mod refusal;
mod socket;
pub(crate) mod tls;
mod waits;
pub(crate) mod worker;
