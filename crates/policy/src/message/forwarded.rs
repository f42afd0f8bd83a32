//! Determines the client from `X-Forwarded-*` and `Forwarded` (RFC 7239), as far as the peer is trusted.
//!
//! `forwarding_fields` writes the fields of the forwarded request.
//!
//! A hop counts only if the next one to its right is trusted, so fields written by an untrusted client have no effect.
//! If both kinds of field are present, `X-Forwarded-For` takes precedence: nearly every proxy writes it, so a
//! `Forwarded` next to it was most likely sent by the client and passed through.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use message::{Fields, Known, Name};

use super::host::Host;
use super::list::{elements_from_right, is_token};
use super::names::{FORWARDING, X_FORWARDED_SCHEME};
use super::network::Network;
use super::scheme::Scheme;

/// The most hops that are read; those further away are ignored.
pub const HOPS_MAX: usize = 32;

/// The client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The furthest address that can be trusted; the peer's own if none can.
    pub address: IpAddr,
    /// The client's scheme: that of the peer's connection, unless a trusted proxy names another.
    pub scheme: Scheme,
    /// The client's `Host` according to a trusted proxy; valid, in normal form for the scheme.
    pub host: Option<Box<str>>,
    /// All hops named by a trusted peer, nearest first, at most [`HOPS_MAX`]; empty if the peer is not trusted. `None`:
    /// obfuscated, or not an address.
    pub hops: Vec<Option<IpAddr>>,
}

/// A trusted proxy names a scheme other than `http`, `https`, `ws` or `wss`: 400. Any replacement could turn a secure
/// request into an insecure one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scheme in X-Forwarded-Proto, X-Forwarded-Scheme or Forwarded")]
pub struct UnknownScheme;

/// Determines the client of a request whose peer's connection has this scheme. For an untrusted peer no field is read
/// and nothing is allocated.
///
/// # Errors
/// [`UnknownScheme`] → 400.
pub fn client(peer: IpAddr, scheme: Scheme, fields: &Fields, trusted: &[Network]) -> Result<Client, UnknownScheme> {
    let peer = peer.to_canonical();
    let mut client = Client { address: peer, scheme, host: None, hops: Vec::new() };
    if !holds(trusted, peer) {
        return Ok(client);
    }
    let tags = fields.tags();
    if !tags.intersects(FORWARDING) {
        return Ok(client);
    }
    let (scheme, host) = if !tags.contains(Known::XForwardedFor) && tags.contains(Known::Forwarded) {
        read_forwarded(&mut client, fields, trusted)
    } else {
        read_forwarded_for(&mut client, fields, trusted);
        let depth = believed(&client.hops, trusted);
        let said = |name: Name<'static>| said_at(fields.values(name), depth);
        let scheme = said(Known::XForwardedProto.into()).or_else(|| said(X_FORWARDED_SCHEME.into()));
        (scheme, said(Known::XForwardedHost.into()))
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

/// The number of trusted hops, nearest first, if the peer is trusted: all up to and including the first whose address
/// is unknown or not trusted, because its trusted neighbour vouches for it.
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

fn read_forwarded_for(client: &mut Client, fields: &Fields, trusted: &[Network]) {
    client.hops.extend(elements_from_right(fields.values(Known::XForwardedFor)).take(HOPS_MAX).map(parse_address));
    if let Some(last) = believed(&client.hops, trusted).checked_sub(1).and_then(|index| client.hops.get(index)) {
        client.address = last.unwrap_or(client.address);
    }
}

/// The scheme and host at the client's hop, as written.
fn read_forwarded<'a>(
    client: &mut Client,
    fields: &'a Fields,
    trusted: &[Network],
) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
    let lines = || fields.values(Known::Forwarded);
    let elements = || elements_from_right(lines()).take(HOPS_MAX).map(|one| Element::parse(one).unwrap_or_default());
    client.hops.extend(elements().map(|element| element.address));
    let last = believed(&client.hops, trusted).checked_sub(1).and_then(|index| elements().nth(index));
    let Some(last) = last else { return (None, None) };
    client.address = last.address.unwrap_or(client.address);
    (last.proto.map(str::as_bytes), last.host.map(str::as_bytes))
}

