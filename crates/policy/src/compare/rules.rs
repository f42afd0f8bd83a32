//! The configured rules of a comparison.

use http::HeaderName;

/// The parts of two responses that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the statuses are compared.
    pub status: bool,
    /// The header fields that are compared.
    pub headers: Vec<HeaderName>,
    /// Whether bodies that are JSON on both sides are compared by structure.
    pub json_body: bool,
    /// Whether all other bodies are compared byte by byte.
    pub other_body: bool,
    /// The parts of JSON bodies that are ignored.
    pub ignore: Vec<Pointer>,
}

/// A JSON pointer (RFC 6901) in which `*` stands for any one member or element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The unescaped reference tokens; `None`: `*`.
    pub tokens: Vec<Option<Box<str>>>,
}

impl Pointer {
    /// Parses `/items/*/updated_at`; `None` if it does not begin with a slash, or `~` is not followed by 0 or 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let token = |token: &str| match token {
            "*" => Some(None),
            token => {
                let sound = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
                sound.then(|| Some(token.replace("~1", "/").replace("~0", "~").into_boxed_str()))
            }
        };
        let tokens = text.strip_prefix('/')?.split('/').map(token).collect::<Option<Vec<_>>>()?;
        Some(Self { tokens })
    }
}
