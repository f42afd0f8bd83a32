//! The head of a response as it goes to a client, and how its body is framed (RFC 9112 §6).

use http::StatusCode;
use message::{Decimal, Fields, Known, KnownSet};
use policy::message::list;

use crate::proxy::fast_hit::FastHit;

/// Fields that are this connection's own.
const OF_THE_CONNECTION: KnownSet = KnownSet::of(&[Known::Connection, Known::ContentLength, Known::TransferEncoding]);

/// How the end of a response's body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::downstream) enum Framing {
    /// There is no body.
    None,
    /// By its length: so many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// What is left behind so many bytes more of the body; `None`: they are more than there may be.
    pub(in crate::downstream) fn less(self, bytes: usize) -> Option<Self> {
        match self {
            Self::Length(left) => left.checked_sub(bytes as u64).map(Self::Length),
            Self::Chunked | Self::UntilClose => Some(self),
            Self::None => (bytes == 0).then_some(self),
        }
    }
}

/// What decides how a response is framed.
#[derive(Clone, Copy, Debug)]
pub(in crate::downstream) struct Terms {
    /// The request was HEAD.
    pub(in crate::downstream) is_head: bool,
    pub(in crate::downstream) is_http_1_0: bool,
    /// The length of the body, if it is known.
    pub(in crate::downstream) length: Option<u64>,
    /// Whether the connection closes behind the response.
    pub(in crate::downstream) closes: bool,
}

/// How a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::downstream) struct Framed {
    pub(in crate::downstream) framing: Framing,
    /// Whether the connection closes behind it.
    pub(in crate::downstream) closes: bool,
    is_head: bool,
    is_http_1_0: bool,
}

/// How a response with this status and these fields is framed.
pub(in crate::downstream) fn frame(status: StatusCode, fields: &Fields, terms: Terms) -> Framed {
    let asks_to_close = || fields.has(Known::Connection) && list::holds(fields.values(Known::Connection), "close");
    let closes = terms.closes || asks_to_close();
    let framing = match terms.length.or_else(|| declared(fields)) {
        _ if terms.is_head || ends_with_head(status) => Framing::None,
        Some(length) => Framing::Length(length),
        None if terms.is_http_1_0 => Framing::UntilClose,
        None => Framing::Chunked,
    };
    let closes = closes || framing == Framing::UntilClose;
    Framed { framing, closes, is_head: terms.is_head, is_http_1_0: terms.is_http_1_0 }
}

fn ends_with_head(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What `Content-Length` says, where it is one number.
fn declared(fields: &Fields) -> Option<u64> {
    let mut lengths = fields.values(Known::ContentLength);
    let length = lengths.next()?;
    let is_number = lengths.next().is_none() && length.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(length).ok().filter(|_| is_number)?.parse().ok()
}

/// Writes the head. `write_date` writes what `Date` says if the response has none.
pub(in crate::downstream) fn write_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &Fields,
    framed: Framed,
    write_date: impl FnOnce(&mut Vec<u8>),
) {
    write_status(out, status, framed.is_http_1_0);
    // A right length stays where it is.
    let is_declared = matches!(framed.framing, Framing::Length(length) if fields.declare_length(length));
    fields.write_without(if is_declared { HOP_BY_HOP } else { OF_THE_CONNECTION }, out);
    if !fields.contains(Known::Date) {
        out.extend_from_slice(b"Date: ");
        write_date(out);
        out.extend_from_slice(b"\r\n");
    }
    match framed.framing {
        Framing::Length(_) if is_declared => {}
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // The length of the body that a GET would have got (RFC 9110 §8.6).
        Framing::None if framed.is_head || status == StatusCode::NOT_MODIFIED => {
            if let Some(length) = declared(fields) {
                write_length(out, length);
            }
        }
        Framing::None | Framing::UntilClose => {}
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if framed.closes {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if framed.is_http_1_0 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that this connection writes itself, if it writes them.
const HOP_BY_HOP: KnownSet = KnownSet::of(&[Known::Connection, Known::TransferEncoding]);

/// Writes the head of a stored response to a plain GET: its status and fields, the length of its content among them.
pub(super) fn write_hit(out: &mut Vec<u8>, hit: &FastHit) {
    write_status(out, hit.stored.status(), false);
    hit.stored.write_fields(HOP_BY_HOP, out);
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: StatusCode, is_http_1_0: bool) {
    if status == StatusCode::OK && !is_http_1_0 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(if is_http_1_0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(Decimal::new(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a response with these fields, and how its body is framed.
    fn written(status: u16, fields: &[(&'static str, &'static str)], terms: Terms) -> (String, Framing) {
        let (status, fields) = (StatusCode::from_u16(status).unwrap(), fields.iter().copied().collect());
        let framed = frame(status, &fields, terms);
        let mut out = Vec::new();
        write_head(&mut out, status, &fields, framed, |out| out.extend_from_slice(b"now"));
        (String::from_utf8(out).unwrap(), framed.framing)
    }

    const PLAIN: Terms = Terms { is_head: false, is_http_1_0: false, length: Some(3), closes: false };
    const OLD: Terms = Terms { is_http_1_0: true, ..PLAIN };
    const ENDLESS: Terms = Terms { length: None, ..PLAIN };

    #[test]
    fn the_length_of_the_body_decides_its_framing_and_the_fields_say_nothing_else() {
        for (terms, fields, framing, says) in [
            (PLAIN, [("content-length", "003")].as_slice(), Framing::Length(3), "Content-Length: 3\r\n"),
            (PLAIN, &[("transfer-encoding", "chunked")], Framing::Length(3), "Content-Length: 3\r\n"),
            (ENDLESS, &[], Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
            (ENDLESS, &[("content-length", "7")], Framing::Length(7), "content-length: 7\r\n"),
            (Terms { is_http_1_0: true, ..ENDLESS }, &[], Framing::UntilClose, "Connection: close\r\n"),
        ] {
            let (head, found) = written(200, fields, terms);
            assert_eq!(found, framing, "{head}");
            let lower_case = head.to_lowercase();
            let framed = ["content-length", "transfer-encoding"].map(|name| lower_case.matches(name).count());
            let framed = framed.iter().sum::<usize>();
            assert!(head.contains(says) && framed == usize::from(framing != Framing::UntilClose), "{head}");
        }
    }

    #[test]
    fn a_response_without_a_body_says_at_most_how_long_it_would_be() {
        let head_request = Terms { is_head: true, ..PLAIN };
        for (status, terms, is_declared) in
            [(200, head_request, true), (304, PLAIN, true), (204, PLAIN, false), (101, PLAIN, false)]
        {
            let (head, found) = written(status, &[("content-length", "5")], terms);
            assert_eq!((found, head.contains("Content-Length: 5\r\n")), (Framing::None, is_declared), "{head}");
        }
        assert!(!written(200, &[], head_request).0.contains("Length"));
    }

    #[test]
    fn the_connection_says_what_becomes_of_it() {
        assert_eq!(written(200, &[], PLAIN).0, "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\n");
        let kept = "HTTP/1.0 404 Not Found\r\ndate: then\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(written(404, &[("date", "then")], OLD).0, kept);
        assert!(written(200, &[], Terms { closes: true, ..PLAIN }).0.ends_with("Connection: close\r\n\r\n"));
        assert!(written(200, &[("connection", "close")], PLAIN).0.ends_with("Connection: close\r\n\r\n"));
        assert!(written(101, &[("connection", "upgrade")], PLAIN).0.ends_with("Connection: upgrade\r\n\r\n"));
        assert!(written(599, &[], PLAIN).0.starts_with("HTTP/1.1 599 \r\n"));
    }
}
