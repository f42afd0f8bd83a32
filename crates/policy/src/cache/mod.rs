//! The HTTP cache's rules (RFC 9111): what is stored under which name, validated how, and forgotten when.
//!
//! Nothing here stores a byte or reads a clock.

pub mod forget;
pub mod headers;
pub mod key;
pub mod validate;
