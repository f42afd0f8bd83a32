//! What may not pass: refuses or cleans a request's head before anything else looks at it.
//!
//! The rules are `policy::message`'s; this file knows their order. What is no request at all was refused before, where
//! the head was scanned.

use std::borrow::Cow;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};
use http_body::Body as _;
use message::{Fields, Known, KnownSet};
use policy::cache::key::target_fields;
use policy::message::expect::{self, Expectation};
use policy::message::forwarding_fields::ForwardingFields;
use policy::message::max_forwards::{self, Forwarding};
use policy::message::network::Network;
use policy::message::via::PASSES_MAX;
use policy::message::{forwarded, grpc, hop, names, target, upgrade};

use super::worker_state::WorkerState;
use crate::config::plan::MergeSlashes;
use crate::exchange::error::ProxyError;
use crate::exchange::{ClientConnection, ConnectionTerms, Exchange, Forwarded, Head, Host};
use crate::telemetry::random;
use crate::telemetry::request_id::RequestId;

/// The longest target, in bytes.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// The longest request id taken over from a trusted proxy, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Fields by which a proxy in front tells of its client; others could claim anything.
const WORD_OF_A_PROXY: KnownSet = KnownSet::of(&[Known::Override, Known::ClientCertificate]);

/// Fields in which a proxy in front tells of its client, and names the exchange.
const TOLD_BY_A_PROXY: KnownSet = names::FORWARDING.with(Known::XRequestId);

/// What was found out while cleaning.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The host that is asked for.
    pub host: Rc<Host>,
    /// The protocols that the client would switch to, if the backend will.
    pub switches: Option<HeaderValue>,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub waits_to_continue: bool,
    /// Whether the request is to be answered here, by `Max-Forwards` (RFC 9110 §7.6.2).
    pub ends_here: bool,
    /// What fields its head held.
    pub tags: KnownSet,
    /// Who asks.
    pub client: forwarded::Client,
    /// What the plan says of the client's connection.
    pub terms: Rc<ConnectionTerms>,
    /// The path that routes match, where that is not the target's own.
    pub match_path: Option<Box<str>>,
    /// Whether the request has been here before: then it must not wait for what may be its own beginning.
    pub is_returning: bool,
}

impl Admitted {
    /// Whether the client's connection comes from a proxy whose word is believed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.terms.forwarding.is_trusted()
    }
}

/// Refuses what may not pass; cleans what may.
///
/// # Errors
/// [`ProxyError::BadRequest`] and the other faults of a client.
pub(crate) fn admit(site: &WorkerState, ex: &mut Exchange) -> Result<Admitted, ProxyError> {
    if ex.head.method == Method::CONNECT || ex.head.method == Method::TRACE {
        return Err(ProxyError::MethodNotAllowed);
    }
    ex.grpc = grpc::Call::of(&ex.head.method, &ex.head.fields);
    let tags = ex.head.fields.tags();
    let host = host(ex)?;
    if ex.connection.tls.as_ref().is_some_and(|tls| tls.misdirects(&host.name)) {
        return Err(ProxyError::Misdirected);
    }
    let Normal { target, match_path } = origin_form(&ex.head, site.plan().server.merge_slashes)?;
    if let Some(target) = target {
        ex.head.uri = target;
    }
    let is_returning = passes(site, ex, &host, tags)? > 0;
    judge_body(site, ex)?;
    let waits_to_continue = expectation(ex, tags)?;
    let terms = terms(site, ex);
    let is_trusted = terms.forwarding.is_trusted();
    clean(site, ex, tags, is_trusted);
    let ends_here =
        ex.head.method == Method::OPTIONS && tags.contains(Known::MaxForwards) && must_answer_here(&mut ex.head.fields);
    let switches = take_upgrade(site, ex, tags)?;
    let trusted = if is_trusted { trusted_proxies(site, ex) } else { &[] };
    let client = forwarded::client(ex.connection.peer.ip(), ex.connection.scheme, &ex.head.fields, trusted)
        .map_err(|_| ProxyError::BadRequest("unknown scheme in a forwarding field of a trusted proxy"))?;
    ex.client = client.address;
    Ok(Admitted { host, switches, waits_to_continue, ends_here, tags, client, terms, match_path, is_returning })
}

/// Counts `Max-Forwards` down. Whether it was at its end.
fn must_answer_here(fields: &mut Fields) -> bool {
    match max_forwards::count_down(fields) {
        Forwarding::Free => false,
        Forwarding::Left(left) => {
            fields.set(Known::MaxForwards, left.to_string());
            false
        }
        Forwarding::AnswerHere => true,
    }
}

/// How often a request has been here before, as its `Via` says (RFC 9110 §7.6.3).
fn passes(site: &WorkerState, ex: &Exchange, host: &Host, tags: KnownSet) -> Result<usize, ProxyError> {
    let signature = site.signature().filter(|_| tags.contains(Known::Via));
    let passes = signature.map_or(0, |signature| signature.count(&ex.head.fields));
    if passes <= PASSES_MAX {
        return Ok(passes);
    }
    // Anybody can write such a request, so few of them are told of.
    if site.generation.loop_notice.is_due(ex.started.mono) {
        let path = ex.head.uri.path();
        tracing::warn!(
            "a request for {}{path:.100} has come back {passes} times: does a backend lead here?",
            host.name
        );
    }
    Err(ProxyError::Loop)
}

