//! Where a request goes: its route, and what a route answers by itself.

use std::num::NonZeroU16;
use std::rc::Rc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body::Body as _;
use message::{Fields, Known};
use policy::message::scheme::Scheme;
use policy::message::target::normal_path;
use policy::route::template::{Parts, Template};
use policy::route::{RouteRequest, rewrite};

use super::admit::{self, Admitted};
use super::worker_state::WorkerState;
use crate::config::plan::{CacheMode, Edits, Redirect, Respond, Route};
use crate::exchange::body::Body;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::upstream::local::LocalUpstream;
use crate::upstream::select;
use crate::upstream::send::UpstreamRequest;
use crate::upstream::upload::{Limits, ReplayBody};
use crate::write_queue::enqueue::FOREBAY_WRITE;

/// The methods that are forwarded (RFC 9110 §10.2.1).
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Finds a request's route, and its index.
///
/// # Errors
/// [`ProxyError::NoRoute`].
pub(crate) fn route<'a>(
    site: &'a WorkerState,
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Result<(usize, &'a Route), ProxyError> {
    // `OPTIONS *` asks about the host as a whole: whoever answers for its root answers that.
    let own = if ex.head.uri.path() == "*" { "/" } else { ex.head.uri.path() };
    let path = admitted.match_path.as_deref().unwrap_or(own);
    let asked = RouteRequest {
        host: &admitted.host.name,
        path,
        query: ex.head.uri.query(),
        method: &ex.head.method,
        headers: &ex.head.fields,
    };
    let index = site.plan().table.find(&asked).ok_or(ProxyError::NoRoute)?;
    known(site, ex, index)
}

/// The route with this index, as that of a request.
///
/// # Errors
/// [`ProxyError::NoRoute`].
pub(crate) fn known<'a>(
    site: &'a WorkerState,
    ex: &mut Exchange,
    index: usize,
) -> Result<(usize, &'a Route), ProxyError> {
    let route = site.plan().routes.get(index).ok_or(ProxyError::NoRoute)?;
    ex.record.route = site.route_record(index);
    Ok((index, route))
}

/// The request as it goes to a backend.
///
/// # Errors
/// [`ProxyError::BadRequest`] when the rewritten target is none.
pub(crate) fn draft(
    site: &WorkerState,
    route: &Route,
    group: &Rc<LocalUpstream>,
    (ex, admitted): (&mut Exchange, &Admitted),
) -> Result<UpstreamRequest, ProxyError> {
    let plan = &group.shared.plan;
    ex.record.upstream = Some(Rc::clone(&group.name));
    ex.key = select::key(&plan.balance, ex);
    if admitted.tags.contains(Known::Forebay) {
        drop_orders(route, &mut ex.head.fields);
    }
    edit(&mut ex.head.fields, &route.request_headers);
    let uri = &ex.head.uri;
    let target = if let Some(rewrite) = route.rewrite.as_ref().filter(|_| uri.path() != "*") {
        rewritten(rewrite, ex, admitted)?
    } else if (route.strip_prefix.is_none() && route.add_prefix.is_none()) || uri.path() == "*" {
        std::mem::take(&mut ex.head.uri)
    } else {
        let merges_slashes = admitted.match_path.is_some();
        let (strip, add) = (route.strip_prefix.as_deref(), route.add_prefix.as_deref());
        let path = rewrite::path(strip, add, uri.path(), merges_slashes);
        admit::with_path(&path, uri.query()).ok_or(ProxyError::BadRequest("invalid target"))?
    };
    let limits = Limits::of(&site.plan().server, &plan.retry);
    let limits = if ex.grpc.is_some() { limits.of_call(plan.timeouts.tunnel_idle) } else { limits };
    let source = ex.body.take().filter(|body| !body.is_end_stream()).map(|body| {
        Rc::new(ReplayBody::new(body, admitted.waits_to_continue, limits, std::sync::Arc::clone(&site.counters)))
    });
    let method = ex.head.method.clone();
    let headers = std::mem::take(&mut ex.head.fields);
    let switches = admitted.switches.clone();
    Ok(UpstreamRequest { method, target, headers, source, switches })
}

/// Carries out a route's changes to a header section.
pub(crate) fn edit(fields: &mut Fields, edits: &Edits) {
    for name in &edits.remove {
        fields.drop_named(name);
    }
    for (name, value) in &edits.set {
        fields.set(name, value);
    }
}

