//! Classifies field names: forwarding fields, fields that only this proxy writes, and names with underscores that
//! resemble known ones.
//!
//! `hop` decides what is forwarded to the next hop, `trailers` what is forwarded from trailers.

use message::{Known, KnownSet};

/// `X-Forwarded-Scheme`, which has no tag of its own.
pub const X_FORWARDED_SCHEME: &str = "X-Forwarded-Scheme";

/// Fields that describe the client and the proxies between: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`.
pub const FORWARDING: KnownSet = KnownSet::of(&[
    Known::Forwarded,
    Known::XForwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::XRealIp,
]);

/// Fields that only this proxy writes: forwarding fields, `Via`, `X-Request-ID`, `Forebay-*`, `X-Forebay-*`, and those
/// with a client's certificate.
pub const OURS: KnownSet =
    FORWARDING.union(KnownSet::of(&[Known::Via, Known::XRequestId, Known::Forebay, Known::ClientCertificate]));

/// Whether a name equals a known one after its underscores are replaced by hyphens: `content_length`,
/// `x_forwarded-for`.
///
/// CGI-like interfaces map both to the same variable (`HTTP_X_FORWARDED_FOR`), so such a name could spoof the field
/// that was checked. Other names with underscores are not affected. Ignores case.
#[must_use]
pub fn is_underscore_twin(name: &[u8]) -> bool {
    if !name.contains(&b'_') {
        return false;
    }
    let hyphened: Vec<u8> =
        name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
    OURS.with(Known::Override).contains(Known::of(&hyphened)) || KNOWN.contains(&hyphened.as_slice())
}

/// Names with a hyphen of fields that affect framing, routing, authentication, caching or attribution.
const KNOWN: &[&[u8]] = &[
    b"accept-encoding",
    b"cache-control",
    b"cf-connecting-ip",
    b"client-ip",
    b"content-disposition",
    b"content-encoding",
    b"content-language",
    b"content-length",
    b"content-location",
    b"content-range",
    b"content-type",
    b"fastly-client-ip",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"remote-addr",
    b"remote-user",
    b"set-cookie",
    b"surrogate-control",
    b"transfer-encoding",
    b"true-client-ip",
    b"user-agent",
    b"www-authenticate",
    b"x-api-key",
    b"x-auth-token",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-csrf-token",
    b"x-original-forwarded-for",
    b"x-remote-user",
    b"x-requested-with",
    b"x-ssl-client-cert",
    b"x-user",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscore_twins_of_known_names_are_found_in_any_case() {
        for name in ["x_forwarded_for", "content_length", "x-forwarded_host", "x_original_url", "X_Forwarded_For"] {
            assert!(is_underscore_twin(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_name_without_an_underscore_or_of_nothing_known_is_no_twin() {
        for name in ["x-forwarded-for", "my_field", "forebay", "_"] {
            assert!(!is_underscore_twin(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn forwarding_fields_are_those_that_say_who_asked() {
        for name in ["x-forwarded-for", "X-Forwarded-Prefix", "forwarded", "X-Real-IP"] {
            assert!(FORWARDING.contains(Known::of(name.as_bytes())), "{name}");
        }
        for name in ["accept", "x-original-url", "x-forwarded", "via"] {
            assert!(!FORWARDING.contains(Known::of(name.as_bytes())), "{name}");
        }
    }
}
