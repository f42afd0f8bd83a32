//! Which field names need care: forwarding fields, our own, overrides, and twins written with underscores.
//!
//! Whether a field may pass from one hop to the next is decided in `hop`, from trailers in `trailers`.

use http::HeaderName;
use message::Fields;

/// `x-request-id`.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `x-forwarded-for`.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `x-forwarded-host`.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// `x-forwarded-scheme`.
pub static X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");

/// Whether a field says who asked, by way of whom: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`. Lower case is expected.
#[must_use]
pub fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
}

/// Whether a field asks a backend to treat the request as one for another target, scheme or method. Lower case is
/// expected.
///
/// The route was chosen and the access judged by what the request line says, so untrusted peers may not send these.
#[must_use]
pub fn is_override(name: &str) -> bool {
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

/// Whether a field tells this proxy something, or is told by it: `Forebay-*`, `X-Forebay-*`. Lower case is expected.
#[must_use]
pub fn is_order(name: &str) -> bool {
    name.starts_with("forebay-") || name.starts_with("x-forebay-")
}

/// Whether only this proxy writes a field: forwarding fields, `Via`, `X-Request-Id`, `Forebay-*`, `X-Forebay-*`.
/// Lower case is expected.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    is_forwarding(name) || matches!(name, "via" | "x-request-id") || is_order(name)
}

/// Whether a name reads as a known one once its underscores become hyphens: `content_length`, `x_forwarded-for`.
///
/// CGI-like interfaces give both the same variable (`HTTP_X_FORWARDED_FOR`), so a twin can pass for the field that
/// was checked. Other names with underscores are left alone. Any case.
#[must_use]
pub fn is_underscore_twin(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let hyphened: String = name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect();
    is_ours(&hyphened) || is_override(&hyphened) || KNOWN.contains(&hyphened.as_str())
}

/// Names with a hyphen that change how a request is framed, routed, authenticated, cached or attributed.
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

/// Takes away all underscore twins of known names; says how many.
pub fn drop_twins(headers: &mut Fields) -> usize {
    drop_where(headers, is_underscore_twin)
}

/// Takes away all fields for which [`is_override`] holds; says how many.
pub fn drop_overrides(headers: &mut Fields) -> usize {
    drop_where(headers, is_override)
}

/// Takes away all fields for which [`is_order`] holds; says how many.
pub fn drop_orders(headers: &mut Fields) -> usize {
    drop_where(headers, is_order)
}

/// Takes away all fields for which [`is_forwarding`] holds; says how many.
pub fn drop_forwarding(headers: &mut Fields) -> usize {
    drop_where(headers, is_forwarding)
}

/// Takes away every field whose lower-case name is condemned; says how many names.
pub(crate) fn drop_where(headers: &mut Fields, condemned: impl Fn(&str) -> bool) -> usize {
    let names: Vec<HeaderName> = headers.keys().filter(|name| condemned(name.as_str())).cloned().collect();
    for name in &names {
        headers.remove(name);
    }
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(names: &[&'static str]) -> Fields {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect()
    }

    #[test]
    fn underscore_twins_of_known_names_are_dropped_and_counted() {
        let mut all = headers(&["x_forwarded_for", "content_length", "x-forwarded_host", "x_original_url", "my_field"]);
        assert_eq!(drop_twins(&mut all), 4);
        assert_eq!(all, headers(&["my_field"]));
    }

    #[test]
    fn a_name_without_an_underscore_is_no_twin() {
        assert!(!is_underscore_twin("x-forwarded-for"));
        assert!(is_underscore_twin("X_Forwarded_For"));
    }

    #[test]
    fn overrides_and_forwarding_fields_are_dropped_with_all_their_lines() {
        let mut all = headers(&["x-original-url", "x-http-method-override", "accept"]);
        all.append("x-original-url", HeaderValue::from_static("2"));
        assert_eq!(drop_overrides(&mut all), 2);
        assert_eq!(all, headers(&["accept"]));
        let mut all = headers(&["x-forwarded-for", "x-forwarded-prefix", "forwarded", "x-real-ip", "accept"]);
        assert_eq!(drop_forwarding(&mut all), 4);
        assert_eq!(all, headers(&["accept"]));
    }
}
