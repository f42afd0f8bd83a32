//! Taking away what belongs to one connection (RFC 9110 §7.6.1).
//!
//! Removed: `Connection` and all fields it names, `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding`,
//! `Upgrade`, and what one proxy says to the next (`Proxy-Authenticate`, `Proxy-Authentication-Info`,
//! `Proxy-Authorization`, RFC 9110 §11.7: nobody here asked for it, and it may be a secret). Kept unless named: `Trailer`,
//! since trailers are passed on. A request's `TE: trailers` is written anew, since it says what this proxy can do.
//! What `Upgrade` asks for must be read before (see `upgrade`); `Transfer-Encoding` must be judged before (`transfer`).

use http::HeaderValue;
use http::header::{CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE};
use message::Fields;

use super::census::{Census, Rare};
use super::list::{elements, holds};
use super::names;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client to a backend.
    Request,
    /// From a backend to a client.
    Response,
}

/// A request's `Connection` names a field that is meant for all recipients: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Connection names a field that is not the connection's own")]
pub struct Nominated;

/// Takes away what belongs to the connection that the message came on. `census` is that of these headers.
///
/// A response may name whatever it likes; end-to-end fields it names are kept, so that a careless backend can't take
/// away what protects its users.
///
/// # Errors
/// [`Nominated`] if a request's `Connection` names an end-to-end field, whether or not that field is there.
pub fn remove(headers: &mut Fields, direction: Direction, census: Census) -> Result<(), Nominated> {
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

/// Whether `Connection` says no more than most messages do: the one word that hyper has acted upon already.
fn is_plain(headers: &Fields) -> bool {
    let lines = headers.get_all(CONNECTION);
    let mut lines = lines.iter();
    let first = lines.next().map(HeaderValue::as_bytes).unwrap_or_default();
    lines.next().is_none() && (first.eq_ignore_ascii_case(b"keep-alive") || first.eq_ignore_ascii_case(b"close"))
}

/// Takes away the fields that `Connection` names, other than those that [`remove`] treats anyway.
fn remove_nominated(headers: &mut Fields, direction: Direction) -> Result<(), Nominated> {
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

/// Options that name no field, or one that [`remove`] treats itself.
fn is_ordinary_option(option: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade", b"te", b"proxy-connection"]
        .iter()
        .any(|known| option.eq_ignore_ascii_case(known))
}

/// Whether a field is meant for all recipients, so that `Connection` may not name it: what frames, routes,
/// authenticates or describes the message, what caches and browsers go by, and what only this proxy writes.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn removed(direction: Direction, fields: &[(&'static str, &'static str)]) -> Result<Fields, Nominated> {
        let mut headers: Fields = Fields::new();
        for (name, value) in fields {
            headers.append(&HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let census = Census::of(&headers);
        remove(&mut headers, direction, census).map(|()| headers)
    }

    #[test]
    fn a_nominated_host_is_refused() {
        assert_eq!(removed(Direction::Request, &[("host", "a"), ("connection", "close, Host")]), Err(Nominated));
    }

    #[test]
    fn nominated_forwarding_framing_and_own_fields_are_refused() {
        let cases = [
            "x-forwarded-for, content-length",
            "content-length",
            "transfer-encoding",
            "forwarded",
            "via",
            "x-request-id",
            "forebay-side",
            "authorization",
            "Cache-Control",
            "cookie",
            "if-none-match",
        ];
        for options in cases {
            assert_eq!(removed(Direction::Request, &[("connection", options)]), Err(Nominated), "{options}");
        }
    }

    #[test]
    fn nominated_fields_are_removed_over_several_lines() {
        let left = removed(
            Direction::Request,
            &[
                ("connection", "close, X-One"),
                ("x-one", "1"),
                ("connection", "x-two"),
                ("x-two", "2"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(left, Ok(headers(&[("accept", "*/*")])));
    }

    #[test]
    fn fields_of_the_connection_go_also_when_not_nominated() {
        let left = removed(
            Direction::Request,
            &[
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "websocket"),
                ("proxy-authorization", "Basic x"),
                ("trailer", "x-sum"),
                ("cookie", "a=b"),
            ],
        );
        assert_eq!(left, Ok(headers(&[("trailer", "x-sum"), ("cookie", "a=b")])));
    }

    #[test]
    fn te_trailers_is_written_anew_for_a_backend() {
        let left = removed(Direction::Request, &[("te", "gzip, trailers"), ("connection", "te, close")]);
        assert_eq!(left, Ok(headers(&[("te", "trailers"), ("connection", "te")])));
    }

    #[test]
    fn a_response_can_not_take_away_what_protects_its_users() {
        let left = removed(
            Direction::Response,
            &[
                ("connection", "strict-transport-security, x-hop, set-cookie"),
                ("strict-transport-security", "max-age=1"),
                ("set-cookie", "a=b"),
                ("x-hop", "1"),
                ("te", "trailers"),
            ],
        );
        assert_eq!(left, Ok(headers(&[("strict-transport-security", "max-age=1"), ("set-cookie", "a=b")])));
    }

    #[test]
    fn an_option_that_is_no_field_name_is_harmless() {
        assert_eq!(removed(Direction::Request, &[("connection", "a b, \"x\", @")]), Ok(Fields::new()));
    }

    const HOP: [&str; 7] =
        ["keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "proxy-authorization", "connection"];
    const ORDINARY: [&str; 6] = ["accept", "cookie", "x-one", "x-two", "user-agent", "trailer"];

    proptest! {
        #[test]
        fn no_field_of_the_connection_survives_and_all_others_do(
            hop in proptest::sample::subsequence(HOP.to_vec(), 0..=HOP.len()),
            ordinary in proptest::sample::subsequence(ORDINARY.to_vec(), 0..=ORDINARY.len()),
            nominated in proptest::sample::subsequence(vec!["x-one", "X-Two", "close", "keep-alive", "x-three"], 0..=5),
        ) {
            let mut before = Fields::new();
            for name in hop.iter().chain(&ordinary).filter(|name| **name != "connection") {
                before.append(&HeaderName::from_static(name), HeaderValue::from_static("1"));
            }
            for option in &nominated {
                before.append(&CONNECTION, HeaderValue::from_static(option));
            }
            let mut after = before.clone();
            remove(&mut after, Direction::Request, Census::of(&before)).unwrap();
            for name in HOP {
                prop_assert!(!after.contains_key(name));
            }
            for name in ordinary {
                let named = nominated.iter().any(|option| option.eq_ignore_ascii_case(name));
                prop_assert_eq!(after.contains_key(name), !named, "{}", name);
            }
        }
    }
}
