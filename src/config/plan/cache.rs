//! How a route caches: the keys of `[route.cache]`, in the types of `policy`.

use http::HeaderName;
use policy::cache::freshness::TtlRules;
use policy::cache::key;
use policy::cache::lookup::StaleRules;
use policy::cache::storable::Exceptions;

use super::WriteBack;

/// `[route.cache]`: how a route caches.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCache {
    /// How writes are handled.
    pub mode: CacheMode,
    /// How long a stored response is fresh.
    pub ttl: TtlRules,
    /// When a stored response may be served stale.
    pub stale: StaleRules,
    /// Which responses are stored although RFC 9111 would not allow it.
    pub exceptions: Exceptions,
    /// What is in the cache key.
    pub key: key::KeyRules,
    /// The response fields that hold tags.
    pub tags_headers: Vec<HeaderName>,
}

/// `mode`: how a caching route handles writes.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheMode {
    /// `cache-aside`: writes are forwarded, and their URI is invalidated.
    Aside,
    /// `write-through`: writes are forwarded, and what the backend has accepted is stored.
    Through,
    /// `write-back`: writes are stored in the journal and acknowledged, and sent to the backend later.
    Back(WriteBack),
}