/// The one host that a request is for (RFC 9112 §3.2): that of an absolute-form target, else `Host`.
fn host(ex: &mut Exchange) -> Result<Rc<Host>, ProxyError> {
    let version = ex.head.version;
    let headers = &mut ex.head.fields;
    let mut lines = headers.values(Known::Host);
    let named = match (lines.next(), lines.next()) {
        (Some(named), None) => Some(valid(named, &ex.connection)?),
        (None, _) if version == Version::HTTP_10 => None,
        (None, _) => return Err(ProxyError::BadRequest("no Host")),
        (Some(_), Some(_)) => return Err(ProxyError::BadRequest("more than one Host")),
    };
    drop(lines);
    if ex.head.uri.authority().is_some() && ex.head.uri.scheme().is_none() {
        // `GET example.com`: only CONNECT may ask like that (RFC 9112 §3.2.3).
        return Err(ProxyError::BadRequest("neither a path nor a URI in the target"));
    }
    let host = match (ex.head.uri.authority(), named) {
        (Some(authority), _) => valid(authority.as_str().as_bytes(), &ex.connection)?,
        (None, Some(host)) => return Ok(host),
        // An HTTP/1.0 client need not say; what it connected to is what it meant.
        (None, None) => match &ex.connection.authority {
            Some(authority) => valid(authority.as_bytes(), &ex.connection)?,
            None => valid(ex.connection.local.to_string().as_bytes(), &ex.connection)?,
        },
    };
    headers.set(Known::Host, &*host.authority);
    Ok(host)
}

/// Checks an authority, unless it is the one that this connection's last request was for.
pub(super) fn valid(authority: &[u8], client: &ClientConnection) -> Result<Rc<Host>, ProxyError> {
    let mut known = client.known_host.borrow_mut();
    if let Some(host) = known.as_ref().filter(|host| host.authority.as_bytes() == authority) {
        return Ok(Rc::clone(host));
    }
    let host = Host::parse(authority).map_err(|_| ProxyError::BadRequest("invalid Host"))?;
    Ok(Rc::clone(known.insert(Rc::new(host))))
}

/// A target that has been brought into its one form.
#[derive(Default)]
struct Normal {
    /// `None`: it is in that form already.
    target: Option<Uri>,
    /// The path that routes match, where that is not the target's own.
    match_path: Option<Box<str>>,
}

/// The target in origin form, or `*` (RFC 9112 §3.2), its path in normal form.
fn origin_form(head: &Head, merge: MergeSlashes) -> Result<Normal, ProxyError> {
    let uri = &head.uri;
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(ProxyError::BadRequest("scheme is neither http nor https"));
    }
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > TARGET_BYTES_MAX {
        return Err(ProxyError::TargetTooLong { limit: TARGET_BYTES_MAX });
    }
    if head.has_plain_target {
        return Ok(Normal::default());
    }
    if let Some(query) = uri.query() {
        target::check_query(query).map_err(|_| ProxyError::BadRequest("invalid query"))?;
    }
    if uri.path() == "*" && uri.scheme().is_none() {
        return match head.method {
            Method::OPTIONS => Ok(Normal::default()),
            _ => Err(ProxyError::BadRequest("target * without OPTIONS")),
        };
    }
    let path = if uri.path().is_empty() { "/" } else { uri.path() };
    let read = target::read_path(path).map_err(|_| ProxyError::BadRequest("invalid path"))?;
    let (mut normal, mut match_path) = (read.normal, None);
    if read.has_slash_runs {
        match merge {
            MergeSlashes::Match => match_path = Some(Box::from(target::merged(&normal))),
            MergeSlashes::Forward => normal = Cow::Owned(target::merged(&normal).into_owned()),
            MergeSlashes::Off => {}
        }
    }
    if normal == uri.path() && uri.scheme().is_none() && uri.authority().is_none() {
        return Ok(Normal { target: None, match_path });
    }
    let target = with_path(&normal, uri.query()).ok_or(ProxyError::BadRequest("invalid target"))?;
    Ok(Normal { target: Some(target), match_path })
}

/// An origin-form target of this path and query.
#[must_use]
pub(crate) fn with_path(path: &str, query: Option<&str>) -> Option<Uri> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target: PathAndQuery = text.parse().ok()?;
    Some(Uri::from(target))
}

/// The length of the body, as far as it is declared. Its framing has been judged by the client's connection.
fn judge_body(site: &WorkerState, ex: &Exchange) -> Result<(), ProxyError> {
    let length = ex.body.as_ref().map_or(0, |body| body.size_hint().lower());
    match site.plan().server.body_bytes_max.filter(|_| ex.grpc.is_none()) {
        Some(limit) if length > limit => Err(ProxyError::BodyTooLarge { limit }),
        Some(_) | None => Ok(()),
    }
}

