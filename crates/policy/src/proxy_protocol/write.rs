//! Headers that are sent to backends.

use std::net::SocketAddr;

use super::{Addresses, Header, v1, v2};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary; it also says whether the client speaks TLS, and for which host name.
    V2,
}

/// The name of a version of TLS within [`v2::SSL`].
const SSL_VERSION: u8 = 0x21;
/// Nothing is said of a certificate of the client.
const UNVERIFIED: [u8; 4] = [0, 0, 0, 1];

/// The header for a connection; without addresses it says that forebay speaks for itself (`LOCAL`, `UNKNOWN`).
/// `tls_version`: the version of TLS that the client speaks, if it is known.
#[must_use]
pub fn write(version: Version, header: &Header, tls_version: Option<&str>) -> Vec<u8> {
    match (version, header.addresses.map(one_family)) {
        (Version::V1, addresses) => line(addresses).into_bytes(),
        (Version::V2, None) => fixed(0x20, 0x00, &[]),
        (Version::V2, Some(addresses)) => {
            let (kind, mut content) = block(&addresses);
            if let Some(authority) = &header.authority {
                value(&mut content, v2::AUTHORITY, authority.as_bytes());
            }
            if header.is_secure {
                let mut ssl = vec![v2::CLIENT_SSL];
                ssl.extend_from_slice(&UNVERIFIED);
                if let Some(tls_version) = tls_version {
                    value(&mut ssl, SSL_VERSION, tls_version.as_bytes());
                }
                value(&mut content, v2::SSL, &ssl);
            }
            fixed(0x21, kind, &content)
        }
    }
}

/// The addresses in one family: IPv4 if both are, also where IPv6 holds them; else IPv6 holds them.
fn one_family(addresses: Addresses) -> Addresses {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(address) => SocketAddr::from((address.ip().to_ipv6_mapped(), address.port())),
        SocketAddr::V6(_) => address,
    };
    let (source, destination) = (canonical(addresses.source), canonical(addresses.destination));
    match source.is_ipv4() == destination.is_ipv4() {
        true => Addresses { source, destination },
        false => Addresses { source: mapped(source), destination: mapped(destination) },
    }
}

fn line(addresses: Option<Addresses>) -> String {
    let signature = String::from_utf8_lossy(v1::SIGNATURE);
    let Some(Addresses { source, destination }) = addresses else { return format!("{signature}UNKNOWN\r\n") };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let ports = (source.port(), destination.port());
    format!("{signature}{family} {} {} {} {}\r\n", source.ip(), destination.ip(), ports.0, ports.1)
}

fn fixed(version_and_command: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(v2::FIXED_BYTES + content.len());
    header.extend_from_slice(v2::SIGNATURE);
    header.extend_from_slice(&[version_and_command, kind]);
    header.extend_from_slice(&length(content));
    header.extend_from_slice(content);
    header
}

/// The kind of the addresses (a stream between them), and their bytes.
fn block(addresses: &Addresses) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    let both = [addresses.source, addresses.destination];
    for address in both {
        match address {
            SocketAddr::V4(address) => bytes.extend_from_slice(&address.ip().octets()),
            SocketAddr::V6(address) => bytes.extend_from_slice(&address.ip().octets()),
        }
    }
    for address in both {
        bytes.extend_from_slice(&address.port().to_be_bytes());
    }
    (if addresses.source.is_ipv4() { 0x11 } else { 0x21 }, bytes)
}

fn value(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&length(content));
    out.extend_from_slice(content);
}

/// A length as it is written. All that is written is far shorter than the most that it can say.
fn length(content: &[u8]) -> [u8; 2] {
    u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes()
}
