//! The PROXY protocol, versions 1 and 2: a header in front of a connection's bytes, by which a load balancer says whose
//! connection it passes on.
//!
//! Its source is HAProxy's `proxy-protocol.txt`. Who may send such a header is not decided here.

use std::net::SocketAddr;

mod crc32c;
mod v1;
mod v2;
mod write;

pub use write::{Version, write};

/// The longest header that is accepted, in bytes. Version 2 has room for 64 KiB, of which senders use some hundred bytes,
/// and a few thousand when they pass on a certificate.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The ends of the connection that is passed on. `None`: the sender speaks for itself, as its health checks do, or the
    /// client has no IP address.
    pub addresses: Option<Addresses>,
    /// Whether the client speaks TLS with the sender.
    pub is_secure: bool,
    /// The host name that the client has asked the sender for, in lower case: its server name (SNI), as a rule.
    pub authority: Option<Box<str>>,
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// The one that the client has connected to.
    pub destination: SocketAddr,
}

/// How far the beginning of a connection is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header is not there as a whole.
    NeedsMore,
    /// The connection does not begin with a header.
    Absent,
    /// The header, and how many bytes it takes.
    Complete(Header, usize),
}

/// Why a header can't be used; the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The header is longer than it may be.
    #[error("a PROXY header of more than {HEADER_BYTES_MAX} bytes, or a line of more than 107")]
    TooLong,
    /// A line of version 1 is not as it should be.
    #[error("a malformed PROXY line")]
    Line,
    /// A header of another version, or with a command, family or protocol that does not exist.
    #[error("a PROXY header of an unknown version, command, family or protocol")]
    Unknown,
    /// The addresses or further values do not fit the length.
    #[error("a PROXY header whose length does not fit its content")]
    Length,
    /// The checksum is wrong.
    #[error("a PROXY header with a wrong checksum")]
    Checksum,
}

/// Reads the header that a connection begins with, from what has come so far.
///
/// # Errors
/// What is wrong with it. A connection that does not begin like a header is no error, but [`Progress::Absent`].
pub fn parse(bytes: &[u8]) -> Result<Progress, Malformed> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    let found = if begins(v1::SIGNATURE) {
        v1::parse(bytes)?
    } else if begins(v2::SIGNATURE) {
        v2::parse(bytes)?
    } else {
        return Ok(Progress::Absent);
    };
    Ok(found.map_or(Progress::NeedsMore, |(header, length)| Progress::Complete(header, length)))
}

#[cfg(test)]
mod tests;
