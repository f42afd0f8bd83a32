//! Which backends may be used.
