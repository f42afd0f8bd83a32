//! Pure decisions of the proxy.
//!
//! Nothing in this crate opens a socket or a file, or reads a clock or a random source. The caller passes the time as
//! [`time::Now`] and randomness as a number. So each rule can be tested alone, and whole state machines run in a seeded
//! simulation.

pub mod balance;
pub mod cache;
pub mod canary;
pub mod certificate;
pub mod compare;
pub mod course;
pub mod endpoints;
pub mod events;
pub mod health;
pub mod message;
pub mod proxy_protocol;
pub mod retry;
pub mod route;
pub mod time;
pub mod write;
