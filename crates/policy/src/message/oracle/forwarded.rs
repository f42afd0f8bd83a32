//! The rules as they were, on a map of names in lower case.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::HeaderValue;
use http::header::{FORWARDED, GetAll};

use super::super::host::Host;
use super::super::network::Network;
use super::super::scheme::Scheme;
use super::list::{elements_from_right, is_token};
use super::names::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_SCHEME};
pub(crate) const HOPS_MAX: usize = 32;
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) hops: Vec<Option<IpAddr>>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scheme in X-Forwarded-Proto, X-Forwarded-Scheme or Forwarded")]
pub(crate) struct UnknownScheme;
pub(crate) fn client(
    peer: IpAddr,
    scheme: Scheme,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Result<Client, UnknownScheme> {
    let peer = peer.to_canonical();
    let mut client = Client { address: peer, scheme, host: None, hops: Vec::new() };
    if !holds(trusted, peer) {
        return Ok(client);
    }
    let forwarded_for = headers.get_all(&X_FORWARDED_FOR);
    let (scheme, host) = if forwarded_for.iter().next().is_none() && headers.contains_key(FORWARDED) {
        read_forwarded(&mut client, &headers.get_all(FORWARDED), trusted)
    } else {
        read_forwarded_for(&mut client, &forwarded_for, trusted);
        let depth = believed(&client.hops, trusted);
        let said = |name| said_at(&headers.get_all(name), depth);
        (said(&X_FORWARDED_PROTO).or_else(|| said(&X_FORWARDED_SCHEME)), said(&X_FORWARDED_HOST))
    };
    if let Some(scheme) = scheme {
        client.scheme = Scheme::of_proxy(scheme).ok_or(UnknownScheme)?;
    }
    client.host = host.and_then(|host| normal_host(host, client.scheme));
    Ok(client)
}

fn holds(trusted: &[Network], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}
fn believed(hops: &[Option<IpAddr>], trusted: &[Network]) -> usize {
    let mut depth = 0;
    for address in hops.iter().map_while(Option::as_ref) {
        depth += 1;
        if !holds(trusted, *address) {
            break;
        }
    }
    depth
}

fn read_forwarded_for(client: &mut Client, lines: &GetAll<'_, HeaderValue>, trusted: &[Network]) {
    client.hops.extend(elements_from_right(lines).take(HOPS_MAX).map(parse_address));
    if let Some(last) = believed(&client.hops, trusted).checked_sub(1).and_then(|index| client.hops.get(index)) {
        client.address = last.unwrap_or(client.address);
    }
}
fn read_forwarded<'a>(
    client: &mut Client,
    lines: &GetAll<'a, HeaderValue>,
    trusted: &[Network],
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let elements = || elements_from_right(lines).take(HOPS_MAX).map(|one| Element::parse(one).unwrap_or_default());
    client.hops.extend(elements().map(|element| element.address));
    let last = believed(&client.hops, trusted).checked_sub(1).and_then(|index| elements().nth(index));
    let Some(last) = last else { return (None, None) };
    client.address = last.address.unwrap_or(client.address);
    (last.proto.map(str::as_bytes), last.host.map(str::as_bytes))
}
fn said_at<'a>(lines: &GetAll<'a, HeaderValue>, depth: usize) -> Option<&'a [u8]> {
    elements_from_right(lines).take(depth.clamp(1, HOPS_MAX)).last()
}

fn normal_host(bytes: &[u8], scheme: Scheme) -> Option<HeaderValue> {
    HeaderValue::from_str(&Host::parse(bytes).ok()?.authority(scheme)).ok()
}
fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?;
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}
#[derive(Debug, Default)]
struct Element<'a> {
    address: Option<IpAddr>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut element = Self::default();
        for pair in text.split(';').map(str::trim_ascii).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=')?;
            let value = unquote(value)?;
            if name.eq_ignore_ascii_case("for") {
                element.address = parse_address(value.as_bytes());
            } else if name.eq_ignore_ascii_case("proto") {
                element.proto = Some(value);
            } else if name.eq_ignore_ascii_case("host") {
                element.host = Some(value);
            } else if !is_token(name.as_bytes()) {
                return None;
            }
        }
        Some(element)
    }
}
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inside| !inside.contains(['"', '\\'])),
        None => Some(value).filter(|token| !token.is_empty() && !token.contains(['"', '\\', ' ', '\t'])),
    }
}