/// What is told to this proxy goes no further, nor can a client pass for it. How a write is to be done, the one who does
/// it still has to read.
fn drop_orders(route: &Route, fields: &mut Fields) {
    let mut is_read = route.cache.as_ref().is_some_and(|cache| matches!(cache.mode, CacheMode::Back(_)));
    fields.retain(|field| {
        let is_order = field.known == Known::Forebay;
        // Of several lines the first is read.
        let is_kept = is_order && is_read && field.name.eq_ignore_ascii_case(FOREBAY_WRITE.as_str().as_bytes());
        is_read &= !is_kept;
        is_kept || !is_order
    });
}

/// Answers an `OPTIONS` that may go no further (RFC 9110 §7.6.2, §9.3.7).
#[must_use]
pub(crate) fn options() -> Answer {
    let mut answer = Answer::new(Body::default());
    answer.status = StatusCode::NO_CONTENT;
    answer.fields.set("Allow", METHODS);
    answer
}

/// What templates are filled with.
fn parts<'a>(ex: &'a Exchange, admitted: &'a Admitted) -> Parts<'a> {
    let (host, scheme, uri) = (&admitted.host, admitted.client.scheme, &ex.head.uri);
    Parts {
        scheme,
        host: host.normal(scheme),
        hostname: &host.name,
        port: host.port,
        path: uri.path(),
        match_path: admitted.match_path.as_deref().unwrap_or(uri.path()),
        query: uri.query(),
    }
}

/// The target that a route's template makes of a request.
fn rewritten(rewrite: &Template, ex: &Exchange, admitted: &Admitted) -> Result<Uri, ProxyError> {
    const BAD: ProxyError = ProxyError::BadRequest("target fits no rewrite");
    let target = rewrite.fill(&parts(ex, admitted));
    let (path, query) = target.split_once('?').map_or((&*target, None), |(path, query)| (path, Some(query)));
    // Parts that were sound apart may make dots together, and lead elsewhere.
    let normal = normal_path(path).map_err(|_| BAD)?;
    if normal != path {
        return Err(BAD);
    }
    admit::with_path(path, query).ok_or(BAD)
}

/// Answers with a redirect.
///
/// # Errors
/// [`ProxyError::BadRequest`] when the parts of the request make no valid `Location`.
pub(crate) fn redirect(redirect: &Redirect, ex: &Exchange, admitted: &Admitted) -> Result<Answer, ProxyError> {
    located(redirect.status, redirect.to.fill(&parts(ex, admitted)))
}

/// The port of the `https` URL that a request is redirected to, if its listener redirects requests by `http`.
#[must_use]
pub(crate) fn redirect_https(admitted: &Admitted) -> Option<NonZeroU16> {
    let port = admitted.terms.redirect_https?;
    (admitted.client.scheme == Scheme::Http).then_some(port)
}

/// Redirects a request to the same URL by `https` on this port.
///
/// # Errors
/// [`ProxyError::BadRequest`] when the request's target makes no valid `Location`.
pub(crate) fn by_https(port: NonZeroU16, ex: &Exchange, admitted: &Admitted) -> Result<Answer, ProxyError> {
    let name = &admitted.host.name;
    let target = ex.head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = if target == "*" { "/" } else { target };
    let to = match port.get() {
        443 => format!("https://{name}{target}"),
        port => format!("https://{name}:{port}{target}"),
    };
    located(StatusCode::PERMANENT_REDIRECT, to)
}

/// An empty answer that leads elsewhere.
fn located(status: StatusCode, to: String) -> Result<Answer, ProxyError> {
    let mut answer = Answer::new(Body::default());
    answer.status = status;
    let location = HeaderValue::try_from(to).map_err(|_| ProxyError::BadRequest("target fits no redirect"))?;
    answer.fields.set(Known::Location, location);
    Ok(answer)
}

/// Answers with a fixed response.
#[must_use]
pub(crate) fn respond(respond: &Respond, method: &Method) -> Answer {
    let head_only = *method == Method::HEAD;
    let mut answer = Answer::new(Body::whole(if head_only { Bytes::new() } else { respond.body.clone() }));
    answer.status = respond.status;
    if let Some(kind) = &respond.content_type {
        answer.fields.set(Known::ContentType, kind);
    }
    if head_only {
        answer.fields.set(Known::ContentLength, respond.body.len().to_string());
    }
    answer
}
