//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Header, Malformed};

/// What the line begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line with its end, in bytes.
const LINE_BYTES_MAX: usize = 107;

/// Reads the line; `None`: it is not there as a whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some(end) = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let line = bytes.get(SIGNATURE.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed::Line)?;
    let header = Header { addresses: addresses(text).ok_or(Malformed::Line)?, ..Header::default() };
    Ok(Some((header, end + 1)))
}

fn addresses(text: &str) -> Option<Option<Addresses>> {
    let mut words = text.split(' ');
    let reads = match words.next()? {
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Some(None),
        "TCP4" => ip::<Ipv4Addr>,
        "TCP6" => ip::<Ipv6Addr>,
        _ => return None,
    };
    let (source, destination) = (reads(words.next()?)?, reads(words.next()?)?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Some(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(Into::into)
}

/// A port in its one form: without a sign, and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_canonical)
}