/// The element for the hop at this depth, counted from the right, of a list that grows with each hop. Proxies that
/// overwrite the field leave a shorter list; then its first element is the best match.
fn said_at<'a>(lines: impl DoubleEndedIterator<Item = &'a [u8]>, depth: usize) -> Option<&'a [u8]> {
    elements_from_right(lines).take(depth.clamp(1, HOPS_MAX)).last()
}

fn normal_host(bytes: &[u8], scheme: Scheme) -> Option<Box<str>> {
    Some(Host::parse(bytes).ok()?.authority(scheme).into())
}

/// An address with or without a port; an IPv6 address with or without brackets.
fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?;
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(address.to_canonical())
}

/// One element of `Forwarded`: `for=192.0.2.1;proto=https;host=example.com`.
#[derive(Debug, Default)]
struct Element<'a> {
    address: Option<IpAddr>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    /// `None` if any part is malformed.
    ///
    /// Splits at every comma and semicolon, even within quotes. Proxies that write addresses, schemes or hosts need
    /// neither, and so a quote that an untrusted client leaves open cannot hide what a trusted proxy has appended.
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

/// A token, or the content of a quoted string. Strings with escapes are rejected, because no address, scheme or host
/// needs any. Unquoted addresses and ports are accepted, because many proxies write `for=[::1]:80`.
fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inside| !inside.contains(['"', '\\'])),
        None => Some(value).filter(|token| !token.is_empty() && !token.contains(['"', '\\', ' ', '\t'])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::fields;
    use super::*;
    use proptest::prelude::*;

    fn asked(peer: &str, fields: &[(&str, &str)]) -> Client {
        read(peer, fields).unwrap()
    }

    fn read(peer: &str, pairs: &[(&str, &str)]) -> Result<Client, UnknownScheme> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client(peer.parse().unwrap(), Scheme::Http, &fields(pairs), &trusted)
    }

    fn address(peer: &str, fields: &[(&str, &str)]) -> String {
        asked(peer, fields).address.to_string()
    }

    #[test]
    fn an_untrusted_peer_is_believed_nothing() {
        let peer = "192.0.2.1".parse().unwrap();
        let nothing = Client { address: peer, scheme: Scheme::Http, host: None, hops: Vec::new() };
        for proto in ["https", "gopher"] {
            let fields = [("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.2"), ("x-forwarded-proto", proto)];
            assert_eq!(asked("192.0.2.1", &fields), nothing);
        }
    }

    #[test]
    fn the_way_is_read_from_right_to_left_up_to_the_first_stranger() {
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.2")]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 192.0.2.1")]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")]), "10.0.0.3");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn several_lines_are_joined() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(address("10.0.0.1", &lines), "192.0.2.1");
    }

    #[test]
    fn what_is_no_address_ends_the_belief() {
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, unknown, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "\u{e4}, 192.0.2.1")]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[("x-forwarded-for", "rubbish")]), "10.0.0.1");
    }

    #[test]
    fn addresses_are_read_with_ports_and_brackets_and_mapped_ones_as_ipv4() {
        for (written, read) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address("::ffff:10.0.0.1", &[("x-forwarded-for", written)]), read);
        }
    }

    #[test]
    fn forwarded_is_read_with_scheme_and_host() {
        let value = "for=6.6.6.6, For=\"[2001:db8::1]:4711\";proto=HTTPS;by=_me;host=\"A.example:08443\", for=10.0.0.2";
        let client = asked("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(client.address.to_string(), "2001:db8::1");
        assert_eq!(client.scheme, Scheme::Https);
        assert_eq!(client.host.as_deref(), Some("a.example:8443"));
        assert_eq!(client.hops.len(), 3);
    }

    #[test]
    fn a_quote_left_open_by_a_stranger_swallows_nothing() {
        assert_eq!(address("10.0.0.1", &[("forwarded", "for=\"x, for=192.0.2.1")]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[("forwarded", "host=\"a, for=6.6.6.6, b\"")]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[("forwarded", "for=192.0.2.1;host=\"a;for=6.6.6.6\"")]), "10.0.0.1");
    }

    #[test]
    fn x_forwarded_for_wins_over_forwarded() {
        let fields = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(address("10.0.0.1", &fields), "192.0.2.1");
    }

    #[test]
    fn scheme_and_host_are_those_seen_at_the_clients_hop() {
        let client = asked(
            "10.0.0.1",
            &[
                ("x-forwarded-for", "6.6.6.6, 192.0.2.1, 10.0.0.2"),
                ("x-forwarded-proto", "gopher, https, http"),
                ("x-forwarded-host", "a.example"),
            ],
        );
        assert_eq!((client.scheme, client.host.as_deref()), (Scheme::Https, Some("a.example")));
        assert_eq!(asked("10.0.0.1", &[("x-forwarded-host", "a@b/c")]).host, None);
        assert_eq!(asked("10.0.0.1", &[("x-forwarded-proto", "https")]).scheme, Scheme::Https);
    }

    #[test]
    fn a_web_socket_s_scheme_is_the_one_that_its_handshake_goes_over() {
        for (name, value, scheme) in [
            ("x-forwarded-proto", "wss", Scheme::Https),
            ("x-forwarded-proto", "WS", Scheme::Http),
            ("x-forwarded-scheme", "wss", Scheme::Https),
            ("forwarded", "for=192.0.2.1;proto=wss", Scheme::Https),
            ("x-forwarded-proto", "", Scheme::Http),
        ] {
            assert_eq!(asked("10.0.0.1", &[(name, value)]).scheme, scheme, "{name}: {value}");
        }
        let both = [("x-forwarded-proto", "http"), ("x-forwarded-scheme", "https")];
        assert_eq!(asked("10.0.0.1", &both).scheme, Scheme::Http);
    }

    #[test]
    fn an_unknown_scheme_is_refused_where_it_would_count() {
        for (name, value) in [
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-proto", "https, gopher"),
            ("x-forwarded-scheme", "quic"),
            ("forwarded", "for=192.0.2.1;proto=gopher"),
        ] {
            assert_eq!(read("10.0.0.1", &[(name, value)]), Err(UnknownScheme), "{name}: {value}");
        }
        let farther = "for=6.6.6.6;proto=gopher, for=192.0.2.1;proto=https";
        assert_eq!(asked("10.0.0.1", &[("forwarded", farther)]).scheme, Scheme::Https);
        let beside = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1;proto=gopher")];
        assert_eq!(asked("10.0.0.1", &beside).scheme, Scheme::Http);
    }

    #[test]
    fn only_the_nearest_hops_are_kept() {
        let client = asked("10.0.0.1", &[("x-forwarded-for", &"10.0.0.2,".repeat(1000))]);
        assert_eq!(client.hops.len(), HOPS_MAX);
    }

    proptest! {
        #[test]
        fn reading_never_panics(line in "[ -~]{0,80}", other in "(for=|\"|,|;|[0-9.:\\[\\]]|proto=|host=|\\\\){0,30}") {
            let _ = read("10.0.0.1", &[("forwarded", &other), ("forwarded", &line)]);
            let _ = read("10.0.0.1", &[("x-forwarded-for", &other), ("x-forwarded-for", &line)]);
        }

        #[test]
        fn nothing_left_of_a_stranger_is_believed(
            spoofed in "[ -~]{0,60}",
            nearer in proptest::collection::vec("10\\.0\\.0\\.[1-9]", 0..4),
        ) {
            let nearer: String = nearer.iter().map(|hop| format!(", {hop}")).collect();
            let value = format!("{spoofed}, 192.0.2.1{nearer}");
            prop_assert_eq!(address("10.0.0.1", &[("x-forwarded-for", &value)]), "192.0.2.1");
            let value = format!("{spoofed}, for=192.0.2.1{}", nearer.replace(", ", ", for="));
            prop_assert_eq!(address("10.0.0.1", &[("forwarded", &value)]), "192.0.2.1");
        }
    }
}
