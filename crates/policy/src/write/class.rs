//! What a write does to the state of its URI.

/// What kind of write it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Replaces the whole state.
    Put,
    /// Removes the whole state.
    Delete,
    /// Changes the state in a way that only the backend knows (POST, PATCH): never coalesced.
    Other,
}
