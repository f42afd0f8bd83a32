//! The cache doing: looks up, serves, fetches once for many, keeps, forgets.
//!
//! What may be stored and served is `policy::cache`'s to say. How a response is fetched is handed in ([`Fetch`]): this
//! room knows nothing of upstreams. [`answer`] owns the order of things for a request that may be answered from here.

pub mod behind;
pub mod entry;
pub mod fetch;
pub mod fill;
pub mod flight;
pub mod growth;
pub mod head;
pub mod judge;
pub mod memory;
pub mod part;
pub mod purge;
pub mod renew;
pub mod resume;
pub mod serve;
pub mod shard;
pub mod writes;

pub use fetch::{Caching, Fetch, Request};
pub use judge::{answer, at_once, take_led, take_unasked};
pub use memory::Store;
