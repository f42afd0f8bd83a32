//! From a request as HTTP/2 has it to a head as HTTP/1.1 has it, which is then scanned as any other: what HTTP/1.1 refuses
//! can't come in here either.

use bytes::{BufMut as _, BytesMut};
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Version};
use http1::{HeadLimits, RequestHead};

use crate::downstream::http1::head::{self, Facts};
use crate::downstream::refusal::Refusal;
use crate::exchange::Head;
use crate::telemetry::access_record::Request;

/// What a head of HTTP/1.1 has beside its fields, about.
const LINE_BYTES: usize = 64;

/// The head of a request, and what it says of its body.
///
/// # Errors
/// [`Refusal`] if it is malformed.
pub(super) fn head(parts: &Parts, limits: &HeadLimits) -> Result<(Head, Facts), Refusal> {
    let bytes = written(parts)?.freeze();
    let mut scanned = RequestHead::default();
    // It is there as a whole: a head that goes on behind these bytes is none.
    scanned.scan(&bytes, limits)?.filter(|length| *length == bytes.len()).ok_or(Refusal::Target)?;
    let facts = head::facts(&scanned, &bytes)?;
    let mut head = head::head(&mut scanned, bytes)?;
    head.version = Version::HTTP_2;
    Ok((head, facts))
}

/// A head in the form of HTTP/1.1 (RFC 9113 §8.3.1). What belongs to a connection only was refused by hyper.
fn written(parts: &Parts) -> Result<BytesMut, Refusal> {
    let (uri, fields) = (&parts.uri, &parts.headers);
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Refusal::Scheme);
    }
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let target = match parts.method {
        Method::CONNECT => authority.ok_or(Refusal::Target)?,
        _ => uri.path_and_query().ok_or(Refusal::Target)?.as_str(),
    };
    let length: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let mut out = BytesMut::with_capacity(LINE_BYTES + target.len() + authority.map_or(0, str::len) + length);
    for piece in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(piece.as_bytes());
    }
    if let Some(authority) = authority {
        // An equal `Host` says nothing new.
        if fields.get_all(HOST).iter().any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
            return Err(Refusal::Authority);
        }
        put(&mut out, HOST.as_str(), authority.as_bytes())?;
    }
    for name in fields.keys() {
        let values = fields.get_all(name);
        if name == COOKIE {
            // One line, whatever a client has cut it into (RFC 9113 §8.2.3).
            let crumbs: Vec<&[u8]> = values.iter().map(http::HeaderValue::as_bytes).collect();
            put(&mut out, name.as_str(), &crumbs.join(b"; ".as_slice()))?;
        } else if name != HOST || authority.is_none() {
            values.iter().try_for_each(|value| put(&mut out, name.as_str(), value.as_bytes()))?;
        }
    }
    out.put_slice(b"\r\n");
    Ok(out)
}

fn put(out: &mut BytesMut, name: &str, value: &[u8]) -> Result<(), Refusal> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_blank(value.first()) || is_blank(value.last()) {
        return Err(Refusal::Blank);
    }
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(piece);
    }
    Ok(())
}

/// What is known of a request whose head is refused.
pub(super) fn request(parts: &Parts, scheme: policy::message::scheme::Scheme) -> Request {
    let target = parts.uri.path_and_query().map(|target| http::Uri::from(target.clone())).unwrap_or_default();
    Request::of_line(parts.method.clone(), target, Version::HTTP_2, scheme.as_str())
}

#[cfg(test)]
mod tests {
    use message::Known;

    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Result<Head, Refusal> {
        head(&parts(method, uri, fields), &HeadLimits::default()).map(|(head, _)| head)
    }

    #[test]
    fn pseudo_fields_become_a_method_a_target_and_a_host() {
        let head = read("GET", "https://shop.test/a?b", &[("x-a", "1"), ("x-a", "2")]).unwrap();
        assert_eq!((head.method, head.uri.to_string(), head.version), (Method::GET, "/a?b".into(), Version::HTTP_2));
        assert_eq!(head.fields.first(Known::Host), Some(b"shop.test".as_slice()));
        assert!(head.has_plain_target && head.fields.values("x-a").eq([b"1", b"2"]));
        let options = read("OPTIONS", "http://shop.test/*", &[]).unwrap();
        assert_eq!(options.uri.path(), "/*");
    }

    #[test]
    fn crumbs_of_a_cookie_are_joined() {
        let head = read("GET", "http://h/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]).unwrap();
        assert!(head.fields.values(Known::Cookie).eq([b"a=1; b=2"]));
    }

    #[test]
    fn a_host_may_repeat_the_authority_and_not_contradict_it() {
        for (fields, expected) in [
            ([("host", "H.test")].as_slice(), Ok("h.test")),
            (&[], Ok("h.test")),
            (&[("host", "other.test")], Err(Refusal::Authority)),
            (&[("host", "h.test"), ("host", "other.test")], Err(Refusal::Authority)),
        ] {
            let head = read("GET", "http://h.test/", fields);
            let found = head.map(|head| head.fields.values(Known::Host).collect::<Vec<_>>().concat());
            assert_eq!(found, expected.map(|host| host.as_bytes().to_vec()));
        }
        let twice = read("GET", "/", &[("host", "a"), ("host", "b")]).unwrap();
        assert_eq!(twice.fields.values(Known::Host).count(), 2, "it is refused where every head's host is judged");
    }

    #[test]
    fn what_http_1_1_refuses_is_refused() {
        let long: &'static str = "/x".repeat(9_000).leak();
        for (uri, fields, status) in [
            ("ftp://h/", [].as_slice(), 400),
            ("http://h/", &[("content-length", "4, 5")], 400),
            ("http://h/", &[("content-length", "+4")], 400),
            ("http://h/", &[("x", "\u{e9}")], 0),
            ("http://h/\u{e9}", &[], 400),
            ("http://h/", &[("x", "a ")], 400),
            ("http://h/", &[("x", " a")], 400),
            (long, &[], 414),
        ] {
            let found = read("GET", uri, fields).map_or_else(|refusal| refusal.status(), |_| 0);
            assert_eq!(found, status, "{uri:.30} {fields:?}");
        }
        let many: Vec<_> = (0..101).map(|_| ("x", "y")).collect();
        assert_eq!(read("GET", "http://h/", &many).unwrap_err().status(), 431);
    }
}
