//! The rules as they were, on a map of names in lower case.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderMap;
use http::HeaderValue;
use http::header::FORWARDED;

use super::super::network::Network;
use super::super::scheme::Scheme;
use super::census::{Census, Rare};
use super::forwarded::Client;
use super::names::{self, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_SCHEME};
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    peer: IpAddr,
    is_trusted: bool,
    forwarded_for: HeaderValue,
    forwarded: HeaderValue,
    proto: HeaderValue,
}

impl Stamp {
    pub(crate) fn new(peer: IpAddr, scheme: Scheme, trusted: &[Network]) -> Self {
        let peer = peer.to_canonical();
        Self {
            peer,
            is_trusted: trusted.iter().any(|network| network.contains(peer)),
            forwarded_for: forwarded_for([Some(peer)].into_iter()),
            forwarded: forwarded([Some(peer)].into_iter(), scheme),
            proto: HeaderValue::from_static(scheme.as_str()),
        }
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap, census: Census, client: &Client, host: &HeaderValue) {
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
fn forwarded_for(way: impl Iterator<Item = Option<IpAddr>>) -> HeaderValue {
    joined(way, |text, hop| match hop {
        Some(address) => write!(text, "{address}"),
        None => text.write_str("unknown"),
    })
}
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
