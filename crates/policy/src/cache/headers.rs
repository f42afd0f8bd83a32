//! Which fields of a response are stored with it (RFC 9111 §3.1).
//!
//! Whether the response may be stored at all is decided elsewhere.

use http::header::{CONTENT_LENGTH, Entry};
use message::Fields;

use crate::message::cache_control::ResponseDirectives;
use crate::message::census::Census;
use crate::message::hop::{self, Direction};

/// The fields to store: all but those of one connection, those that `Connection` names, and those between proxies
/// (`Proxy-Authenticate` and its kin).
///
/// End-to-end fields stay, though `Connection` names them: see `message::hop`.
#[must_use]
pub fn stored(response: &Fields) -> Fields {
    let mut kept = response.clone();
    // A response may name what it likes, so this can't fail; if it could, nothing would be the safe thing to keep.
    match hop::remove(&mut kept, Direction::Response, Census::of(response)) {
        Ok(()) => kept,
        Err(hop::Nominated) => Fields::new(),
    }
}

/// Takes away, and hands back, the fields that `private="…"` and `no-cache="…"` name: a shared cache stores the rest
/// alone, and the one who asked gets all (RFC 9111 §3.1, §5.2.2.4, §5.2.2.7).
///
/// `Content-Length` stays: it says where the message ends, and nothing of anybody.
pub fn withhold(headers: &mut Fields, directives: &ResponseDirectives) -> Fields {
    let mut withheld = Fields::new();
    for name in directives.withheld().filter(|name| **name != CONTENT_LENGTH) {
        if let Entry::Occupied(given) = headers.entry(name) {
            let (name, values) = given.remove_entry_mult();
            for value in values {
                withheld.append(&name, value);
            }
        }
    }
    withheld
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
    fn rfc9111_5_2_2_4_and_7_the_fields_that_directives_name_are_withheld() {
        let cookies = [("set-cookie", "a"), ("set-cookie", "b")];
        let length = ("content-length", "3");
        let directives = [("cache-control", "private=\"Set-Cookie, x-absent, content-length\", no-cache=X-A")];
        let mut response = headers(&[cookies[0], cookies[1], ("x-a", "1"), ("x-b", "2"), length]);
        let withheld = withhold(&mut response, &ResponseDirectives::of(&headers(&directives)));
        assert_eq!(withheld, headers(&[cookies[0], cookies[1], ("x-a", "1")]));
        assert_eq!(response, headers(&[("x-b", "2"), length]));
        assert!(withhold(&mut response, &ResponseDirectives::default()).is_empty());
    }
}
