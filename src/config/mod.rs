//! From `config.toml` to a [`plan::Plan`]: read as written, checked as a whole, resolved.

pub mod plan;
