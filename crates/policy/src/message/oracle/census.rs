//! The rules as they were, on a map of names in lower case.

use http::HeaderMap;
use http::header::HOST;

use super::names;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rare {
    Connection,
    HopByHop,
    Te,
    TransferEncoding,
    ContentLength,
    Upgrade,
    Expect,
    Trailer,
    Forwarding,
    Override,
    Underscore,
    MaxForwards,
    Via,
    RequestId,
    CacheControl,
    Condition,
    Ours,
}

impl Rare {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    bits: u32,
    hosts: usize,
}

impl Census {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
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
    pub(crate) const fn has(&self, rare: Rare) -> bool {
        self.bits & rare.bit() != 0
    }
    pub(crate) const fn has_hop_by_hop(&self) -> bool {
        const ALL: u32 = Rare::Connection.bit()
            | Rare::HopByHop.bit()
            | Rare::Te.bit()
            | Rare::TransferEncoding.bit()
            | Rare::Upgrade.bit();
        self.bits & ALL != 0
    }
    pub(crate) const fn hosts(&self) -> usize {
        self.hosts
    }
}

enum Kind {
    Ordinary,
    Host,
    Rare(Rare),
}
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
fn is_proxy_field(name: &str) -> bool {
    matches!(name, "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "proxy-authentication-info")
}
