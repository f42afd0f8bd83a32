//! Version 2: addresses in binary form, and further values behind them (TLVs).

use std::net::{IpAddr, SocketAddr};

use super::crc32c::{self, Crc32c};
use super::{Addresses, HEADER_BYTES_MAX, Header, Malformed};

/// What the header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How long the part before the addresses is, in bytes: signature, version and command, family and protocol, length.
pub(super) const FIXED_BYTES: usize = 16;

/// The host name that the client asked for.
pub(super) const AUTHORITY: u8 = 0x02;
/// The checksum of the header.
const CRC32C: u8 = 0x03;
/// What is known of the client's TLS connection.
pub(super) const SSL: u8 = 0x20;
/// In the first byte of [`SSL`]: the client speaks TLS.
pub(super) const CLIENT_SSL: u8 = 0x01;
/// How long a value of [`SSL`] is at least: flags, and whether the client's certificate was verified.
const SSL_BYTES_MIN: usize = 5;
/// The longest host name, in bytes.
const HOST_BYTES_MAX: usize = 255;

/// The kind of addresses: the upper half of a byte.
enum Family {
    Unspecified,
    Ipv4,
    Ipv6,
    Unix,
}

/// Reads the header; `None`: it is not there as a whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., version_and_command, kind, high, low] = *fixed;
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Unknown),
    };
    let family = family(kind)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(content) = rest.get(..length) else { return Ok(None) };
    let header = match is_local {
        // The sender speaks for itself: what else it says is to be ignored.
        true => Header::default(),
        false => content_of(&family, content, fixed)?,
    };
    Ok(Some((header, FIXED_BYTES + length)))
}

/// The family; the lower half is the protocol: unspecified, stream or datagram, as with QUIC.
fn family(kind: u8) -> Result<Family, Malformed> {
    let family = match kind >> 4 {
        0 => Family::Unspecified,
        1 => Family::Ipv4,
        2 => Family::Ipv6,
        3 => Family::Unix,
        _ => return Err(Malformed::Unknown),
    };
    if kind & 0x0F <= 2 { Ok(family) } else { Err(Malformed::Unknown) }
}

fn content_of(family: &Family, content: &[u8], fixed: &[u8]) -> Result<Header, Malformed> {
    let (addresses, values) = match family {
        // Nothing says how long its addresses are.
        Family::Unspecified => return Ok(Header::default()),
        Family::Ipv4 => pair::<4>(content)?,
        Family::Ipv6 => pair::<16>(content)?,
        Family::Unix => {
            const PATHS_BYTES: usize = 2 * 108;
            (None, content.get(PATHS_BYTES..).ok_or(Malformed::Length)?)
        }
    };
    let mut header = Header { addresses, ..Header::default() };
    let mut rest = values;
    while let Some(value) = next(&mut rest)? {
        match value.kind {
            AUTHORITY => header.authority = authority(value.content),
            SSL if value.content.len() < SSL_BYTES_MIN => return Err(Malformed::Length),
            SSL => header.is_secure = value.content.first().is_some_and(|flags| flags & CLIENT_SSL != 0),
            CRC32C => {
                let before = content.len() - rest.len() - value.content.len();
                check(fixed, content, before, value.content)?;
            }
            _ => {}
        }
    }
    Ok(header)
}

/// Two addresses of so many bytes, their ports, and what follows.
fn pair<const N: usize>(content: &[u8]) -> Result<(Option<Addresses>, &[u8]), Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = content.split_first_chunk::<N>().ok_or(Malformed::Length)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Malformed::Length)?;
    let (ports, rest) = rest.split_first_chunk::<4>().ok_or(Malformed::Length)?;
    let [a, b, c, d] = *ports;
    let addresses = Addresses {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([c, d])),
    };
    Ok((Some(addresses), rest))
}

/// A value behind the addresses.
struct Value<'a> {
    kind: u8,
    content: &'a [u8],
}

/// Takes the next value; `None`: there is no more.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Value<'a>>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let ([kind, high, low], behind) = rest.split_first_chunk::<3>().ok_or(Malformed::Length)?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (content, behind) = behind.split_at_checked(length).ok_or(Malformed::Length)?;
    *rest = behind;
    Ok(Some(Value { kind: *kind, content }))
}

/// A host name in lower case; what is none is ignored.
fn authority(name: &[u8]) -> Option<Box<str>> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=HOST_BYTES_MAX).contains(&name.len()) && name.iter().all(is_of_name);
    let text = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    Some(text.to_ascii_lowercase().into())
}

/// Checks the checksum, which lies behind so many bytes of the content and counts as zero itself.
fn check(fixed: &[u8], content: &[u8], before: usize, given: &[u8]) -> Result<(), Malformed> {
    let given = given.first_chunk::<{ crc32c::BYTES }>().filter(|_| given.len() == crc32c::BYTES);
    let given = u32::from_be_bytes(*given.ok_or(Malformed::Length)?);
    let (front, behind) = content.split_at_checked(before).ok_or(Malformed::Length)?;
    let behind = behind.get(crc32c::BYTES..).ok_or(Malformed::Length)?;
    let found = Crc32c::default().with(fixed).with(front).with(&[0; crc32c::BYTES]).with(behind).value();
    if found == given { Ok(()) } else { Err(Malformed::Checksum) }
}
