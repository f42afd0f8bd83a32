//! What rare fields a head holds, found in one pass over its names.
//!
//! Most requests hold none of them, so most of the work in this module's siblings can be skipped. Values are not
//! looked at.

use http::header::HOST;
use message::Fields;

use super::names;

/// A kind of field that needs work when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rare {
    /// `Connection`.
    Connection,
    /// Fields of one connection other than those with a kind of their own: `Keep-Alive`, `Proxy-Connection`,
    /// `Proxy-Authenticate`, `Proxy-Authentication-Info`, `Proxy-Authorization`.
    HopByHop,
    /// `TE`.
    Te,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Content-Length`.
    ContentLength,
    /// `Upgrade`.
    Upgrade,
    /// `Expect`.
    Expect,
    /// `Trailer`.
    Trailer,
    /// `Forwarded`, `X-Forwarded-*`, `X-Real-IP`.
    Forwarding,
    /// `X-Original-URL`, `X-HTTP-Method-Override` and their like.
    Override,
    /// Any name with an underscore.
    Underscore,
    /// `Max-Forwards`.
    MaxForwards,
    /// `Via`.
    Via,
    /// `X-Request-Id`.
    RequestId,
    /// `Cache-Control`, `Pragma`.
    CacheControl,
    /// `If-Match` and its kin, `Range`.
    Condition,
    /// `Forebay-*`, `X-Forebay-*`.
    Ours,
}

impl Rare {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The rare fields of one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    bits: u32,
    hosts: usize,
}

impl Census {
    /// Counts a head. Names are in lower case, as the `http` crate keeps them.
    #[must_use]
    pub fn of(headers: &Fields) -> Self {
        let mut census = Self::default();
        for name in headers.keys() {
            match classify(name.as_str()) {
                Kind::Ordinary => {}
                Kind::Host => census.hosts = headers.get_all(HOST).iter().count(),
                Kind::Rare(rare) => census.bits |= rare.bit(),
            }
        }
        census
    }

    /// Whether the head holds a field of this kind.
    #[must_use]
    pub const fn has(&self, rare: Rare) -> bool {
        self.bits & rare.bit() != 0
    }

    /// Whether the head holds a field that belongs to one connection (RFC 9110 §7.6.1).
    #[must_use]
    pub const fn has_hop_by_hop(&self) -> bool {
        const ALL: u32 = Rare::Connection.bit()
            | Rare::HopByHop.bit()
            | Rare::Te.bit()
            | Rare::TransferEncoding.bit()
            | Rare::Upgrade.bit();
        self.bits & ALL != 0
    }

    /// How many `Host` lines the head holds; anything but one is refused (RFC 9112 §3.2).
    #[must_use]
    pub const fn hosts(&self) -> usize {
        self.hosts
    }
}

enum Kind {
    Ordinary,
    Host,
    Rare(Rare),
}

/// Length first: most names of ordinary requests leave here after one comparison and a look for underscores.
fn classify(name: &str) -> Kind {
    let rare = match (name.len(), name) {
        (2, "te") => Rare::Te,
        (3, "via") => Rare::Via,
        (4, "host") => return Kind::Host,
        (5, "range") | (8, "if-match" | "if-range") | (13, "if-none-match") => Rare::Condition,
        (17, "if-modified-since") | (19, "if-unmodified-since") => Rare::Condition,
        (6, "pragma") | (13, "cache-control") => Rare::CacheControl,
        (6, "expect") => Rare::Expect,
        (7, "upgrade") => Rare::Upgrade,
        (7, "trailer") => Rare::Trailer,
        (9, "forwarded" | "x-real-ip") => Rare::Forwarding,
        (10, "connection") => Rare::Connection,
        (10, "keep-alive") => Rare::HopByHop,
        (12, "max-forwards") => Rare::MaxForwards,
        (12, "x-request-id") => Rare::RequestId,
        (14, "content-length") => Rare::ContentLength,
        (17, "transfer-encoding") => Rare::TransferEncoding,
        (16 | 18 | 19 | 25, _) if is_proxy_field(name) => Rare::HopByHop,
        (6 | 8 | 12..=15 | 17 | 20 | 22, _) if names::is_override(name) => Rare::Override,
        (12.., _) if name.starts_with("x-forwarded-") => Rare::Forwarding,
        (9.., _) if names::is_order(name) => Rare::Ours,
        _ if name.as_bytes().contains(&b'_') => Rare::Underscore,
        _ => return Kind::Ordinary,
    };
    Kind::Rare(rare)
}

/// `Proxy-Authenticate` and its kin are meant for the next proxy only (RFC 9110 §11.7), so they end here.
fn is_proxy_field(name: &str) -> bool {
    matches!(name, "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "proxy-authentication-info")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn census(names: &[&'static str]) -> Census {
        let mut headers = Fields::new();
        for name in names {
            headers.append(&HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        Census::of(&headers)
    }

    #[test]
    fn an_ordinary_request_holds_nothing_rare() {
        let ordinary = ["host", "accept", "accept-encoding", "user-agent", "cookie", "authorization", "x-tenant"];
        assert_eq!(census(&ordinary), Census { bits: 0, hosts: 1 });
    }

    #[test]
    fn a_request_without_host_and_one_with_two_are_told_apart() {
        assert_eq!(census(&["accept"]).hosts(), 0);
        assert_eq!(census(&["host", "accept", "host"]).hosts(), 2);
    }

    #[test]
    fn every_rare_field_is_seen_and_no_other() {
        let cases = [
            ("connection", Rare::Connection),
            ("keep-alive", Rare::HopByHop),
            ("proxy-connection", Rare::HopByHop),
            ("proxy-authenticate", Rare::HopByHop),
            ("proxy-authorization", Rare::HopByHop),
            ("proxy-authentication-info", Rare::HopByHop),
            ("te", Rare::Te),
            ("transfer-encoding", Rare::TransferEncoding),
            ("content-length", Rare::ContentLength),
            ("upgrade", Rare::Upgrade),
            ("expect", Rare::Expect),
            ("trailer", Rare::Trailer),
            ("forwarded", Rare::Forwarding),
            ("x-real-ip", Rare::Forwarding),
            ("x-forwarded-for", Rare::Forwarding),
            ("x-forwarded-prefix", Rare::Forwarding),
            ("x-forwarded-by-some-very-long-name", Rare::Forwarding),
            ("x-original-url", Rare::Override),
            ("x-rewrite-url", Rare::Override),
            ("x-http-method-override", Rare::Override),
            ("x-http-method", Rare::Override),
            ("x-method-override", Rare::Override),
            ("x_forwarded_for", Rare::Underscore),
            ("max-forwards", Rare::MaxForwards),
            ("via", Rare::Via),
            ("x-request-id", Rare::RequestId),
        ];
        for (name, rare) in cases {
            assert_eq!(census(&[name]), Census { bits: rare.bit(), hosts: 0 }, "{name}");
            assert!(census(&[name]).has(rare), "{name}");
        }
    }
}
