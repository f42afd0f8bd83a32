//! The rules as they were, on a map of names in lower case.

use http::HeaderMap;
use http::HeaderName;
pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) static X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
pub(crate) fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}
pub(crate) fn is_override(name: &str) -> bool {
    matches!(
        name,
        "x-original-url"
            | "x-original-uri"
            | "x-original-host"
            | "x-original-method"
            | "x-rewrite-url"
            | "x-host"
            | "x-http-host-override"
            | "x-scheme"
            | "x-url-scheme"
            | "front-end-https"
            | "x-script-name"
            | "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
    )
}
pub(crate) fn is_order(name: &str) -> bool {
    name.starts_with("forebay-") || name.starts_with("x-forebay-")
}
pub(crate) fn is_ours(name: &str) -> bool {
    is_forwarding(name) || matches!(name, "via" | "x-request-id") || is_order(name)
}
pub(crate) fn is_underscore_twin(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let hyphened: String = name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    is_ours(&hyphened) || is_override(&hyphened) || KNOWN.contains(&hyphened.as_str())
}
const KNOWN: &[&str] = &[
    "accept-encoding",
    "cache-control",
    "cf-connecting-ip",
    "client-ip",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "fastly-client-ip",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "remote-addr",
    "remote-user",
    "set-cookie",
    "surrogate-control",
    "transfer-encoding",
    "true-client-ip",
    "user-agent",
    "www-authenticate",
    "x-api-key",
    "x-auth-token",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-csrf-token",
    "x-original-forwarded-for",
    "x-remote-user",
    "x-requested-with",
    "x-ssl-client-cert",
    "x-user",
];

pub(crate) fn drop_forwarding(headers: &mut HeaderMap) -> usize {
    drop_where(headers, is_forwarding)
}
pub(crate) fn drop_where(headers: &mut HeaderMap, condemned: impl Fn(&str) -> bool) -> usize {
    let names: Vec<HeaderName> = headers.keys().filter(|name| condemned(name.as_str())).cloned().collect();
    for name in &names {
        headers.remove(name);
    }
    names.len()
}
