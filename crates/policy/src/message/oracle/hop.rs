//! The rules as they were, on a map of names in lower case.

use http::HeaderMap;
use http::HeaderValue;
use http::header::{CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};

use super::census::{Census, Rare};
use super::list::{elements, holds};
use super::names;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Connection names a field that is not the connection's own")]
pub(crate) struct Nominated;
pub(crate) fn remove(headers: &mut HeaderMap, direction: Direction, census: Census) -> Result<(), Nominated> {
    if !census.has_hop_by_hop() {
        return Ok(());
    }
    if census.has(Rare::Connection) {
        if !is_plain(headers) {
            remove_nominated(headers, direction)?;
        }
        headers.remove(CONNECTION);
    }
    if census.has(Rare::HopByHop) {
        for name in
            [&KEEP_ALIVE, &PROXY_CONNECTION, &PROXY_AUTHENTICATION_INFO, &PROXY_AUTHENTICATE, &PROXY_AUTHORIZATION]
        {
            headers.remove(name);
        }
    }
    if census.has(Rare::TransferEncoding) {
        headers.remove(TRANSFER_ENCODING);
    }
    if census.has(Rare::Upgrade) {
        headers.remove(UPGRADE);
    }
    if census.has(Rare::Te) {
        let takes_trailers = holds(&headers.get_all(TE), "trailers");
        headers.remove(TE);
        if takes_trailers && direction == Direction::Request {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    Ok(())
}
fn is_plain(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION);
    let mut lines = lines.iter();
    let first = lines.next().map(HeaderValue::as_bytes).unwrap_or_default();
    lines.next().is_none() && (first.eq_ignore_ascii_case(b"keep-alive") || first.eq_ignore_ascii_case(b"close"))
}
fn remove_nominated(headers: &mut HeaderMap, direction: Direction) -> Result<(), Nominated> {
    let connection = headers.get_all(CONNECTION);
    if elements(&connection).all(is_ordinary_option) {
        return Ok(());
    }
    let mut nominated = Vec::new();
    for option in elements(&connection).filter(|option| !is_ordinary_option(option)) {
        // What is no field name can't be a field's.
        let Ok(name) = HeaderName::from_bytes(option) else { continue };
        match (is_end_to_end(name.as_str()), direction) {
            (true, Direction::Request) => return Err(Nominated),
            (true, Direction::Response) => {}
            (false, _) => nominated.push(name),
        }
    }
    for name in &nominated {
        headers.remove(name);
    }
    Ok(())
}
fn is_ordinary_option(option: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade", b"te", b"proxy-connection"]
        .iter()
        .any(|known| option.eq_ignore_ascii_case(known))
}
fn is_end_to_end(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["content-", "if-", "access-control-", "sec-", "cross-origin-"];
    const NAMES: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "host",
        "last-modified",
        "location",
        "max-forwards",
        "origin",
        "permissions-policy",
        "pragma",
        "range",
        "referrer-policy",
        "set-cookie",
        "strict-transport-security",
        "transfer-encoding",
        "vary",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
    ];
    names::is_ours(name) || NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
