//! Which trailer fields may pass (RFC 9110 §6.5.1).
//!
//! Trailers are never merged into the header section; they are cleaned and passed on as trailers.

use message::Fields;

use super::names;

/// Takes away all trailer fields that frame, route, authenticate, modify or describe a message, or that are about
/// the connection, caching, cookies or forwarding; says how many names were dropped.
///
/// What is left is what a recipient can use after the body: checksums, signatures, timings, statuses.
pub fn clean(trailers: &mut Fields) -> usize {
    if trailers.keys().any(|name| is_forbidden(name.as_str())) { names::drop_where(trailers, is_forbidden) } else { 0 }
}

fn is_forbidden(name: &str) -> bool {
    // RFC 9530 §2 sends this digest of the content as a trailer by design.
    if name == "content-digest" {
        return false;
    }
    const PREFIXES: [&str; 7] = ["content-", "if-", "proxy-", "access-control-", "sec-", "cross-origin-", "accept-"];
    names::is_ours(name)
        || names::is_override(name)
        || names::is_underscore_twin(name)
        || FORBIDDEN.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const FORBIDDEN: &[&str] = &[
    "accept",
    "age",
    "alt-svc",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "clear-site-data",
    "connection",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "surrogate-control",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "warning",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn trailers(names: &[&'static str]) -> Fields {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect()
    }

    #[test]
    fn trailers_named_host_content_length_or_authorization_are_dropped() {
        let names = [
            "host",
            "content-length",
            "authorization",
            "transfer-encoding",
            "set-cookie",
            "x-forwarded-for",
            "x_forwarded_for",
            "cache-control",
            "if-match",
            "x-http-method-override",
            "x-request-id",
        ];
        let mut all = trailers(&names);
        assert_eq!(clean(&mut all), names.len());
        assert!(all.is_empty());
    }

    #[test]
    fn trailers_that_only_describe_what_was_sent_pass() {
        let names = ["grpc-status", "grpc-message", "server-timing", "etag", "content-digest", "repr-digest", "x-sum"];
        let mut all = trailers(&names);
        assert_eq!(clean(&mut all), 0);
        assert_eq!(all, trailers(&names));
    }
}
