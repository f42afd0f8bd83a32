//! Heads as HTTP/2 has them (RFC 9113 §8.2, §8.3): without the fields of a connection, the host as `:authority`.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use message::{Fields, Known};

use crate::upstream::transport::head::{Head, RequestHead};

/// The head of a request, and the length of its body where that is known; `None`: it can't be said in HTTP/2.
pub(super) fn request(head: &RequestHead<'_>, is_secure: bool, length: Option<u64>) -> Option<Request<()>> {
    let mut fields = head.fields.to_map();
    let host = head.host.cloned().or_else(|| fields.get(HOST).cloned())?;
    strip(&mut fields);
    fields.remove(HOST);
    if fields.get(TE).is_some_and(|value| value != "trailers") {
        fields.remove(TE);
    }
    // The body says how long it is; a request without one may go on saying so.
    let is_declared = length.is_none_or(|length| length > 0) || head.fields.has(Known::ContentLength);
    match length.filter(|_| is_declared) {
        Some(length) => drop(fields.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(fields.remove(CONTENT_LENGTH)),
    }
    let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
    let path = head.target.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields;
    Some(request)
}

fn strip(fields: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        fields.remove(name);
    }
}

/// The head of a response, and how long its body is where it says so. `ends_here`: there is none.
pub(super) fn response(received: Response<()>, ends_here: bool) -> (Head, Option<u64>) {
    let (parts, ()) = received.into_parts();
    let (status, mut map) = (parts.status, parts.headers);
    // `h2` has checked that all of them say the same.
    let length = map.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length.filter(|_| status != StatusCode::NO_CONTENT) {
        Some(length) => drop(map.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => drop(map.remove(CONTENT_LENGTH)),
    }
    let head = Head { status, version: Version::HTTP_2, fields: Fields::from(map) };
    (head, if ends_here { Some(0) } else { length })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn made(fields: &[(&'static str, &'static str)], length: Option<u64>) -> Option<Request<()>> {
        let (method, target) = (Method::POST, Uri::from_static("/a?b=c"));
        let fields: Fields = fields.iter().copied().collect();
        request(&RequestHead { method: &method, target: &target, fields: &fields, host: None }, true, length)
    }

    #[test]
    fn a_request_keeps_no_field_of_a_connection_and_its_host_is_the_authority() {
        let fields = [
            ("host", "shop.test:8443"),
            ("connection", "te, upgrade"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("X-A", "1"),
        ];
        let made = made(&fields, Some(7)).unwrap();
        assert_eq!((made.uri().to_string(), made.version()), ("https://shop.test:8443/a?b=c".into(), Version::HTTP_2));
        let names: Vec<_> = made.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(made.headers()["te"] == "trailers" && made.headers()["content-length"] == "7");
        assert_eq!(made.headers()["x-a"], "1");
    }

    #[test]
    fn a_request_declares_the_length_of_its_body_and_no_other() {
        let length = |fields: &[_], length| {
            let fields = [&[("host", "h")], fields].concat();
            made(&fields, length).unwrap().headers().get(CONTENT_LENGTH).cloned()
        };
        assert_eq!(length(&[("content-length", "9")], None), None);
        assert_eq!(length(&[("content-length", "0")], Some(0)), Some(HeaderValue::from(0)));
        assert_eq!(length(&[], Some(0)), None);
        assert_eq!(length(&[], Some(3)), Some(HeaderValue::from(3)));
        assert!(made(&[], None).is_none(), "it has no host");
        assert!(made(&[("host", "a b")], None).is_none());
    }

    #[test]
    fn the_asterisk_stays_one() {
        let (method, target, fields) = (Method::OPTIONS, Uri::from_static("*"), [("host", "h")].into_iter().collect());
        let head = RequestHead { method: &method, target: &target, fields: &fields, host: None };
        assert_eq!(request(&head, false, Some(0)).unwrap().uri().path(), "*");
    }

    #[test]
    fn a_response_declares_one_length_in_its_canonical_form() {
        let read = |status: u16, lengths: &[&'static str]| {
            let mut received = Response::builder().status(status);
            for length in lengths {
                received = received.header(CONTENT_LENGTH, *length);
            }
            let (head, length) = response(received.body(()).unwrap(), false);
            let values: Vec<_> = head.fields.values(Known::ContentLength).map(<[u8]>::to_vec).collect();
            (values.concat(), length)
        };
        assert_eq!(read(200, &["007", "7"]), (b"7".to_vec(), Some(7)));
        assert_eq!(read(200, &[]), (Vec::new(), None));
        assert_eq!(read(204, &["7"]).0, b"");
        assert_eq!(read(304, &["7"]).0, b"7");
    }
}
