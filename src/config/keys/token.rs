//! Secrets: the token of the admin API, and the signing key of cookies.

use std::fmt;

use crate::config::document::Section;

/// The shortest secret, in bytes: shorter ones can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// A secret. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// A secret with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Compares the secret in constant time: the duration depends only on the lengths.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differs = own.iter().zip(given).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b)));
        own.len() == given.len() && differs == 0
    }

    /// The secret, for requests that forebay's own commands send.
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

/// A secret that fits into a header field, and is long enough.
pub(super) fn token(section: &Section<'_>, key: &str) -> Option<Token> {
    long_token(section, key, SECRET_BYTES_MIN)
}

/// A secret of visible characters, at least so many.
pub(super) fn long_token(section: &Section<'_>, key: &str, bytes_min: usize) -> Option<Token> {
    let text = section.text(key)?;
    if text.value.len() < bytes_min || !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = format!("at least {bytes_min} visible ASCII characters without blanks");
        section.report.add(text.span.clone(), format!("this is no {key}"), hint);
    }
    Some(Token::new(&text.value))
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
}
