//! Pure calculations: statistics, and parsing the output of other programs.
//!
//! Starts nothing and reads no file, so that `tests/versus.rs` can test it.

pub(crate) mod calendar;
pub(crate) mod load_summary;
pub(crate) mod many;
pub(crate) mod process_files;
pub(crate) mod statistics;
pub(crate) mod text;
