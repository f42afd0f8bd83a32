//! Writes the fields of a forwarded request that describe the client: `X-Forwarded-For`, `-Proto`, `-Host` and
//! `Forwarded`.
//!
//! `forwarded` decides what is trusted. Fields from an untrusted peer are overwritten; those from a trusted one are
//! rewritten with the peer appended, consistently in both kinds of field. `Forwarded` has only `for` and `proto`, so
//! that its value is the same for all requests of a connection; `X-Forwarded-Host` has the host.
//!
//! There is one scheme: the client's. `X-Forwarded-Proto`, `X-Forwarded-Scheme` (if received) and each element of
//! `Forwarded` have it, because backends differ in which element they read, and an untrusted client may have written
//! the first one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use message::{Edit, Fields, Known, KnownSet};

use super::forwarded::Client;
use super::names::{FORWARDING, X_FORWARDED_SCHEME};
use super::network::Network;
use super::scheme::Scheme;

/// The forwarding fields that are rewritten for a trusted peer; its others pass.
const REWRITTEN: KnownSet =
    KnownSet::of(&[Known::Forwarded, Known::XForwardedFor, Known::XForwardedHost, Known::XForwardedProto]);

/// The forwarding fields of one client connection, computed once and written into each of its requests.
#[derive(Clone, Debug)]
pub struct ForwardingFields {
    peer: IpAddr,
    is_trusted: bool,
    forwarded_for: String,
    forwarded: String,
    scheme: Scheme,
}

/// The forwarding fields of one request.
#[derive(Debug)]
pub struct Stamped<'s> {
    /// Fields to drop.
    dropped: KnownSet,
    forwarded_for: Cow<'s, str>,
    forwarded: Cow<'s, str>,
    host: &'s [u8],
    scheme: Scheme,
    /// Whether `X-Forwarded-Scheme` is present and must be rewritten.
    names_scheme: bool,
}

impl Stamped<'_> {
    /// The edits that write the fields.
    pub fn edits(&self) -> impl Iterator<Item = Edit<'_>> {
        let scheme = self.scheme.as_str().as_bytes();
        let dropped = (!self.dropped.is_empty()).then_some(Edit::DropKnown(self.dropped));
        let named = self.names_scheme.then(|| Edit::set(X_FORWARDED_SCHEME, scheme));
        let written = [
            Edit::append(Known::XForwardedFor, self.forwarded_for.as_bytes()),
            Edit::append(Known::XForwardedProto, scheme),
            Edit::append(Known::XForwardedHost, self.host),
            Edit::append(Known::Forwarded, self.forwarded.as_bytes()),
        ];
        dropped.into_iter().chain(named).chain(written)
    }
}

impl ForwardingFields {
    /// The fields for a connection from `peer` with `scheme`.
    #[must_use]
    pub fn new(peer: IpAddr, scheme: Scheme, trusted: &[Network]) -> Self {
        let peer = peer.to_canonical();
        Self {
            peer,
            is_trusted: trusted.iter().any(|network| network.contains(peer)),
            forwarded_for: forwarded_for([Some(peer)].into_iter()),
            forwarded: forwarded([Some(peer)].into_iter(), scheme),
            scheme,
        }
    }

    /// Whether the peer is trusted.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The forwarding fields of a request. `client` was determined from its fields, and `host` is the `Host` received.
    ///
    /// For an untrusted peer nothing is allocated, and every other forwarding field (`X-Forwarded-Port`, `X-Real-IP`,
    /// …) is dropped; from a trusted peer those pass.
    #[must_use]
    pub fn write<'s>(&'s self, fields: &Fields, client: &'s Client, host: &'s [u8]) -> Stamped<'s> {
        let present = fields.tags().intersection(FORWARDING);
        if !self.is_trusted || present.is_empty() {
            let (forwarded_for, forwarded) = (Cow::from(&self.forwarded_for), Cow::from(&self.forwarded));
            let scheme = self.scheme;
            return Stamped { dropped: present, forwarded_for, forwarded, host, scheme, names_scheme: false };
        }
        let way = || client.hops.iter().rev().copied().chain([Some(self.peer)]);
        Stamped {
            dropped: present.intersection(REWRITTEN),
            forwarded_for: forwarded_for(way()).into(),
            forwarded: forwarded(way(), client.scheme).into(),
            host: client.host.as_deref().map_or(host, str::as_bytes),
            scheme: client.scheme,
            names_scheme: fields.contains(X_FORWARDED_SCHEME),
        }
    }
}

