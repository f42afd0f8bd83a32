//! The rules of a shared HTTP cache (RFC 9111): what is stored under which name, how long it is fresh, when it may be
//! served, how it is validated, and when it is forgotten.
//!
//! No response is stored here, and no clock is read: facts come in, verdicts go out.

pub mod facts;
pub mod forget;
pub mod freshness;
pub mod headers;
pub mod key;
pub mod lookup;
#[cfg(test)]
mod scripted;
pub mod storable;
pub mod validate;
