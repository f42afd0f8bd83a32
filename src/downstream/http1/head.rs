//! From a scanned head to what the rest of the proxy works on: the one place where that is done.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use http1::{Framing, RequestHead};
use message::{Fields, Known, KnownSet, Lines};
use policy::message::scheme::Scheme;

use crate::downstream::refusal::Refusal;
use crate::exchange::Head;
use crate::proxy::fast_hit::PlainGet;
use crate::telemetry::access_record::Request;

/// Fields that say where a body ends.
const FRAMING: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);

/// What a head says, beside its parts, of the connection that it came on.
#[derive(Clone, Copy, Debug)]
pub(in crate::downstream) struct Facts {
    pub(in crate::downstream) framing: Framing,
    /// Whether the client would use the connection again.
    pub(super) persists: bool,
    pub(super) is_http_1_0: bool,
    pub(in crate::downstream) is_head: bool,
    /// Whether it may change something at a backend.
    pub(super) is_write: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub(super) expects_continue: bool,
}

impl Facts {
    /// Those of a [`PlainGet`].
    pub(super) const PLAIN_GET: Self = Self {
        framing: Framing::None,
        persists: true,
        is_http_1_0: false,
        is_head: false,
        is_write: false,
        expects_continue: false,
    };
}

/// What a scanned head says of the connection.
///
/// # Errors
/// [`Refusal`] if it can't be said where the request's body ends, or the target has a fragment.
pub(in crate::downstream) fn facts(head: &RequestHead, bytes: &[u8]) -> Result<Facts, Refusal> {
    let framing = http1::request_framing(head, bytes)?;
    let is_plain = head.path_is_plain() && head.query_is_plain();
    if !is_plain && head.target().of(bytes).contains(&b'#') {
        return Err(Refusal::Fragment);
    }
    let view = head.view(bytes);
    let is_http_1_0 = head.version() == http1::Version::Http10;
    let expects = || view.tagged(Known::Expect).any(|field| field.value.eq_ignore_ascii_case(b"100-continue"));
    Ok(Facts {
        framing,
        persists: http1::persists(head.version(), view),
        is_http_1_0,
        is_head: head.method() == message::Method::Head,
        is_write: !head.method().is_safe(),
        expects_continue: !is_http_1_0 && framing != Framing::None && expects(),
    })
}

/// A head as the rest of the proxy has it, which was scanned from `bytes`, and keeps them. The scanned head is left without
/// fields.
///
/// # Errors
/// [`Refusal`] if the target is none.
pub(in crate::downstream) fn head(head: &mut RequestHead, bytes: Bytes) -> Result<Head, Refusal> {
    let target = bytes.slice(head.target().start()..head.target().end());
    let has_plain_target = head.path_is_plain() && head.query_is_plain() && target.starts_with(b"/");
    let uri = match target.first() {
        Some(b'/') => PathAndQuery::from_maybe_shared(target).map(Uri::from),
        Some(_) | None => Uri::from_maybe_shared(target),
    };
    Ok(Head {
        method: method(head, &bytes).ok_or(Refusal::Target)?,
        uri: uri.map_err(|_| Refusal::Target)?,
        has_plain_target,
        version: version(head),
        fields: Fields::received(bytes, std::mem::take(&mut head.fields)),
    })
}

/// What a scanned head asks for, if it is a GET that says no more of its connection than that it persists, and has no body.
#[inline]
pub(super) fn plain_get<'h>(head: &'h RequestHead, bytes: &'h [u8]) -> Option<PlainGet<'h>> {
    let is_get = head.method() == message::Method::Get && head.version() == http1::Version::Http11;
    let tags = head.fields.tags();
    if !is_get || !head.path_is_plain() || !head.query_is_plain() || tags.intersects(FRAMING) {
        return None;
    }
    let view = head.view(bytes);
    let persists = || matches!(view.only(Known::Connection), Some(b"keep-alive" | b"Keep-Alive"));
    if tags.contains(Known::Connection) && !persists() {
        return None;
    }
    let target = std::str::from_utf8(head.target().of(bytes)).ok().filter(|target| target.starts_with('/'))?;
    let (path, query) = match target.split_at_checked(head.path().of(bytes).len())? {
        (path, "") => (path, None),
        (path, query) => (path, query.get(1..)),
    };
    Some(PlainGet { host: view.only(Known::Host)?, path, query, tags })
}

