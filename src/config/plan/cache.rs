//! How a route caches: the keys of `[route.cache]`, as the policy has them.

use http::HeaderName;
use policy::cache::freshness::TtlRules;
use policy::cache::key;
use policy::cache::lookup::StaleRules;
use policy::cache::storable::Exceptions;

use super::WriteBack;

/// `[route.cache]`: how a route caches.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCache {
    /// What becomes of writes.
    pub mode: CacheMode,
    /// How long what is stored stays fresh.
    pub ttl: TtlRules,
    /// When it may be served stale.
    pub stale: StaleRules,
    /// What is stored although it should not be.
    pub exceptions: Exceptions,
    /// What makes two requests one.
    pub key: key::Rules,
    /// The response fields that hold tags.
    pub tags_headers: Vec<HeaderName>,
}

/// `mode`: what becomes of a caching route's writes.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheMode {
    /// `cache-aside`: they are forwarded, and what they touch is invalidated.
    Aside,
    /// `write-through`: they are forwarded, and what the backend has taken is stored.
    Through,
    /// `write-back`: they are kept in the journal and acknowledged; the backend sees them later.
    Back(WriteBack),
}
