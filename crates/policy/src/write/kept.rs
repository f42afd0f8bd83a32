//! Which fields of a request are kept with a queued write, and which of them are shown.
//!
//! A write is sent when its client is long gone, so what it carries lies in the journal until then. Kept is what is on
//! a list, here or in the route; what would change the write's meaning by being left out keeps it from being queued
//! ([`hindrance`]). Whether its method, size and conditions let it be queued is decided elsewhere.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};
use message::{Field, Fields, Known};

use super::record::Write;
use crate::message::cache_control::RequestDirectives;
use crate::message::list::elements;

/// What belongs to the content, what backends choose by, what a write is followed by, and who asked. In order, for the
/// search.
const KEPT: [&str; 28] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "depth",
    "forwarded",
    "host",
    "idempotency-key",
    "repr-digest",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-request-id",
];

/// What is made anew, is over by the time a write is sent, or is said by this proxy alone.
const NEVER: [&str; 11] = [
    "connection",
    "content-length",
    "content-range",
    "expect",
    "keep-alive",
    "max-forwards",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The fields to keep of a request, in their order: `Host`, the list of `docs/write-modes.md`, and what the route's
/// `keep_headers` names. Values of the latter and of credentials are marked as sensitive.
///
/// Never kept, though the route names them: fields of one connection and those that `Connection` names, `Proxy-*`,
/// conditions, and what [`may_be_named`] refuses.
#[must_use]
pub fn kept(request: &Fields, keep_headers: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let is_nominated =
        |name: &[u8]| elements(request.values(Known::Connection)).any(|one| one.eq_ignore_ascii_case(name));
    let keep = |field: Field<'_>| {
        let name = HeaderName::from_bytes(field.name).ok()?;
        if !is_kept(&name, keep_headers) || is_nominated(field.name) {
            return None;
        }
        let mut value = HeaderValue::from_bytes(field.value).ok()?;
        value.set_sensitive(is_secret(&name));
        Some((name, value))
    };
    request.iter().filter_map(keep).collect()
}

/// Whether a route's `keep_headers` may name this field.
#[must_use]
pub fn may_be_named(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 4] = ["proxy-", "forebay-", "x-forebay-", "if-"];
    let name = name.as_str();
    !NEVER.contains(&name) && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the values of a kept field are shown to nobody: all that only `keep_headers` can have let in.
#[must_use]
pub fn is_secret(name: &HeaderName) -> bool {
    !is_listed(name)
}

/// Whether this field of a request is kept on a route with these `keep_headers`.
#[must_use]
pub fn is_kept(name: &HeaderName, keep_headers: &[HeaderName]) -> bool {
    is_listed(name) || (keep_headers.contains(name) && may_be_named(name))
}

fn is_listed(name: &HeaderName) -> bool {
    KEPT.binary_search(&name.as_str()).is_ok()
}

/// What in a request's head keeps it from being queued: sent later, it would not be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.word())]
pub enum Hindrance {
    /// Credentials that the route does not keep.
    Credentials,
    /// `Content-Range`: the content is a part of what it is put to (RFC 9110 §14.5).
    Part,
    /// `Upgrade`: it may be no write at all.
    Upgrade,
    /// `Cache-Control: no-store`: it wants not to be kept (RFC 9111 §5.2.1.5).
    NoStore,
}

impl Hindrance {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Part => "part",
            Self::Upgrade => "upgrade",
            Self::NoStore => "no-store",
        }
    }
}

