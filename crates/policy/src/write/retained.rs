//! Selects the fields of a request that are stored with a queued write, and those that may be displayed.
//!
//! A write is sent after its client has gone, so the journal holds what it needs. Fields on a list, here or in the
//! route, are retained. A request with a field that would change the write's meaning if left out is not queued
//! ([`not_queueable`]). The conditions on method, size and preconditions are decided elsewhere.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};
use message::{Field, Fields, Known};

use super::record::Write;
use crate::message::cache_control::RequestDirectives;
use crate::message::list::elements;

/// Fields that describe the content, affect the backend's choice of response, trace the request, or identify the
/// client. Sorted for binary search.
const RETAINED: [&str; 28] = [
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

/// Fields that the sender sets anew, that concern only the client's connection or this moment, or that only this proxy
/// sets.
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

/// The fields of a request to retain, in order: those of the list in `docs/write-modes.md`, which includes `Host`, and
/// those that the route's `keep_headers` names. Values of the latter and of credentials are marked as sensitive.
///
/// Never retained, even if the route names them: hop-by-hop fields, fields that `Connection` names, `Proxy-*`,
/// preconditions, and what [`may_retain`] refuses.
#[must_use]
pub fn retained(request: &Fields, keep_headers: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let is_nominated =
        |name: &[u8]| elements(request.values(Known::Connection)).any(|one| one.eq_ignore_ascii_case(name));
    let keep = |field: Field<'_>| {
        let name = HeaderName::from_bytes(field.name).ok()?;
        if !is_retained(&name, keep_headers) || is_nominated(field.name) {
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
pub fn may_retain(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 4] = ["proxy-", "forebay-", "x-forebay-", "if-"];
    let name = name.as_str();
    !NEVER.contains(&name) && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the values of a retained field are never displayed: all fields that are retained only because of
/// `keep_headers`.
#[must_use]
pub fn is_secret(name: &HeaderName) -> bool {
    !is_listed(name)
}

/// Whether this field of a request is retained on a route with these `keep_headers`.
#[must_use]
pub fn is_retained(name: &HeaderName, keep_headers: &[HeaderName]) -> bool {
    is_listed(name) || (keep_headers.contains(name) && may_retain(name))
}

fn is_listed(name: &HeaderName) -> bool {
    RETAINED.binary_search(&name.as_str()).is_ok()
}

/// A property of a request's head for which it is not queued, because sent later it would not be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.word())]
pub enum NotQueueable {
    /// Credentials (`Authorization`, `Cookie`, a client certificate) that the route does not retain.
    Credentials,
    /// `Content-Range`: the content is part of a representation (RFC 9110 §14.5).
    Part,
    /// `Upgrade`: the request may not be a write at all.
    Upgrade,
    /// `Cache-Control: no-store`: the client does not allow storing (RFC 9111 §5.2.1.5).
    NoStore,
}

impl NotQueueable {
    /// The word for it in `Cache-Status` and logs.
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

/// The first property of this head for which a route with these `keep_headers` does not queue the request.
#[must_use]
pub fn not_queueable(request: &Fields, keep_headers: &[HeaderName]) -> Option<NotQueueable> {
    let is_lost = |tag: Known, name: HeaderName| request.has(tag) && !keep_headers.contains(&name);
    let is_certificate_lost = || {
        let is_retained =
            |own: &[u8]| keep_headers.iter().any(|name| own.eq_ignore_ascii_case(name.as_str().as_bytes()));
        request.has(Known::ClientCertificate)
            && request.iter().any(|field| field.known == Known::ClientCertificate && !is_retained(field.name))
    };
    if is_lost(Known::Authorization, AUTHORIZATION) || is_lost(Known::Cookie, COOKIE) || is_certificate_lost() {
        Some(NotQueueable::Credentials)
    } else if request.has(Known::ContentRange) {
        Some(NotQueueable::Part)
    } else if request.has(Known::Upgrade) {
        Some(NotQueueable::Upgrade)
    } else if RequestDirectives::of(request).no_store {
        Some(NotQueueable::NoStore)
    } else {
        None
    }
}

/// The displayable parts of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The name of its route.
    pub route: &'a str,
    /// The name of its upstream.
    pub upstream: &'a str,
    /// Its method.
    pub method: &'a Method,
    /// Its target as sent to the backend.
    pub target: &'a str,
    /// Its fields.
    pub headers: Vec<(&'a HeaderName, ShownValue<'a>)>,
    /// Length of its content.
    pub body_bytes: usize,
    /// When it was accepted, since the Unix epoch.
    pub accepted: Duration,
}

/// The displayable form of a field's value; `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownValue<'a> {
    /// The value itself.
    Text(&'a str),
    /// The length of a value that is not text.
    Bytes(usize),
    /// A value that is not displayed.
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

/// The displayable parts of a write: no content, and no values of fields retained only because of `keep_headers`.
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
        let mut names: Vec<_> = retained(&headers(fields), &keep).iter().map(|(name, _)| name.to_string()).collect();
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
        assert!(RETAINED.is_sorted());
        assert!(RETAINED.iter().all(|name| may_retain(&HeaderName::from_static(name))));
    }

    #[test]
    fn fields_about_content_choice_tracing_and_client_are_retained() {
        let all: Vec<_> = RETAINED.iter().map(|name| (*name, "x")).collect();
        assert_eq!(names(&all, &[]), RETAINED);
    }

    #[test]
    fn all_lines_of_a_field_are_retained_in_order() {
        let values: Vec<_> = retained(&headers(&[("accept", "a"), ("via", "x"), ("accept", "b")]), &[]);
        let accept: Vec<_> = values.iter().filter(|(name, _)| *name == "accept").map(|(_, value)| value).collect();
        assert_eq!(accept, ["a", "b"]);
    }

    #[test]
    fn credentials_and_unknown_fields_are_retained_only_where_the_route_names_them() {
        let fields = [("authorization", "Basic x"), ("cookie", "a=b"), ("x-api-key", "k"), ("host", "a")];
        assert_eq!(names(&fields, &[]), ["host"]);
        assert_eq!(names(&fields, &["authorization", "x-api-key"]), ["authorization", "host", "x-api-key"]);
    }

    #[test]
    fn fields_of_a_connection_a_proxy_or_this_moment_are_never_retained() {
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
    fn fields_that_connection_names_are_not_retained() {
        let fields = [("connection", "close, X-Hop"), ("x-hop", "1"), ("x-end", "2")];
        assert_eq!(names(&fields, &["x-hop", "x-end"]), ["x-end"]);
    }

    #[test]
    fn a_write_is_not_queued_when_a_field_would_be_lost() {
        let of = |fields: &Given, keep: &[HeaderName]| not_queueable(&headers(fields), keep);
        assert_eq!(of(&[("content-type", "a/b"), ("x-unknown", "1")], &[]), None);
        assert_eq!(of(&[("authorization", "x")], &[]), Some(NotQueueable::Credentials));
        assert_eq!(of(&[("cookie", "x")], &[AUTHORIZATION]), Some(NotQueueable::Credentials));
        assert_eq!(of(&[("authorization", "x")], &[AUTHORIZATION]), None);
        let certificate = [("x-client-cert-subject", "CN=a"), ("client-cert", ":MA==:")];
        let named = ["client-cert", "x-client-cert-subject"].map(HeaderName::from_static);
        assert_eq!(of(&certificate, &[]), Some(NotQueueable::Credentials));
        assert_eq!(of(&certificate, &named[..1]), Some(NotQueueable::Credentials));
        assert_eq!(of(&certificate, &named), None);
        assert_eq!(of(&[("content-range", "bytes 0-1/2")], &[CONTENT_RANGE]), Some(NotQueueable::Part));
        assert_eq!(of(&[("upgrade", "h2c")], &[]), Some(NotQueueable::Upgrade));
        assert_eq!(of(&[("cache-control", "no-store")], &[]), Some(NotQueueable::NoStore));
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
        fn hop_by_hop_fields_are_never_retained_and_added_ones_never_shown(
            names in proptest::collection::vec("[a-z-]{1,12}", 0..8),
            never in proptest::sample::select(NEVER.to_vec()),
        ) {
            let mut request = headers(&[(never, "x")]);
            let keep: Vec<_> = names.iter().map(|name| HeaderName::try_from(name).unwrap()).collect();
            for name in &keep {
                request.append(name, "x");
            }
            for (name, value) in retained(&request, &keep) {
                prop_assert!(name != never);
                prop_assert!(is_listed(&name) || value.is_sensitive());
            }
        }
    }
}
