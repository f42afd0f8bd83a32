//! Response status codes (RFC 9110 §15).

/// A status code from 100 to 599; others are no HTTP (RFC 9110 §15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// 100 Continue.
    pub const CONTINUE: Self = Self(100);
    /// 101 Switching Protocols.
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// 200 OK.
    pub const OK: Self = Self(200);
    /// 204 No Content.
    pub const NO_CONTENT: Self = Self(204);
    /// 304 Not Modified.
    pub const NOT_MODIFIED: Self = Self(304);
    /// 400 Bad Request.
    pub const BAD_REQUEST: Self = Self(400);
    /// 414 URI Too Long.
    pub const URI_TOO_LONG: Self = Self(414);
    /// 431 Request Header Lines Too Large (RFC 6585 §5).
    pub const FIELDS_TOO_LARGE: Self = Self(431);
    /// 501 Not Implemented.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 502 Bad Gateway.
    pub const BAD_GATEWAY: Self = Self(502);
    /// 505 HTTP Version Not Supported.
    pub const VERSION_NOT_SUPPORTED: Self = Self(505);

    /// The status of this number; `None` if it is below 100 or above 599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The number, from 100 to 599.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether another response to the same request follows (1xx but 101, which ends HTTP on the connection).
    #[must_use]
    pub const fn is_interim(self) -> bool {
        self.0 < 200 && self.0 != 101
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 200 && self.0 < 300
    }

    /// Whether a response with this status ends with its head, whatever its fields say: 1xx, 204, 304 (RFC 9112 §6.3).
    #[must_use]
    pub const fn ends_with_head(self) -> bool {
        self.0 < 200 || self.0 == 204 || self.0 == 304
    }

    /// The reason phrase of the registry; empty if the status is not registered.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self.0 {
            100..200 => informational(self.0),
            200..300 => success(self.0),
            300..400 => redirection(self.0),
            400..500 => client_error(self.0),
            _ => server_error(self.0),
        }
    }
}

const fn informational(code: u16) -> &'static str {
    match code {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        _ => "",
    }
}

const fn success(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        _ => "",
    }
}

const fn redirection(code: u16) -> &'static str {
    match code {
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => "",
    }
}

const fn client_error(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Lines Too Large",
        451 => "Unavailable For Legal Reasons",
        _ => "",
    }
}

const fn server_error(code: u16) -> &'static str {
    match code {
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Status {
        Status::new(code).unwrap()
    }

    #[test]
    fn statuses_reach_from_100_to_599() {
        for code in [0, 99, 600, 999, 1000] {
            assert_eq!(Status::new(code), None, "{code}");
        }
        assert_eq!((status(100).code(), status(599).code()), (100, 599));
    }

    #[test]
    fn a_101_is_final_and_other_1xx_are_not() {
        assert!(status(100).is_interim() && status(103).is_interim() && status(199).is_interim());
        assert!(!status(101).is_interim() && !status(200).is_interim());
    }

    #[test]
    fn only_1xx_204_and_304_end_with_their_heads() {
        let ending: Vec<_> = (200..600).filter(|code| status(*code).ends_with_head()).collect();
        assert_eq!(ending, [204, 304]);
        assert!((100..200).all(|code| status(code).ends_with_head()));
    }

    #[test]
    fn success_is_2xx() {
        assert!((100..600).all(|code| status(code).is_success() == (200..300).contains(&code)));
    }

    #[test]
    fn reasons_are_those_of_the_registry_and_empty_elsewhere() {
        assert_eq!(
            [status(200), status(404), status(503)].map(Status::reason),
            ["OK", "Not Found", "Service Unavailable"]
        );
        assert_eq!([status(199), status(299), status(399), status(499), status(599)].map(Status::reason), [""; 5]);
    }
}