/// What in this head keeps the request from being queued on a route with these `keep_headers`.
#[must_use]
pub fn hindrance(request: &Fields, keep_headers: &[HeaderName]) -> Option<Hindrance> {
    let is_lost = |tag: Known, name: HeaderName| request.has(tag) && !keep_headers.contains(&name);
    let is_certificate_lost = || {
        let is_kept = |own: &[u8]| keep_headers.iter().any(|name| own.eq_ignore_ascii_case(name.as_str().as_bytes()));
        request.has(Known::ClientCertificate)
            && request.iter().any(|field| field.known == Known::ClientCertificate && !is_kept(field.name))
    };
    if is_lost(Known::Authorization, AUTHORIZATION) || is_lost(Known::Cookie, COOKIE) || is_certificate_lost() {
        Some(Hindrance::Credentials)
    } else if request.has(Known::ContentRange) {
        Some(Hindrance::Part)
    } else if request.has(Known::Upgrade) {
        Some(Hindrance::Upgrade)
    } else if RequestDirectives::of(request).no_store {
        Some(Hindrance::NoStore)
    } else {
        None
    }
}

/// A write as people may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The name of the route it came by.
    pub route: &'a str,
    /// The name of the upstream it is for.
    pub upstream: &'a str,
    /// Its method.
    pub method: &'a Method,
    /// Its target as the backend gets it.
    pub target: &'a str,
    /// Its fields.
    pub headers: Vec<(&'a HeaderName, ShownValue<'a>)>,
    /// How long its content is.
    pub body_bytes: usize,
    /// When it was accepted, since the epoch.
    pub accepted: Duration,
}

/// A field's value as people may see it; `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownValue<'a> {
    /// As it is.
    Text(&'a str),
    /// Not text.
    Bytes(usize),
    /// There is one.
    Redacted,
}

impl fmt::Display for ShownValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Bytes(bytes) => write!(f, "({bytes} bytes)"),
            Self::Redacted => f.write_str("(redacted)"),
        }
    }
}

/// What of a write may be shown: no content, and no value of what only `keep_headers` can have let in.
#[must_use]
pub fn redacted(write: &Write) -> Shown<'_> {
    Shown {
        route: &write.route,
        upstream: &write.upstream,
        method: &write.method,
        target: &write.target,
        headers: write.headers.iter().map(|(name, value)| (name, shown(name, value))).collect(),
        body_bytes: write.body.len(),
        accepted: write.accepted,
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(self).fmt(f)
    }
}

