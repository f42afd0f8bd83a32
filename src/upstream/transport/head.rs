//! Heads on the wire and as header maps: the only place where one becomes the other.

use std::io::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use http1::{Length, ResponseHead};
use message::{Fields, Known, View};
use policy::message::hop;

/// The head of a request to a backend. Its framing fields are not looked at but for a length of zero: the body says how
/// long it is.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target, in origin form or `*`.
    pub target: &'a Uri,
    /// The fields.
    pub fields: &'a Fields,
    /// A `Host` in place of that among the fields.
    pub host: Option<&'a HeaderValue>,
}

/// Writes a request's head in wire form, with the one framing field that its body asks for.
pub(super) fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_>, length: Length) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.path_and_query().map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = head.host {
        write_line(out, header::HOST.as_str().as_bytes(), host.as_bytes());
    }
    let mut says_length = false;
    for (name, value) in &**head.fields {
        if *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING {
            says_length |= *name == header::CONTENT_LENGTH;
        } else if head.host.is_none() || *name != header::HOST {
            write_line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match length {
        // A request that says that it has no content goes on saying so (RFC 9110 §8.6).
        Length::Undeclared if says_length => out.extend_from_slice(b"content-length: 0\r\n"),
        Length::Undeclared => {}
        Length::Known(length) => {
            let _never_fails = write!(out, "content-length: {length}\r\n");
        }
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(http1::CRLF);
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
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The version that the backend speaks.
    pub version: Version,
    /// The fields.
    pub fields: Fields,
}

/// The head of a response with the `Content-Length` that is to be declared and no other. `bytes` are those that it was
/// scanned from; the values share their memory. `None`: it can't be held in a header map.
pub(super) fn response(head: &ResponseHead, bytes: &Bytes, declared: Length) -> Option<Head> {
    let fields = fields(head.view(bytes), head.fields.received_count(), bytes, declared)?;
    let version = match head.version() {
        http1::Version::Http10 => Version::HTTP_10,
        http1::Version::Http11 => Version::HTTP_11,
    };
    Some(Head { status: StatusCode::from_u16(head.status().code()).ok()?, version, fields: fields.into() })
}

/// Trailers as a header map.
pub(super) fn trailers(lines: &message::Lines, bytes: &Bytes) -> Option<HeaderMap> {
    fields(lines.view(bytes), lines.received_count(), bytes, Length::Undeclared)
}

fn fields(view: View<'_>, count: usize, bytes: &Bytes, declared: Length) -> Option<HeaderMap> {
    let mut map = HeaderMap::try_with_capacity(count).ok()?;
    let mut length = if let Length::Known(length) = declared { Some(length) } else { None };
    for field in view.all() {
        let shared = || HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok();
        let value = if field.known == Known::ContentLength {
            let Some(length) = length.take() else { continue };
            if is_canonical(field.value) { shared()? } else { HeaderValue::from(length) }
        } else {
            shared()?
        };
        map.try_append(HeaderName::from_bytes(field.name).ok()?, value).ok()?;
    }
    Some(map)
}

/// Whether a length is written as the number itself would be.
fn is_canonical(length: &[u8]) -> bool {
    length.iter().all(u8::is_ascii_digit) && (length.len() == 1 || length.first() != Some(&b'0'))
}

/// A 1xx response as it goes to the client: without the fields of the backend's connection (RFC 9110 §7.6.1).
#[must_use]
pub fn interim(status: StatusCode, mut fields: Fields) -> Vec<u8> {
    let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
    fields.apply_all(own.edits());
    let reason = status.canonical_reason().unwrap_or("Informational");
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &*fields {
        write_line(&mut wire, name.as_str().as_bytes(), value.as_bytes());
    }
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
        assert_eq!(framed(Length::Known(42)), format!("{begin}content-length: 42\r\n\r\n"));
        assert_eq!(framed(Length::Chunked), format!("{begin}transfer-encoding: chunked\r\n\r\n"));
        assert_eq!(framed(Length::Undeclared), format!("{begin}content-length: 0\r\n\r\n"));
        assert_eq!(written(&[("host", "h")], None, Length::Undeclared), format!("{begin}\r\n"));
    }

    #[test]
    fn another_host_stands_in_place_of_the_clients() {
        let host = HeaderValue::from_static("backend");
        let text = written(&[("host", "h"), ("a", "1")], Some(&host), Length::Undeclared);
        assert_eq!(text, "PUT /a?b=c HTTP/1.1\r\nhost: backend\r\na: 1\r\n\r\n");
    }

    fn read(text: &'static str, declared: Length) -> Head {
        let mut head = ResponseHead::default();
        let end = head.scan(text.as_bytes(), &HeadLimits::default()).unwrap();
        assert_eq!(end, Some(text.len()));
        response(&head, &Bytes::from_static(text.as_bytes()), declared).unwrap()
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
