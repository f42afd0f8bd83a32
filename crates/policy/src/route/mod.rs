//! Which route a request takes, and what its path becomes.

mod matching;
pub mod rewrite;
mod table;

pub use matching::{Asked, HostPattern, PathPattern, Rule};
pub use table::Table;
