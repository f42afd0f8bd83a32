//! What forebay decides.
//!
//! Everything in this crate is pure: no sockets, no files, no clock, no randomness. Time comes in as [`time::Now`],
//! chance as a drawn number. So every rule can be tested alone, and whole machines can run in a seeded simulation.

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
pub mod retry;
pub mod route;
pub mod time;
pub mod write;
