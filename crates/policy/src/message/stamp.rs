//! What a request says onward about who asked: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded`.
//!
//! Whom to believe is decided in `forwarded`. What an untrusted peer wrote is overwritten, what a trusted one wrote is
//! written anew with the peer appended, both kinds of field saying the same. `Forwarded` carries `for` and `proto`
//! only, so that its value is the same for all requests of a connection; the host is in `X-Forwarded-Host`.
//!
//! There is one scheme: the client's. `X-Forwarded-Proto`, `X-Forwarded-Scheme` (where it came) and each element of
//! `Forwarded` name it. Backends differ in which element they read; and what the first of them says may be a stranger's
//! word.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderValue;
use http::header::FORWARDED;
use message::Fields;

use super::census::{Census, Rare};
use super::forwarded::Client;
use super::names::{self, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_SCHEME};
use super::network::Network;
use super::scheme::Scheme;

/// What is said about one client connection: made once, cloned into each of its requests.
#[derive(Clone, Debug)]
pub struct Stamp {
    peer: IpAddr,
    is_trusted: bool,
    forwarded_for: HeaderValue,
    forwarded: HeaderValue,
    proto: HeaderValue,
}

impl Stamp {
    /// For a connection from `peer` over `scheme`.
    #[must_use]
    pub fn new(peer: IpAddr, scheme: Scheme, trusted: &[Network]) -> Self {
        let peer = peer.to_canonical();
        Self {
            peer,
            is_trusted: trusted.iter().any(|network| network.contains(peer)),
            forwarded_for: forwarded_for([Some(peer)].into_iter()),
            forwarded: forwarded([Some(peer)].into_iter(), scheme),
            proto: HeaderValue::from_static(scheme.as_str()),
        }
    }

    /// Whether the peer's forwarding headers are believed.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Writes the forwarding fields of a request. `client` was read from these headers, `census` counts them, and
    /// `host` is the `Host` that this proxy was asked for.
    ///
    /// For an untrusted peer nothing is allocated beyond the fields' places, and every other forwarding field
    /// (`X-Forwarded-Port`, `X-Real-IP`, …) is dropped; from a trusted one those pass.
    pub fn apply(&self, headers: &mut Fields, census: Census, client: &Client, host: &HeaderValue) {
        if self.is_trusted && census.has(Rare::Forwarding) {
            let way = || client.hops.iter().rev().copied().chain([Some(self.peer)]);
            let scheme = HeaderValue::from_static(client.scheme.as_str());
            headers.insert(&X_FORWARDED_FOR, forwarded_for(way()));
            headers.insert(FORWARDED, forwarded(way(), client.scheme));
            if headers.contains_key(&X_FORWARDED_SCHEME) {
                headers.insert(&X_FORWARDED_SCHEME, scheme.clone());
            }
            headers.insert(&X_FORWARDED_PROTO, scheme);
            headers.insert(&X_FORWARDED_HOST, client.host.as_ref().unwrap_or(host).clone());
            return;
        }
        if census.has(Rare::Forwarding) {
            names::drop_forwarding(headers);
        }
        headers.insert(&X_FORWARDED_FOR, self.forwarded_for.clone());
        headers.insert(&X_FORWARDED_PROTO, self.proto.clone());
        headers.insert(&X_FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED, self.forwarded.clone());
    }
}

/// The value of `X-Forwarded-For` for a way, furthest hop first. Unknown hops are `unknown`, ports are left out.
fn forwarded_for(way: impl Iterator<Item = Option<IpAddr>>) -> HeaderValue {
    joined(way, |text, hop| match hop {
        Some(address) => write!(text, "{address}"),
        None => text.write_str("unknown"),
    })
}

