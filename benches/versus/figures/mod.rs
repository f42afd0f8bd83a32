//! What can be said of numbers and texts alone: statistics, and reading what other programs print.
//!
//! Starts nothing and reads no file, so that `tests/versus.rs` can run its tests.

pub(crate) mod calendar;
pub(crate) mod load_summary;
pub(crate) mod many;
pub(crate) mod process_files;
pub(crate) mod statistics;
pub(crate) mod text;
