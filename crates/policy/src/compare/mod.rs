//! Whether two answers to one request say the same, and where they don't.

pub mod rules;
