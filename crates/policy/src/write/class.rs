//! The effect of a write on the state of its URI.

/// The class of a write, by its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Replaces the whole state.
    Put,
    /// Removes the whole state.
    Delete,
    /// Changes the state in a way that only the backend knows (POST, PATCH): never coalesced.
    Other,
}
