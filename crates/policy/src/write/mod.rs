//! Writes that are acknowledged before the backend has seen them: what is pending, in which order and when it goes
//! out, and what becomes of it.
//!
//! No body is held by the queue and no clock is read; files and connections are the caller's.

pub mod outcome;
pub mod queue;
