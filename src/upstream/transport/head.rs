//! Heads on the wire and as header maps: the only place where one becomes the other.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use http1::{Length, ResponseHead};
use message::{Decimal, Fields, Known, KnownSet};
use policy::message::hop;

/// The head of a request to a backend. Its framing fields are not looked at but for a length of zero: the body says how
/// long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, in origin form or `*`.
    pub target: &'a Uri,
    /// The fields.
    pub fields: &'a Fields,
    /// A `Host` in place of that among the fields.
    pub host: Option<&'a HeaderValue>,
}

thread_local! {
    /// Memory for the next response's head: it is rarely in use for longer than one poll.
    pub(super) static SPARE: Cell<Option<Box<ResponseHead>>> = const { Cell::new(None) };
}

/// Fields that hold more than these bytes are not kept for others.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Keeps the index of fields that are not needed any more for the next response's head.
pub(crate) fn keep_lines(fields: Fields) {
    if fields.heap_bytes() <= KEPT_BYTES_MAX
        && let Some(mut head) = SPARE.take()
    {
        head.fields = fields.into_lines();
        SPARE.set(Some(head));
    }
}

/// Fields that say how long a body is.
const FRAMING: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);

/// Writes a request's head in wire form, with the one framing field that its body asks for.
pub(super) fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_>, length: Length) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = head.host {
        write_line(out, b"Host", host.as_bytes());
    }
    let length = if is_declared(head.fields, length) { None } else { Some(length) };
    let framing = if length.is_none() { KnownSet::EMPTY } else { FRAMING };
    head.fields.write_without(if head.host.is_some() { framing.with(Known::Host) } else { framing }, out);
    match length {
        None => {}
        // A request that says that it has no content goes on saying so (RFC 9110 §8.6).
        Some(Length::Undeclared) if head.fields.has(Known::ContentLength) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Some(Length::Undeclared) => {}
        Some(Length::Known(length)) => {
            write_line(out, b"Content-Length", Decimal::new(length).as_bytes());
        }
        Some(Length::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(http1::CRLF);
}

/// Whether the fields say already that a body has this length, once, in canonical form, and nothing else of it.
fn is_declared(fields: &Fields, length: Length) -> bool {
    let Length::Known(length) = length else { return false };
    let declared = fields.only(Known::ContentLength);
    !fields.has(Known::TransferEncoding) && declared == Some(Decimal::new(length).as_bytes())
}

/// Writes the end of a chunked body: the last chunk and these trailers.
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        write_line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(http1::CRLF);
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(http1::CRLF);
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    /// The status.
    pub status: StatusCode,
    /// The version that the backend speaks.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
}

/// That of no response: what a client gets instead of one has this status.
impl Default for Head {
    fn default() -> Self {
        Self { status: StatusCode::BAD_GATEWAY, version: Version::HTTP_11, fields: Fields::default() }
    }
}

/// The head of a response that was scanned from `bytes`, which it keeps, with the `Content-Length` that is to be declared
/// and no other. The scanned head is left without fields.
pub(super) fn response(head: &mut ResponseHead, bytes: Bytes, declared: Length) -> Option<Head> {
    let declared = if declared == Length::Chunked { Length::Undeclared } else { declared };
    let version = match head.version() {
        http1::Version::Http10 => Version::HTTP_10,
        http1::Version::Http11 => Version::HTTP_11,
    };
    let status = StatusCode::from_u16(head.status().code()).ok()?;
    let mut lines = std::mem::take(&mut head.fields);
    http1::declare_length(&mut lines, &bytes, declared).ok()?;
    Some(Head { status, version, fields: Fields::received(bytes, lines) })
}

/// Trailers as a header map.
pub(super) fn trailers(lines: &message::Lines, section: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for field in lines.view(section).all() {
        let (name, value) = (HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?);
        map.try_append(name, value).ok()?;
    }
    Some(map)
}

