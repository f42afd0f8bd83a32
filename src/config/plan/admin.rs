//! What the plan says of `[admin]`: where it listens, and who may use it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `[admin]`: a listener apart from the clients', for people and programs that ask and direct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: AdminAddress,
    /// What a request must bring as `Authorization: Bearer …`; `None`, on loopback and Unix sockets alone: nothing.
    pub token: Option<Token>,
    /// Names that `Host` may have beside the address itself and `localhost`: in lower case, without port.
    pub hosts: Vec<Box<str>>,
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A secret that is compared, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// A token of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether this is the token. How long it takes tells nothing but the token's length.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differs = own.iter().zip(given).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b)));
        own.len() == given.len() && differs == 0
    }

    /// The token itself, for a client of this machine.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_is_not_shown() {
        let token = Token::new("correct horse");
        assert!(token.is(b"correct horse"));
        for other in [&b"correct hors"[..], b"correct horsf", b"correct horse ", b"", b"Correct horse"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        let ip = |text: &str| AdminAddress::Ip(text.parse().unwrap());
        for (address, expected) in [
            (ip("127.0.0.1:1"), true),
            (ip("127.9.9.9:1"), true),
            (ip("[::1]:1"), true),
            (ip("[::ffff:127.0.0.1]:1"), true),
            (ip("0.0.0.0:1"), false),
            (ip("[::]:1"), false),
            (ip("10.0.0.1:1"), false),
            (AdminAddress::Unix("/run/a".into()), true),
        ] {
            assert_eq!(address.is_local(), expected, "{address}");
        }
    }
}
