//! Which fields of a response are stored with it (RFC 9111 §3.1).
//!
//! Whether the response may be stored at all is decided elsewhere; so is what a directive's list of names means.

use http::HeaderMap;
use http::header::HeaderName;

use crate::message::census::Census;
use crate::message::hop::{self, Direction};

/// The fields to store: all but those of one connection, those that `Connection` names, and those between proxies
/// (`Proxy-Authenticate` and its kin).
///
/// End-to-end fields stay, though `Connection` names them: see `message::hop`.
#[must_use]
pub fn stored(response: &HeaderMap) -> HeaderMap {
    let mut kept = response.clone();
    // A response may name what it likes, so this can't fail; if it could, nothing would be the safe thing to keep.
    match hop::remove(&mut kept, Direction::Response, Census::of(response)) {
        Ok(()) => kept,
        Err(hop::Nominated) => HeaderMap::new(),
    }
}

/// Takes away the fields that a directive names: those of `private="…"` before storing, and those of `no-cache="…"`
/// before reuse without validation (RFC 9111 §5.2.2.7, §5.2.2.4).
///
/// `names` are the directive's words, in any case; those that are no field names are passed over.
pub fn strip<'n>(headers: &mut HeaderMap, names: impl IntoIterator<Item = &'n [u8]>) {
    for name in names {
        if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::headers;
    use super::*;

    #[test]
    fn rfc9111_3_1_fields_of_the_connection_and_between_proxies_are_not_stored() {
        let response = headers(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("content-type", "text/plain"),
            ("x-unknown", "1"),
            ("x-unknown", "2"),
        ]);
        let expected = headers(&[("content-type", "text/plain"), ("x-unknown", "1"), ("x-unknown", "2")]);
        assert_eq!(stored(&response), expected);
    }

    #[test]
    fn rfc9111_3_1_all_others_are_stored_also_unknown_ones() {
        let response = headers(&[("set-cookie", "a=b"), ("set-cookie", "c=d"), ("warning", "x"), ("trailer", "x-sum")]);
        assert_eq!(stored(&response), response);
    }

    #[test]
    fn rfc9111_5_2_2_4_named_fields_are_taken_away_in_any_case() {
        let mut response = headers(&[("set-cookie", "a"), ("set-cookie", "b"), ("x-a", "1"), ("x-b", "2")]);
        strip(&mut response, [&b"Set-Cookie"[..], b" X-A ", b"", b"not a name", b"x-absent"]);
        assert_eq!(response, headers(&[("x-b", "2")]));
    }
}
