//! What the cache decides: what is kept, what goes first, and who asks the backend.
//!
//! Holding bodies, reading sockets and telling the time is the caller's business.

pub mod flight;
pub mod index;
pub mod tags;
