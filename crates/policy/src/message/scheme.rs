//! The scheme of a request.

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As written in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The default port (RFC 9110 §4.2.1, §4.2.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Parses a scheme, ignoring case; `None` unless it is `http` or `https`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    /// Parses the scheme that a proxy reports. Some write `ws` and `wss` for WebSocket handshakes, which are `http` and
    /// `https` requests (RFC 6455 §3, §4.1).
    #[must_use]
    pub fn of_proxy(bytes: &[u8]) -> Option<Self> {
        match std::str::from_utf8(bytes).ok()? {
            text if text.eq_ignore_ascii_case("ws") => Some(Self::Http),
            text if text.eq_ignore_ascii_case("wss") => Some(Self::Https),
            text => Self::parse(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_write_is_http_or_https_or_nothing() {
        for (written, scheme) in
            [("HTTP", Scheme::Http), ("ws", Scheme::Http), ("Https", Scheme::Https), ("WSS", Scheme::Https)]
        {
            assert_eq!(Scheme::of_proxy(written.as_bytes()), Some(scheme), "{written}");
        }
        for written in [&b""[..], b"gopher", b"https:", b"\xff", b"wsss"] {
            assert_eq!(Scheme::of_proxy(written), None, "{written:?}");
        }
    }
}
