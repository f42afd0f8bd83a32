//! A request that may be answered from the cache: looked up at once where nothing but its URI matters, else by all it says.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, Uri};
use message::{Fields, Known, KnownSet};
use policy::cache::key::{Key, KeyBuffer, LookupKey, Space, Target};

use super::admit::{self, Admitted};
use super::routing;
use super::target::RouteTarget;
use super::way::Way;
use super::worker_state::WorkerState;
use crate::cache::{self, Caching, Fetch, Request};
use crate::config::plan::Route;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::upstream::send::UpstreamRequest;

/// Fields by which a request asks for more than what is stored.
pub(super) const NOT_PLAIN: KnownSet = KnownSet::of(&[
    Known::CacheControl,
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfRange,
    Known::IfUnmodifiedSince,
    Known::Pragma,
    Known::Range,
]);

/// Answers with what is stored, where nothing but the URI matters for that: by far the most frequent way. What the
/// request would say to a backend is not worked out for it.
pub(crate) fn at_once(
    site: &WorkerState,
    (route, caching): (&Route, &Caching),
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Option<Answer> {
    let head = &ex.head;
    let is_plain = caching.is_plain
        && route.request_headers.is_empty()
        && matches!(head.method, Method::GET | Method::HEAD)
        && !admitted.tags.intersects(NOT_PLAIN)
        && site.desk().is_none_or(|desk| desk.is_idle())
        && admitted.switches.is_none()
        && ex.body.as_ref().is_none_or(http_body::Body::is_end_stream)
        && !admitted.host.has_final_dot
        && !admitted.is_trusted();
    if !is_plain {
        return None;
    }
    let target = target(ex, admitted);
    let space = Space { name: &caching.space, rules: &caching.rules.key };
    let mut buffer = KeyBuffer::new();
    cache::at_once(ex, caching, LookupKey::of_uri(space, &target, &mut buffer))
}

/// Answers a request that [`at_once`] has no answer for from the cache, or by fetching.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub(super) async fn answer(
    way: &Way<'_>,
    ex: &mut Exchange,
    admitted: &Admitted,
    key: Key,
) -> Result<Answer, ProxyError> {
    settle_query(way.caching, ex)?;
    let draft = routing::draft(way.site, way.route, &way.onward.group, (ex, admitted))?;
    let fetch = ToUpstream { onward: Rc::clone(way.onward), target: draft.target };
    let caching = Rc::clone(way.caching);
    let (method, headers, is_returning) = (draft.method, draft.headers, admitted.is_returning);
    cache::answer(ex, Request { caching, key, method, headers, is_returning, fetch }).await
}

/// Gives a request the query that its key holds: what the answer is made of must be the same for all who get it.
fn settle_query(caching: &Caching, ex: &mut Exchange) -> Result<(), ProxyError> {
    let uri = &ex.head.uri;
    let normal = caching.rules.key.query(uri.query());
    if normal.as_deref() == uri.query() {
        return Ok(());
    }
    let settled = admit::with_path(uri.path(), normal.as_deref()).ok_or(ProxyError::BadRequest("invalid target"))?;
    ex.head.uri = settled;
    Ok(())
}

/// The target in the form that keys are made of (RFC 9110 §7.1).
pub(super) fn target<'a>(ex: &'a Exchange, admitted: &'a Admitted) -> Target<'a> {
    let uri = &ex.head.uri;
    Target::of_normal(admitted.client.scheme, &admitted.host.name, admitted.host.port, uri.path(), uri.query())
}

/// The way to an upstream, for the store.
#[derive(Clone, Debug)]
struct ToUpstream {
    onward: Rc<RouteTarget>,
    target: Uri,
}

impl Fetch for ToUpstream {
    async fn fetch(&self, ex: &mut Exchange, method: Method, headers: Fields) -> Result<Answer, ProxyError> {
        let draft = UpstreamRequest { method, target: self.target.clone(), headers, source: None, switches: None };
        self.onward.forward(ex, &draft).await
    }

    fn time_limit(&self) -> Duration {
        self.onward.group.shared.plan.timeouts.request
    }
}
