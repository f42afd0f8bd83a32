//! What the cache is given to work with: a route's rules, a request, and a way to fetch.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use message::Fields;
use policy::cache::key::Key;

use super::memory::Store;
use crate::config::plan;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::counters::Counters;

/// How one route caches, as one worker has it.
#[derive(Debug)]
pub struct Caching {
    /// Where.
    pub store: Arc<Store>,
    /// What all routes share.
    pub limits: plan::Cache,
    /// How.
    pub rules: Arc<plan::RouteCache>,
    /// What tells this route's responses from those of others: a part of every key.
    pub space: Box<[u8]>,
    /// Its keys hold nothing of a request but the URI.
    pub is_plain: bool,
    /// What this worker has counted.
    pub counters: Arc<Counters>,
}

impl Caching {
    /// Tags are for us: the client does not see them.
    pub fn hide_tags(&self, headers: &mut Fields) {
        for name in &self.rules.tags_headers {
            headers.drop_named(name);
        }
    }
}

/// The way to the origin of a response.
pub trait Fetch: Clone + Unpin + 'static {
    /// Asks the origin, with this method and these fields instead of the client's.
    fn fetch(
        &self,
        ex: &mut Exchange,
        method: Method,
        headers: Fields,
    ) -> impl Future<Output = Result<Answer, ProxyError>>;

    /// How long after it began a request may still wait: the upstream's limit for a request with all its tries.
    fn time_limit(&self) -> Duration;
}

/// A request that may be answered from the store: GET or HEAD, without a body.
#[derive(Debug)]
pub struct Request<F> {
    /// How its route caches.
    pub caching: Rc<Caching>,
    /// What it asks for.
    pub key: Key,
    /// Its method.
    pub method: Method,
    /// Its fields, as they would go to the origin.
    pub headers: Fields,
    /// Whether it must not wait for another's fetch, which may be waiting for it.
    pub is_returning: bool,
    /// How to ask the origin.
    pub fetch: F,
}
