//! Where clients connect: listeners, connections, workers, draining.
//!
//! Each worker is one thread with its own runtime, its own sockets and its own counters ([`worker`]). A connection is one
//! loop on the worker's thread (`http1`).

pub mod descriptors;
mod http1;
pub mod limit;
mod linger;
pub mod listener;
mod socket;
pub(crate) mod tls;
pub mod worker;
