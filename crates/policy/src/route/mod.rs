//! Selects the route of a request, rewrites its path, and selects the side of a split.

mod matching;
pub mod rewrite;
pub mod split;
pub mod sticky;
mod table;
pub mod template;

pub use matching::{HostPattern, PathPattern, RouteRequest, RouteRule};
pub use table::Table;
