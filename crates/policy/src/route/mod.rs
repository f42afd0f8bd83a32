//! Which route a request takes, what its path becomes, and which side of a split it goes to.

mod matching;
pub mod rewrite;
pub mod split;
pub mod sticky;
mod table;
pub mod template;

pub use matching::{Asked, HostPattern, PathPattern, Rule};
pub use table::Table;
