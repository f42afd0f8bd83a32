//! Which route a request takes.

mod table;

pub use table::Table;
