//! Selects the fields that are stored with a response (RFC 9111 §3.1).
//!
//! Whether the response may be stored is decided elsewhere.

use http::header::CONTENT_LENGTH;
use message::Fields;

use crate::message::cache_control::ResponseDirectives;
use crate::message::hop::{self, Direction};

/// The fields to store: all but hop-by-hop fields, those that `Connection` names, and those between proxies
/// (`Proxy-Authenticate` and the like).
///
/// End-to-end fields are stored even if `Connection` names them: see `message::hop`.
#[must_use]
pub fn stored(response: &Fields) -> Fields {
    // A response may name any field, so this cannot fail; if it could, storing nothing would be safe.
    let Ok(own) = hop::find(response, Direction::Response) else { return Fields::new() };
    let mut kept = response.clone();
    kept.apply_all(own.edits());
    kept
}

/// The fields of a response, divided by [`withhold`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divided {
    /// The stored fields.
    pub stored: Fields,
    /// The fields that are not stored; only the client that sent the request gets them.
    pub withheld: Fields,
}

/// Divides the fields of a response: those named by `private="…"` and `no-cache="…"` are not stored, and only the
/// requesting client gets them (RFC 9111 §3.1, §5.2.2.4, §5.2.2.7).
///
/// `Content-Length` is always stored: it frames the message and is not private.
#[must_use]
pub fn withhold(mut headers: Fields, directives: &ResponseDirectives) -> Divided {
    let mut withheld = Fields::new();
    for name in directives.withheld().filter(|name| **name != CONTENT_LENGTH) {
        for value in headers.values(name) {
            withheld.append(name, value);
        }
        headers.drop_named(name);
    }
    Divided { stored: headers, withheld }
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
        let response = headers(&[cookies[0], cookies[1], ("x-a", "1"), ("x-b", "2"), length]);
        let divided = withhold(response, &ResponseDirectives::of(&headers(&directives)));
        assert_eq!(divided.withheld, headers(&[cookies[0], cookies[1], ("x-a", "1")]));
        assert_eq!(divided.stored, headers(&[("x-b", "2"), length]));
        let all = withhold(divided.stored.clone(), &ResponseDirectives::default());
        assert_eq!(all, Divided { stored: divided.stored, withheld: Fields::new() });
    }
}