/// A whole head as the log has it, which was scanned from `bytes`.
pub(super) fn logged(head: &RequestHead, bytes: &[u8], scheme: Scheme) -> Option<Request> {
    let field = |name: Known| head.view(bytes).first(name).map(Bytes::copy_from_slice);
    Some(request(head, bytes, scheme)?.with_fields(field))
}

/// What is known of a request whose head is refused: its line, if that was scanned as a whole.
pub(super) fn request(head: &RequestHead, bytes: &[u8], scheme: Scheme) -> Option<Request> {
    let method = Method::from_bytes(head.method_span().of(bytes)).ok()?;
    let target = Uri::try_from(head.target().of(bytes)).ok()?;
    Some(Request::of_line(method, target, version(head), scheme.as_str()))
}

/// The method of a head whose line was scanned.
fn method(head: &RequestHead, bytes: &[u8]) -> Option<Method> {
    match head.method() {
        message::Method::Get => Some(Method::GET),
        message::Method::Head => Some(Method::HEAD),
        message::Method::Post => Some(Method::POST),
        message::Method::Put => Some(Method::PUT),
        message::Method::Delete => Some(Method::DELETE),
        message::Method::Connect => Some(Method::CONNECT),
        message::Method::Options => Some(Method::OPTIONS),
        message::Method::Trace => Some(Method::TRACE),
        message::Method::Patch => Some(Method::PATCH),
        message::Method::Purge | message::Method::Extension => Method::from_bytes(head.method_span().of(bytes)).ok(),
    }
}

fn version(head: &RequestHead) -> Version {
    match head.version() {
        http1::Version::Http10 => Version::HTTP_10,
        http1::Version::Http11 => Version::HTTP_11,
    }
}

/// Trailer fields, copied: they outlive the buffer.
pub(super) fn trailers(lines: &Lines, section: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for field in lines.view(section).all() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value)) {
            trailers.append(name, value);
        }
    }
    trailers
}

#[cfg(test)]
mod tests {
    use http1::HeadLimits;

    use super::*;

    fn scan(bytes: &[u8]) -> RequestHead {
        let mut head = RequestHead::default();
        assert_eq!(head.scan(bytes, &HeadLimits::default()), Ok(Some(bytes.len())));
        head
    }

    #[test]
    fn a_head_keeps_its_method_target_and_fields() {
        let bytes = Bytes::from_static(b"\r\nPUT /a?b HTTP/1.0\r\nHost: h\r\nX-A: 1\r\nx-a:  2 \r\nX-Empty:\r\n\r\n");
        let mut scanned = scan(&bytes);
        let facts = facts(&scanned, &bytes).unwrap();
        let head = head(&mut scanned, bytes).unwrap();
        assert_eq!((head.method, head.uri.to_string(), head.version), (Method::PUT, "/a?b".into(), Version::HTTP_10));
        let values: Vec<&[u8]> = head.fields.values("x-a").collect();
        assert_eq!(values, [b"1", b"2"]);
        assert_eq!((head.fields.len(), head.fields.first("x-empty")), (4, Some(b"".as_slice())));
        assert!(!facts.persists && facts.is_http_1_0 && facts.is_write && !facts.is_head && !facts.expects_continue);
    }

    #[test]
    fn a_target_that_could_be_written_otherwise_is_not_plain() {
        for (target, is_plain) in [
            ("/", true),
            ("/a/b?c=d.e//f", true),
            ("/a%41", false),
            ("/a?%41", false),
            ("/a/../b", false),
            ("/a//b", false),
            ("*", false),
            ("http://a/b", false),
        ] {
            let bytes = Bytes::from(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(head(&mut scan(&bytes), bytes).unwrap().has_plain_target, is_plain, "{target}");
        }
    }

    #[test]
    fn only_a_client_that_has_a_body_waits_to_send_it() {
        for (head, expects) in [
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", false),
            ("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: other\r\n\r\n", false),
        ] {
            let found = facts(&scan(head.as_bytes()), head.as_bytes()).unwrap().expects_continue;
            assert_eq!(found, expects, "{head}");
        }
    }

    #[test]
    fn fragments_and_doubtful_framing_are_refused() {
        for (head, status) in [
            ("GET /a#b HTTP/1.1\r\n\r\n", 400),
            ("GET /a?b#c HTTP/1.1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ] {
            let refusal = facts(&scan(head.as_bytes()), head.as_bytes()).unwrap_err();
            assert_eq!(refusal.status(), status, "{head}");
        }
    }
}
