//! HTTP/1.1 on the wire, without IO: bytes in, events out (RFC 9112).
//!
//! [`RequestHead`] and [`ResponseHead`] are scanned as their bytes arrive, under [`HeadLimits`]. [`request_framing`] and
//! [`response_framing`] say where the body ends; a [`BodyDecoder`] finds that end. [`write_request_head`],
//! [`write_response_head`], [`ChunkHeader`] and [`write_last_chunk`] are the way out. There are no sockets here, no clock
//! and no waits.
//!
//! The scanner is our own, with httparse as its oracle in tests: one pass finds ranges and tags, and resumes at the byte
//! where it stopped, while httparse returns slices and begins again with each read. It looks at sixteen bytes at a time;
//! what that fast path does not accept goes to a state machine, which takes single bytes and names what is wrong.
//!
//! One set of rules holds for every head on a connection, and it is stricter than RFC 9112 requires of a recipient:
//!
//! - Lines end in CRLF. A bare LF, which RFC 9112 §2.2 lets a recipient take as the end of a line, is refused, since kept
//!   lines are forwarded as they were received.
//! - A bare CR, NUL, another control character but the tab, a folded line, whitespace around a field name are refused.
//! - Empty lines before a request are skipped (RFC 9112 §2.2); they count towards the size of its head.
//! - A target is printable ASCII; what else it may not hold is the business of its grammar.

mod body;
mod bytes;
mod chunked;
mod connection;
mod error;
mod extension;
mod framing;
mod limits;
mod lines;
mod request;
mod response;
mod write;

pub use body::{BodyDecoder, Event};
pub use chunked::ChunkDecoder;
pub use connection::persists;
pub use error::{Error, Sender};
pub use framing::{Framing, Length, ResponseFraming, declare_length, request_framing, response_framing};
pub use limits::{BodyLimits, HEAD_BYTES_CAP, HeadLimits};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use write::{CRLF, ChunkHeader, InvalidRequestLine, write_last_chunk, write_request_head, write_response_head};

/// The minor version of HTTP/1 that a message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

#[cfg(test)]
mod tests;
