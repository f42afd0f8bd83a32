//! Events from elsewhere: what arrives, read as an `Event`.
//!
//! What an event makes void is decided in `policy::events`.

pub(crate) mod read;
