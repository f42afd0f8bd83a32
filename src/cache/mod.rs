//! The cache doing: looks up, serves, fetches once for many, keeps, forgets.
//!
//! What may be stored and served is `policy::cache`'s to say. How a response is fetched is handed in ([`Fetch`]): this
//! room knows nothing of upstreams. [`answer`] owns the order of things for a request that may be answered from here.

mod allocation;
pub mod background_refresh;
pub mod coalesce;
pub mod entry;
pub mod fetch;
pub mod fill;
pub mod head;
pub mod lookup;
pub mod memory;
pub mod origin;
pub mod partial;
pub mod purge;
pub mod resume;
pub mod serve;
pub mod shard;
pub mod streaming;
pub mod writes;

pub use lookup::{answer, at_once, take_led, take_unasked};
pub use memory::Store;
pub use origin::{Caching, Fetch, Request};
