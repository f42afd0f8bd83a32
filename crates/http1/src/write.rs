//! Heads and chunks as they are sent. Everything is sent as HTTP/1.1 (RFC 9112 §2.3).

use std::num::NonZeroU64;

use message::{Decimal, Status, View};

/// The end of a line, and of a chunk.
pub const CRLF: &[u8] = b"\r\n";

const VERSION: &[u8] = b"HTTP/1.1";

/// A request line would not be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("method or target can't stand in a request line")]
pub struct InvalidRequestLine;

/// Writes the head of a request, its target in parts. What the fields say of the body's length is the caller's business:
/// see [`declare_length`](crate::declare_length).
///
/// # Errors
/// [`InvalidRequestLine`] if the method is no token, or the target is empty or not printable ASCII: a target that was
/// rewritten can't split the request. Then nothing was written.
pub fn write_request_head(
    out: &mut Vec<u8>,
    method: &[u8],
    target: &[&[u8]],
    fields: View<'_>,
) -> Result<(), InvalidRequestLine> {
    let is_printable = target.iter().all(|part| part.iter().all(u8::is_ascii_graphic));
    let is_empty = target.iter().all(|part| part.is_empty());
    if !message::is_token(method) || is_empty || !is_printable {
        return Err(InvalidRequestLine);
    }
    out.extend_from_slice(method);
    out.push(b' ');
    for part in target {
        out.extend_from_slice(part);
    }
    out.push(b' ');
    out.extend_from_slice(VERSION);
    out.extend_from_slice(CRLF);
    fields.write(out);
    out.extend_from_slice(CRLF);
    Ok(())
}

/// Writes the head of a response with the registry's reason phrase. What the fields say of the body's length is the
/// caller's business: see [`declare_length`](crate::declare_length).
pub fn write_response_head(out: &mut Vec<u8>, status: Status, fields: View<'_>) {
    out.extend_from_slice(VERSION);
    out.push(b' ');
    out.extend_from_slice(Decimal::new(u64::from(status.code())).as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.reason().as_bytes());
    out.extend_from_slice(CRLF);
    fields.write(out);
    out.extend_from_slice(CRLF);
}

/// The line in front of a chunk's content; [`CRLF`] follows the content.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader(Digits<18>);

impl ChunkHeader {
    /// The header of a chunk with so much content. A chunk without content would end the body.
    #[must_use]
    pub fn new(content_bytes: NonZeroU64) -> Self {
        let mut digits = Digits::default();
        digits.prepend(b'\n');
        digits.prepend(b'\r');
        let mut rest = content_bytes.get();
        while rest > 0 {
            let digit = u8::try_from(rest & 0xf).unwrap_or_default();
            digits.prepend(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            rest >>= 4;
        }
        Self(digits)
    }

    /// The line with its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Writes the last chunk, the trailers, and the end of the body.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<View<'_>>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write(out);
    }
    out.extend_from_slice(CRLF);
}

/// Up to `N` bytes, written from the last to the first.
#[derive(Clone, Copy, Debug)]
struct Digits<const N: usize> {
    bytes: [u8; N],
    start: usize,
}

impl<const N: usize> Default for Digits<N> {
    fn default() -> Self {
        Self { bytes: [0; N], start: N }
    }
}

impl<const N: usize> Digits<N> {
    fn prepend(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}
