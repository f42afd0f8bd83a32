//! HTTP field grammar: what a message head means, and which of its fields may be forwarded.
//!
//! All functions take a parsed head; framing, bodies and time-outs are handled elsewhere.

pub mod accept;
pub mod cache_control;
pub mod cache_status;
pub mod conditions;
pub mod cookies;
pub mod dates;
pub mod etag;
pub mod expect;
pub mod forwarded;
pub mod forwarding_fields;
pub mod grpc;
pub mod hop;
pub mod host;
pub mod list;
pub mod max_forwards;
pub mod names;
pub mod network;
pub mod query;
pub mod range;
pub mod scheme;
#[cfg(test)]
pub(crate) mod scripted;
pub mod target;
pub mod targeted;
pub mod trailers;
pub mod upgrade;
pub mod vary;
pub mod via;
