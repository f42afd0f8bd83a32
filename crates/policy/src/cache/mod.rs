//! The rules of a shared HTTP cache (RFC 9111): storing, keys, freshness, serving, validation, eviction, coalescing and
//! invalidation.
//!
//! Holds no body and reads no clock.

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
