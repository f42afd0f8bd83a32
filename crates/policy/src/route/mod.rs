//! Which route a request takes.

mod table;

pub use table::{HostPattern, PathPattern, Rule, Table};