fn shown<'a>(name: &HeaderName, value: &'a HeaderValue) -> ShownValue<'a> {
    if is_secret(name) {
        return ShownValue::Redacted;
    }
    value.to_str().map_or(ShownValue::Bytes(value.len()), ShownValue::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::scripted::fields as headers;
    use http::header::CONTENT_RANGE;
    use proptest::prelude::*;

    type Given = [(&'static str, &'static str)];

    fn names(fields: &Given, keep_headers: &[&'static str]) -> Vec<String> {
        let keep: Vec<_> = keep_headers.iter().map(|name| HeaderName::from_static(name)).collect();
        let mut names: Vec<_> = kept(&headers(fields), &keep).iter().map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    fn write(fields: &Given) -> Write {
        Write {
            route: "notes".into(),
            upstream: "store".into(),
            key: b"k".as_slice().into(),
            method: Method::PUT,
            target: "/notes/1".into(),
            headers: fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect(),
            body: bytes::Bytes::from_static(b"secret content"),
            accepted: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_list_is_in_order_so_that_it_can_be_searched() {
        assert!(KEPT.is_sorted());
        assert!(KEPT.iter().all(|name| may_be_named(&HeaderName::from_static(name))));
    }

    #[test]
    fn what_belongs_to_content_choice_trace_and_asker_is_kept() {
        let all: Vec<_> = KEPT.iter().map(|name| (*name, "x")).collect();
        assert_eq!(names(&all, &[]), KEPT);
    }

    #[test]
    fn all_lines_of_a_field_are_kept_in_order() {
        let values: Vec<_> = kept(&headers(&[("accept", "a"), ("via", "x"), ("accept", "b")]), &[]);
        let accept: Vec<_> = values.iter().filter(|(name, _)| *name == "accept").map(|(_, value)| value).collect();
        assert_eq!(accept, ["a", "b"]);
    }

    #[test]
    fn credentials_and_unknown_fields_are_kept_only_where_the_route_names_them() {
        let fields = [("authorization", "Basic x"), ("cookie", "a=b"), ("x-api-key", "k"), ("host", "a")];
        assert_eq!(names(&fields, &[]), ["host"]);
        assert_eq!(names(&fields, &["authorization", "x-api-key"]), ["authorization", "host", "x-api-key"]);
    }

    #[test]
    fn what_belongs_to_a_connection_a_proxy_or_this_moment_is_never_kept() {
        let fields = [
            ("proxy-authorization", "x"),
            ("proxy-connection", "x"),
            ("keep-alive", "x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("if-match", "*"),
            ("forebay-write", "through"),
            ("x-forebay-side", "x"),
        ];
        let all: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names(&fields, &all), [""; 0]);
    }

    #[test]
    fn what_connection_names_is_not_kept() {
        let fields = [("connection", "close, X-Hop"), ("x-hop", "1"), ("x-end", "2")];
        assert_eq!(names(&fields, &["x-hop", "x-end"]), ["x-end"]);
    }

    #[test]
    fn what_would_be_lost_keeps_a_write_from_being_queued() {
        let of = |fields: &Given, keep: &[HeaderName]| hindrance(&headers(fields), keep);
        assert_eq!(of(&[("content-type", "a/b"), ("x-unknown", "1")], &[]), None);
        assert_eq!(of(&[("authorization", "x")], &[]), Some(Hindrance::Credentials));
        assert_eq!(of(&[("cookie", "x")], &[AUTHORIZATION]), Some(Hindrance::Credentials));
        assert_eq!(of(&[("authorization", "x")], &[AUTHORIZATION]), None);
        let certificate = [("x-client-cert-subject", "CN=a"), ("client-cert", ":MA==:")];
        let named = ["client-cert", "x-client-cert-subject"].map(HeaderName::from_static);
        assert_eq!(of(&certificate, &[]), Some(Hindrance::Credentials));
        assert_eq!(of(&certificate, &named[..1]), Some(Hindrance::Credentials));
        assert_eq!(of(&certificate, &named), None);
        assert_eq!(of(&[("content-range", "bytes 0-1/2")], &[CONTENT_RANGE]), Some(Hindrance::Part));
        assert_eq!(of(&[("upgrade", "h2c")], &[]), Some(Hindrance::Upgrade));
        assert_eq!(of(&[("cache-control", "no-store")], &[]), Some(Hindrance::NoStore));
        assert_eq!(of(&[("cache-control", "no-cache")], &[]), None);
    }

    #[test]
    fn a_write_is_shown_without_its_content_and_secrets() {
        let write = write(&[("authorization", "hush"), ("x-api-key", "hush"), ("host", "a")]);
        let shown = redacted(&write);
        let values: Vec<_> = shown.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(values, ["authorization: (redacted)", "x-api-key: (redacted)", "host: a"]);
        assert_eq!(shown.body_bytes, 14);
        let debug = format!("{write:?}");
        assert!(debug.contains("/notes/1") && !debug.contains("hush") && !debug.contains("content\""), "{debug}");
    }

    proptest! {
        #[test]
        fn whatever_a_route_names_nothing_of_a_connection_is_kept_and_nothing_added_is_shown(
            names in proptest::collection::vec("[a-z-]{1,12}", 0..8),
            never in proptest::sample::select(NEVER.to_vec()),
        ) {
            let mut request = headers(&[(never, "x")]);
            let keep: Vec<_> = names.iter().map(|name| HeaderName::try_from(name).unwrap()).collect();
            for name in &keep {
                request.append(name, "x");
            }
            for (name, value) in kept(&request, &keep) {
                prop_assert!(name != never);
                prop_assert!(is_listed(&name) || value.is_sensitive());
            }
        }
    }
}
