//! Decides which trailer fields are forwarded (RFC 9110 §6.5.1).
//!
//! Trailers are never merged into the header section, but forwarded as trailers.

use message::{Field, Known};

use super::names;

/// Whether a trailer field may be forwarded: it does not frame, route, authenticate, modify or describe a message, and
/// does not concern the connection, caching, cookies or forwarding.
///
/// The fields that remain are useful after the body: checksums, signatures, timings, statuses.
#[must_use]
pub fn may_pass(trailer: Field<'_>) -> bool {
    const PREFIXES: [&[u8]; 7] =
        [b"content-", b"if-", b"proxy-", b"access-control-", b"sec-", b"cross-origin-", b"accept-"];
    let name = trailer.name.to_ascii_lowercase();
    // RFC 9530 §2 explicitly allows this digest of the content as a trailer.
    if name == b"content-digest" {
        return true;
    }
    let is_forbidden = names::OURS.with(Known::Override).contains(trailer.known)
        || names::is_underscore_twin(&name)
        || FORBIDDEN.contains(&name.as_slice())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    !is_forbidden
}

const FORBIDDEN: &[&[u8]] = &[
    b"accept",
    b"age",
    b"alt-svc",
    b"authorization",
    b"cache-control",
    b"cdn-cache-control",
    b"clear-site-data",
    b"connection",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"host",
    b"keep-alive",
    b"last-modified",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"range",
    b"referer",
    b"retry-after",
    b"set-cookie",
    b"strict-transport-security",
    b"surrogate-control",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"vary",
    b"warning",
    b"www-authenticate",
    b"x-content-type-options",
    b"x-frame-options",
];

#[cfg(test)]
mod tests {
    use super::*;
    use message::Fields;

    fn trailers(names: &[&str]) -> Fields {
        names.iter().map(|name| (name, "1")).collect()
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
            "X-Request-ID",
        ];
        let mut all = trailers(&names);
        assert_eq!(all.retain(may_pass), names.len());
        assert!(all.is_empty());
    }

    #[test]
    fn trailers_that_only_describe_what_was_sent_pass() {
        let names = ["grpc-status", "grpc-message", "server-timing", "etag", "content-digest", "repr-digest", "x-sum"];
        let mut all = trailers(&names);
        assert_eq!(all.retain(may_pass), 0);
        assert_eq!(all, trailers(&names));
    }
}