/// The value of `Forwarded` for a way, furthest hop first (RFC 7239 §4 and §6).
fn forwarded(way: impl Iterator<Item = Option<IpAddr>>, scheme: Scheme) -> HeaderValue {
    joined(way, |text, hop| {
        match hop {
            Some(IpAddr::V4(address)) => write!(text, "for={address}")?,
            Some(IpAddr::V6(address)) => write!(text, "for=\"[{address}]\"")?,
            None => text.write_str("for=unknown")?,
        }
        write!(text, ";proto={}", scheme.as_str())
    })
}

/// At most 33 hops of at most 64 bytes: some 2 KiB.
fn joined(
    way: impl Iterator<Item = Option<IpAddr>>,
    write: impl Fn(&mut String, Option<IpAddr>) -> std::fmt::Result,
) -> HeaderValue {
    let mut text = String::new();
    for hop in way {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a string can't fail.
        let _ = write(&mut text, hop);
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::super::forwarded::client;
    use super::*;
    use http::HeaderName;

    fn stamped(peer: &str, fields: &[(&'static str, &'static str)]) -> Fields {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(&HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let peer = peer.parse().unwrap();
        let client = client(peer, Scheme::Http, &headers, &trusted).unwrap();
        let census = Census::of(&headers);
        let host = HeaderValue::from_static("shop.example");
        Stamp::new(peer, Scheme::Http, &trusted).apply(&mut headers, census, &client, &host);
        headers
    }

    #[test]
    fn what_an_untrusted_peer_wrote_is_overwritten() {
        let headers = stamped(
            "192.0.2.1",
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "7.7.7.7"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-port", "1"),
                ("x-real-ip", "6.6.6.6"),
                ("forwarded", "for=6.6.6.6"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["forwarded"], "for=192.0.2.1;proto=http");
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn a_peer_with_ipv6_is_quoted_in_forwarded() {
        let headers = stamped("2001:db8::1", &[]);
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1");
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=http");
    }

    #[test]
    fn what_a_trusted_peer_wrote_is_appended_to() {
        let headers = stamped(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1:99"), ("x-forwarded-for", "10.0.0.2"), ("x-forwarded-proto", "https")],
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        let forwarded = "for=192.0.2.1;proto=https, for=10.0.0.2;proto=https, for=10.0.0.1;proto=https";
        assert_eq!(headers["forwarded"], forwarded);
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn both_kinds_of_field_say_the_same_onward() {
        let headers = stamped("10.0.0.1", &[("forwarded", "for=_x, for=\"[2001:db8::1]\";proto=https;host=a.example")]);
        assert_eq!(headers["x-forwarded-for"], "unknown, 2001:db8::1, 10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "a.example");
        let forwarded = "for=unknown;proto=https, for=\"[2001:db8::1]\";proto=https, for=10.0.0.1;proto=https";
        assert_eq!(headers["forwarded"], forwarded);
        let headers = stamped("10.0.0.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")]);
        assert_eq!(headers["forwarded"], "for=192.0.2.1;proto=http, for=10.0.0.1;proto=http");
    }

    #[test]
    fn all_fields_that_name_a_scheme_name_the_client_s() {
        let fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "wss"), ("x-forwarded-scheme", "http")];
        let headers = stamped("10.0.0.1", &fields);
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-scheme"]),
            (&"https".parse().unwrap(), &"https".parse().unwrap())
        );
        let farther = [("forwarded", "for=6.6.6.6;proto=https, for=192.0.2.1;proto=http")];
        assert_eq!(stamped("10.0.0.1", &farther)["forwarded"].to_str().unwrap().matches("proto=http,").count(), 2);
        assert!(!stamped("10.0.0.1", &farther)["forwarded"].to_str().unwrap().contains("https"));
    }

    #[test]
    fn an_endless_way_is_cut_at_the_far_end() {
        let long = Box::leak(format!("6.6.6.6{}", ", 10.1.1.1".repeat(500)).into_boxed_str());
        let headers = stamped("10.0.0.1", &[("x-forwarded-for", long)]);
        assert!(!headers["x-forwarded-for"].to_str().unwrap().contains("6.6.6.6"));
        assert!(headers["forwarded"].len() < 4096);
    }
}
