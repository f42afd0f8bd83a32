//! The rules of a shared HTTP cache (RFC 9111): what is stored under which name, how long it is fresh, when it may be
//! served, how it is validated, what goes first when room is short, who asks the backend, and what is invalidated when.
//!
//! No body is held here, and no clock is read: facts come in, verdicts go out.

pub mod bans;
pub mod coalescing;
pub mod facts;
pub mod freshness;
pub mod headers;
pub mod invalidation;
pub mod key;
pub mod lookup;
pub mod overlap;
pub mod partial;
pub mod reach;
pub mod remembered;
#[cfg(test)]
mod scripted;
pub mod siblings;
pub mod storable;
pub mod stored;
pub mod tags;
pub mod validate;
pub mod written;