/// A 1xx response as it goes to the client: without the fields of the backend's connection (RFC 9110 §7.6.1).
#[must_use]
pub(crate) fn interim(status: StatusCode, mut fields: Fields) -> Vec<u8> {
    let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
    own.apply(&mut fields);
    let reason = status.canonical_reason().unwrap_or("Informational");
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    fields.write(&mut wire);
    wire.extend_from_slice(http1::CRLF);
    wire
}

#[cfg(test)]
mod tests {
    use http1::HeadLimits;

    use super::*;

    fn written(headers: &[(&'static str, &'static str)], host: Option<&HeaderValue>, length: Length) -> String {
        let fields: Fields = headers.iter().copied().collect();
        let target = Uri::from_static("/a?b=c");
        let mut out = Vec::new();
        write_request(&mut out, &RequestHead { method: &Method::PUT, target: &target, fields: &fields, host }, length);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whatever_the_fields_say_a_request_is_framed_once_and_as_its_body_is() {
        let both = [("content-length", "7"), ("transfer-encoding", "chunked"), ("host", "h")];
        let framed = |length| written(&both, None, length);
        let begin = "PUT /a?b=c HTTP/1.1\r\nhost: h\r\n";
        assert_eq!(framed(Length::Known(42)), format!("{begin}Content-Length: 42\r\n\r\n"));
        assert_eq!(framed(Length::Chunked), format!("{begin}Transfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(framed(Length::Undeclared), format!("{begin}Content-Length: 0\r\n\r\n"));
        assert_eq!(written(&[("host", "h")], None, Length::Undeclared), format!("{begin}\r\n"));
    }

    #[test]
    fn a_length_that_the_fields_declare_once_and_in_canonical_form_is_left_as_it_is() {
        let begin = "PUT /a?b=c HTTP/1.1\r\n";
        for (fields, rest) in [
            ([("content-length", "7"), ("a", "1")].as_slice(), "content-length: 7\r\na: 1\r\n\r\n"),
            (&[("content-length", "07"), ("a", "1")], "a: 1\r\nContent-Length: 7\r\n\r\n"),
            (&[("content-length", "8"), ("a", "1")], "a: 1\r\nContent-Length: 7\r\n\r\n"),
            (&[("content-length", "7"), ("Content-Length", "7")], "Content-Length: 7\r\n\r\n"),
            (&[("content-length", "7"), ("transfer-encoding", "chunked")], "Content-Length: 7\r\n\r\n"),
        ] {
            assert_eq!(written(fields, None, Length::Known(7)), format!("{begin}{rest}"));
        }
    }

    #[test]
    fn another_host_stands_in_place_of_the_clients() {
        let host = HeaderValue::from_static("backend");
        let text = written(&[("host", "h"), ("a", "1")], Some(&host), Length::Undeclared);
        assert_eq!(text, "PUT /a?b=c HTTP/1.1\r\nHost: backend\r\na: 1\r\n\r\n");
    }

    fn read(text: &'static str, declared: Length) -> Head {
        let mut head = ResponseHead::default();
        let end = head.scan(text.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!(end, Some(text.len()));
        response(&mut head, Bytes::from_static(text.as_bytes()), declared).unwrap()
    }

    #[test]
    fn a_response_declares_one_length_in_its_canonical_form() {
        for lines in ["Content-Length: 7\r\n", "Content-Length: 007\r\nA: 1\r\ncontent-length: 7, 7\r\n"] {
            let text: &'static str = format!("HTTP/1.0 200 OK\r\n{lines}\r\n").leak();
            let known = read(text, Length::Known(7));
            assert_eq!((known.version, known.fields.first("content-length")), (Version::HTTP_10, Some(&b"7"[..])));
            assert_eq!(known.fields.values("content-length").count(), 1);
            assert!(!read(text, Length::Undeclared).fields.contains("content-length"));
        }
    }

    #[test]
    fn a_1xx_response_keeps_no_field_of_the_backends_connection() {
        let fields = [("link", "</a>"), ("connection", "x-a"), ("x-a", "1")];
        let wire = interim(StatusCode::EARLY_HINTS, fields.into_iter().collect());
        assert_eq!(wire, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    }
}
