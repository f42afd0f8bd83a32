//! What a route owes a write that it has answered before its backend has seen it.
//!
//! No file is opened here and nothing is sent: bytes, numbers and answers come in, verdicts go out. What writes do to
//! stored responses is decided in `cache::written`; the contract is `docs/write-modes.md`.

pub mod alarm;
pub mod class;
pub mod fingerprint;
pub mod kept;
pub mod outcome;
pub mod queue;
pub mod record;
pub mod segment_table;
