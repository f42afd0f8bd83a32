//! The cache doing: looks up, serves, fetches once for many, keeps, forgets.
//!
//! What may be stored and served is `policy::cache`'s to say. How a response is fetched is handed in ([`Fetch`]): this
//! room knows nothing of upstreams. [`answer`] owns the order of things for a request that may be answered from here.

mod allocation;
pub(crate) mod background_refresh;
pub mod coalesce;
pub mod entry;
pub(crate) mod fetch;
pub(crate) mod fetch_head;
pub(crate) mod fill;
pub mod head;
pub(crate) mod hit;
pub mod index;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod origin;
pub(crate) mod partial;
pub(crate) mod purge;
pub(crate) mod resume;
pub(crate) mod serve;
pub(crate) mod shard;
pub(crate) mod streaming;
pub(crate) mod writes;

pub(crate) use lookup::hit_at_once;
pub use lookup::{answer, at_once};
pub(crate) use lookup::{take_led, take_unasked};
pub use memory::Store;
pub use origin::{Caching, Fetch, Request};
