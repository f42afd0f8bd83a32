//! Queued writes: what a route must do for a write that it has acknowledged before its backend has received it.
//!
//! Pure: no file is opened and nothing is sent here. `cache::written` decides the effect of writes on stored responses.
//! The contract is `docs/write-modes.md`.

pub mod alarm;
pub mod class;
pub mod fingerprint;
pub mod outcome;
pub mod queue;
pub mod record;
pub mod retained;
pub mod segment_table;
