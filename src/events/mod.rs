//! Invalidation events: parses requests of `POST /api/v1/events` into an `Event`.
//!
//! What an event invalidates is decided in `policy::events`.

pub(crate) mod read;
