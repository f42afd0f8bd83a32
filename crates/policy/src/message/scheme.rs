//! The scheme of a request: how its content travels.

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

    /// The port that need not be written (RFC 9110 §4.2.1, §4.2.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Reads a scheme, in any case; `None` for one that is not HTTP's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }

    /// Reads what a proxy says of its client's scheme. Some write `ws` and `wss` for WebSocket handshakes, which are
    /// requests over `http` and `https` (RFC 6455 §3, §4.1).
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
