//! Where clients connect: listeners, connections, workers, draining.
//!
//! Each worker is one thread with its own runtime, its own sockets and its own counters ([`worker`]). A connection
//! ([`connection`]) is parked while it waits for a request, and hyper's while it has one.

pub mod connection;
pub mod descriptors;
pub mod limit;
pub mod linger;
pub mod listener;
pub mod tap;
pub mod worker;
