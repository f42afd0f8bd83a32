//! What of two answers is compared, as the file says it.

use http::HeaderName;

/// What of two answers is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Their statuses.
    pub status: bool,
    /// These header fields.
    pub headers: Vec<HeaderName>,
    /// Bodies that are JSON on both sides, by their structure.
    pub json_body: bool,
    /// All other bodies, byte by byte.
    pub other_body: bool,
    /// What is left out of JSON bodies.
    pub ignore: Vec<Pointer>,
}

/// A place in a JSON document, or many: a JSON pointer (RFC 6901) in which `*` stands for any one member or element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Its reference tokens, unescaped; `None`: `*`.
    pub tokens: Vec<Option<Box<str>>>,
}

impl Pointer {
    /// Reads `/items/*/updated_at`; `None`: it does not begin with a slash, or `~` is not followed by 0 or 1.
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