/// Whether the client waits before it sends its body (RFC 9110 §10.1.1).
fn expectation(ex: &mut Exchange, tags: KnownSet) -> Result<bool, ProxyError> {
    if !tags.contains(Known::Expect) {
        return Ok(false);
    }
    let expected = expect::judge(&ex.head.fields).map_err(|_| ProxyError::Expectation)?;
    let has_body = ex.body.as_ref().is_some_and(|body| !body.is_end_stream());
    let waits = expected == Expectation::Continue && has_body && ex.head.version == Version::HTTP_11;
    if !waits {
        ex.head.fields.drop_known(Known::Expect);
    }
    Ok(waits)
}

/// Takes away what belongs to the client's connection only, and what passes for something it isn't.
fn clean(site: &WorkerState, ex: &mut Exchange, tags: KnownSet, is_trusted: bool) {
    if tags.contains(Known::Underscore) {
        let dropped = ex.head.fields.retain(|field| !names::is_underscore_twin(field.name));
        site.counters.underscore_fields.add(dropped as u64);
    }
    if tags.intersects(WORD_OF_A_PROXY) && !is_trusted {
        ex.head.fields.drop_known(WORD_OF_A_PROXY);
    }
    if let Some(tls) = ex.connection.tls.as_ref().filter(|tls| tls.asks_for_certificate) {
        ex.head.fields.drop_known(Known::ClientCertificate);
        if let Some(certificate) = &tls.certificate {
            ex.head.fields.append_all(certificate);
        }
    }
}

/// What the present plan says of the client's connection.
fn terms(site: &WorkerState, ex: &Exchange) -> Rc<ConnectionTerms> {
    let (plan, connection) = (site.generation.number, &ex.connection);
    connection.terms(plan, || {
        let trusted = trusted_proxies(site, ex);
        let forwarding = ForwardingFields::new(connection.peer.ip(), connection.scheme, trusted);
        let redirect_https = site.plan().redirect_https(connection.listener.as_deref());
        ConnectionTerms { plan, forwarding, redirect_https }
    })
}

/// Whose word is believed where the client has connected.
fn trusted_proxies<'s>(site: &'s WorkerState, ex: &Exchange) -> &'s [Network] {
    site.plan().trusted_proxies(ex.connection.listener.as_deref())
}

/// Takes hop-by-hop fields away (RFC 9110 §7.6.1); an `Upgrade` that may pass is put back as our own.
fn take_upgrade(site: &WorkerState, ex: &mut Exchange, tags: KnownSet) -> Result<Option<HeaderValue>, ProxyError> {
    if !tags.intersects(hop::HOP_BY_HOP) {
        return Ok(None);
    }
    let headers = &mut ex.head.fields;
    let switches =
        upgrade::wanted(headers, &site.plan().server.upgrades).filter(|_| ex.head.version == Version::HTTP_11);
    let own = hop::find(headers, hop::Direction::Request)
        .map_err(|_| ProxyError::BadRequest("Connection names a field that is not the connection's own"))?;
    own.apply(headers);
    if let Some(protocols) = &switches {
        headers.append(Known::Connection, "upgrade");
        headers.append(Known::Upgrade, protocols);
    }
    Ok(switches)
}

/// Says who asked and by way of whom, and names the exchange: for a request that goes on to a backend, which is told
/// this `host`.
pub(crate) fn stamp(site: &WorkerState, ex: &mut Exchange, admitted: &Admitted, host: &str) {
    let (plan, version) = (site.generation.number, ex.head.version);
    let signature = ex.signature.as_deref();
    let write = |fields: &mut Fields| {
        let stamped = admitted.terms.forwarding.write(fields, &admitted.client, host.as_bytes());
        fields.apply_all(stamped.edits());
        if let Some(signature) = signature {
            fields.append_line(signature.line(version));
        }
    };
    let fields = &mut ex.head.fields;
    if admitted.is_trusted() && fields.has(TOLD_BY_A_PROXY) {
        write(fields);
        let id = known_id(fields).unwrap_or_else(|| random::id(ex.dice));
        fields.set(Known::XRequestId, id.as_bytes());
        ex.record.id = Some(id);
        return;
    }
    fields.drop_known(TOLD_BY_A_PROXY);
    let id = random::id_digits(ex.dice);
    ex.connection.append_forwarding(fields, &Forwarded { plan, version, host }, &id, || {
        let mut made = Fields::new();
        write(&mut made);
        made
    });
    ex.record.id = Some(RequestId::Drawn(id));
}

/// The same, for a request on a caching route: all that a backend builds URLs from is as the request's key holds it.
pub(crate) fn stamp_settled(site: &WorkerState, ex: &mut Exchange, admitted: &Admitted) {
    let host = admitted.host.normal(admitted.client.scheme);
    ex.head.fields.apply_all(target_fields::edits(&ex.head.fields, host.as_bytes()));
    stamp(site, ex, admitted, host);
}

fn known_id(fields: &Fields) -> Option<RequestId> {
    let id = fields.first_shared(Known::XRequestId);
    id.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len())).map(RequestId::Given)
}
