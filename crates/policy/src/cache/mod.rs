//! The rules of a shared HTTP cache (RFC 9111): what may be stored, how long it is fresh, when it may be served.
//!
//! Nothing is stored here, and no clock is read: facts come in, verdicts go out.

pub mod facts;
pub mod freshness;
pub mod lookup;
#[cfg(test)]
mod scripted;
pub mod storable;