/// The value of `X-Forwarded-For`, furthest hop first. Unknown hops are `unknown`; ports are left out.
fn forwarded_for(way: impl Iterator<Item = Option<IpAddr>>) -> String {
    joined(way, |text, hop| match hop {
        Some(address) => write!(text, "{address}"),
        None => text.write_str("unknown"),
    })
}

/// The value of `Forwarded`, furthest hop first (RFC 7239 §4 and §6).
fn forwarded(way: impl Iterator<Item = Option<IpAddr>>, scheme: Scheme) -> String {
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
) -> String {
    let mut text = String::new();
    for hop in way {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = write(&mut text, hop);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::forwarded::client;
    use super::super::scripted::{fields, values};
    use super::*;

    fn stamped(peer: &str, pairs: &[(&str, &str)]) -> Fields {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut fields = fields(pairs);
        let peer = peer.parse().unwrap();
        let client = client(peer, Scheme::Http, &fields, &trusted).unwrap();
        let stamp = ForwardingFields::new(peer, Scheme::Http, &trusted);
        fields.apply_all(stamp.write(&fields, &client, b"shop.example").edits());
        fields
    }

    /// The only value of this name.
    fn value(fields: &Fields, name: &str) -> String {
        let values = values(fields, name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values.concat()
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
        assert_eq!(value(&headers, "x-forwarded-for"), "192.0.2.1");
        assert_eq!(value(&headers, "x-forwarded-proto"), "http");
        assert_eq!(value(&headers, "x-forwarded-host"), "shop.example");
        assert_eq!(value(&headers, "forwarded"), "for=192.0.2.1;proto=http");
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn a_peer_with_ipv6_is_quoted_in_forwarded() {
        let headers = stamped("2001:db8::1", &[]);
        assert_eq!(value(&headers, "x-forwarded-for"), "2001:db8::1");
        assert_eq!(value(&headers, "forwarded"), "for=\"[2001:db8::1]\";proto=http");
    }

    #[test]
    fn what_a_trusted_peer_wrote_is_appended_to() {
        let headers = stamped(
            "10.0.0.1",
            &[("x-forwarded-for", "192.0.2.1:99"), ("x-forwarded-for", "10.0.0.2"), ("x-forwarded-proto", "https")],
        );
        assert_eq!(value(&headers, "x-forwarded-for"), "192.0.2.1, 10.0.0.2, 10.0.0.1");
        assert_eq!(value(&headers, "x-forwarded-proto"), "https");
        assert_eq!(value(&headers, "x-forwarded-host"), "shop.example");
        let forwarded = "for=192.0.2.1;proto=https, for=10.0.0.2;proto=https, for=10.0.0.1;proto=https";
        assert_eq!(value(&headers, "forwarded"), forwarded);
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn both_kinds_of_field_say_the_same_onward() {
        let headers = stamped("10.0.0.1", &[("forwarded", "for=_x, for=\"[2001:db8::1]\";proto=https;host=a.example")]);
        assert_eq!(value(&headers, "x-forwarded-for"), "unknown, 2001:db8::1, 10.0.0.1");
        assert_eq!(value(&headers, "x-forwarded-proto"), "https");
        assert_eq!(value(&headers, "x-forwarded-host"), "a.example");
        let forwarded = "for=unknown;proto=https, for=\"[2001:db8::1]\";proto=https, for=10.0.0.1;proto=https";
        assert_eq!(value(&headers, "forwarded"), forwarded);
        let headers = stamped("10.0.0.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")]);
        assert_eq!(value(&headers, "forwarded"), "for=192.0.2.1;proto=http, for=10.0.0.1;proto=http");
    }

    #[test]
    fn all_fields_that_name_a_scheme_name_the_client_s() {
        let fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "wss"), ("x-forwarded-scheme", "http")];
        let headers = stamped("10.0.0.1", &fields);
        assert_eq!(
            (value(&headers, "x-forwarded-proto"), value(&headers, "x-forwarded-scheme")),
            ("https".to_owned(), "https".to_owned())
        );
        let farther = [("forwarded", "for=6.6.6.6;proto=https, for=192.0.2.1;proto=http")];
        assert_eq!(value(&stamped("10.0.0.1", &farther), "forwarded").matches("proto=http,").count(), 2);
        assert!(!value(&stamped("10.0.0.1", &farther), "forwarded").contains("https"));
    }

    #[test]
    fn an_endless_way_is_cut_at_the_far_end() {
        let long = Box::leak(format!("6.6.6.6{}", ", 10.1.1.1".repeat(500)).into_boxed_str());
        let headers = stamped("10.0.0.1", &[("x-forwarded-for", long)]);
        assert!(!value(&headers, "x-forwarded-for").contains("6.6.6.6"));
        assert!(value(&headers, "forwarded").len() < 4096);
    }
}
