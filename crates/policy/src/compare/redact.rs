//! Limits what may be displayed of responses and requests.
//!
//! By default types and lengths only. Values are displayed only where configured, and never under a name that looks
//! like that of a secret.

use std::fmt;

use http::{HeaderName, StatusCode};

use super::document::Node;

/// The longest displayed value, in characters.
pub const VALUE_CHARS_MAX: usize = 80;
/// The longest displayed target, in characters.
pub const TARGET_CHARS_MAX: usize = 512;

/// A name longer than this counts as a secret itself, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// A name that contains one of these is sensitive; compared in lower case, letters and digits only.
const SENSITIVE_PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "token",
    "secret",
    "authorization",
    "authentication",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "session",
    "credential",
    "bearer",
    "jwt",
    "csrf",
    "xsrf",
    "signature",
    "onetime",
    "cardnumber",
    "creditcard",
    "securitycode",
    "iban",
];
/// Names that are sensitive as a whole, too short to be searched for within others.
const SENSITIVE_NAMES: &[&str] =
    &["auth", "key", "pass", "pwd", "pin", "otp", "sid", "ssn", "cvv", "cvc", "salt", "hash"];

/// The displayable form of one side of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    shape: Shape,
    value: Option<Box<str>>,
}

/// The type and length of a value. `Display`: `string(12)`, `number`, `boolean`, `array(3)`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// No value.
    Absent,
    /// A status, which is always displayed.
    Status(StatusCode),
    /// JSON's `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A string with this many characters.
    String(usize),
    /// An array with this many elements, or a field with this many lines.
    Array(usize),
    /// An object with this many members.
    Object(usize),
    /// A body with this many bytes.
    Bytes(usize),
}

impl fmt::Display for Shape {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => to.write_str("absent"),
            Self::Status(status) => write!(to, "{}", status.as_u16()),
            Self::Null => to.write_str("null"),
            Self::Boolean => to.write_str("boolean"),
            Self::Number => to.write_str("number"),
            Self::String(length) => write!(to, "string({length})"),
            Self::Array(length) => write!(to, "array({length})"),
            Self::Object(length) => write!(to, "object({length})"),
            Self::Bytes(length) => write!(to, "bytes({length})"),
        }
    }
}

impl Shown {
    /// The type and length.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The text for a sample; with `values` the value itself, if it has a short form and is not sensitive.
    ///
    /// Strings in JSON keep their quotes, so that `"1"` differs from `1`. Objects, arrays and whole bodies are never
    /// displayed.
    #[must_use]
    pub fn text(&self, values: bool) -> String {
        match &self.value {
            Some(value) if values => value.to_string(),
            Some(_) | None => self.shape.to_string(),
        }
    }

    pub(super) fn absent() -> Self {
        Self { shape: Shape::Absent, value: None }
    }

    pub(super) fn status(status: StatusCode) -> Self {
        Self { shape: Shape::Status(status), value: None }
    }

    pub(super) fn body(bytes: &[u8]) -> Self {
        Self { shape: Shape::Bytes(bytes.len()), value: None }
    }

    pub(super) fn array(length: usize) -> Self {
        Self { shape: Shape::Array(length), value: None }
    }

    /// The values of a header field.
    pub(super) fn field<'a>(name: &HeaderName, lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let all: Vec<_> = lines.map(String::from_utf8_lossy).collect();
        let shape = match all.as_slice() {
            [] => return Self::absent(),
            [one] => Shape::String(one.chars().count()),
            several => Shape::Array(several.len()),
        };
        let value = (!is_sensitive_name(name.as_str())).then(|| legible(&all.join(", "), VALUE_CHARS_MAX).into());
        Self { shape, value }
    }

    /// A value of a JSON document; `secret`: a name on its path is sensitive.
    pub(super) fn json(node: &Node<'_>, secret: bool) -> Self {
        let (shape, value) = match node {
            Node::Null => (Shape::Null, None),
            Node::Boolean(value) => (Shape::Boolean, Some(value.to_string())),
            Node::Number(value) => (Shape::Number, Some(value.to_string())),
            Node::Text(text) => {
                let quoted = || format!("\"{}\"", legible(text, VALUE_CHARS_MAX));
                (Shape::String(text.chars().count()), (!secret).then(quoted))
            }
            Node::Array(elements) => (Shape::Array(elements.len()), None),
            Node::Object(members) => (Shape::Object(members.len()), None),
        };
        Self { shape, value: value.filter(|_| !secret).map(String::into_boxed_str) }
    }
}

/// The displayable part of a target: the path and the names in the query: `/login?user=…&password=…`.
///
/// A part of the query without `=` may be a value, so it is not displayed. Longer targets than [`TARGET_CHARS_MAX`]
/// characters end in `…`.
#[must_use]
pub fn target(path_and_query: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else {
        return legible(path_and_query, TARGET_CHARS_MAX);
    };
    let mut text = format!("{}?", legible(path, TARGET_CHARS_MAX));
    let mut left = TARGET_CHARS_MAX.saturating_sub(text.chars().count());
    for (position, part) in query.split('&').enumerate() {
        let name = part.split_once('=').map(|(name, _)| legible(name, VALUE_CHARS_MAX));
        let one = match name {
            Some(name) => format!("{name}=…"),
            None if part.is_empty() => String::new(),
            None => "…".to_owned(),
        };
        left = left.saturating_sub(one.chars().count().saturating_add(1));
        if left == 0 {
            text.push('…');
            break;
        }
        if position > 0 {
            text.push('&');
        }
        text.push_str(&one);
    }
    text
}

/// Whether the name looks like that of a secret.
#[must_use]
pub fn is_sensitive_name(name: &str) -> bool {
    if name.len() > NAME_BYTES_MAX {
        return true;
    }
    let plain: String = name.chars().filter(|one| one.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SENSITIVE_PARTS.iter().any(|word| plain.contains(word)) || SENSITIVE_NAMES.contains(&plain.as_str())
}

/// The text in at most `chars_max` characters, followed by `…` if shortened, with invisible characters escaped.
#[must_use]
pub(super) fn legible(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut left = chars_max;
    for one in text.chars() {
        let escaped = match is_unseen(one) {
            true => one.escape_default().to_string(),
            false => one.to_string(),
        };
        let Some(rest) = left.checked_sub(escaped.chars().count()) else {
            shown.push('…');
            break;
        };
        left = rest;
        shown.push_str(&escaped);
    }
    shown
}

/// Whether a character is a control character, changes the writing direction, or has no width.
fn is_unseen(one: char) -> bool {
    one.is_control()
        || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_secrets_are_sensitive_however_they_are_written() {
        for name in [
            "password",
            "userPassword",
            "NEW_PASSWORD",
            "access_token",
            "X-Api-Key",
            "apiKey",
            "Authorization",
            "set-cookie",
            "PHPSESSID-session",
            "client.secret",
            "csrf",
            "key",
            "PIN",
            "Auth",
        ] {
            assert!(is_sensitive_name(name), "{name}");
        }
        assert!(is_sensitive_name(&"n".repeat(2_000)), "too long to be a name");
        for name in ["id", "author", "keyboard", "shipping", "name", "updated_at", "monkey", ""] {
            assert!(!is_sensitive_name(name), "{name}");
        }
    }

    #[test]
    fn of_a_query_only_names_are_shown() {
        for (given, shown) in [
            ("/a/b", "/a/b"),
            ("/a?", "/a?"),
            ("/a?b=1&c=two&b=3", "/a?b=…&c=…&b=…"),
            ("/a?eyJhbGciOi", "/a?…"),
            ("/a?b=1?c=2&&d=", "/a?b=…&&d=…"),
            ("/a?=secret", "/a?=…"),
        ] {
            assert_eq!(target(given), shown, "{given}");
        }
    }

    #[test]
    fn values_are_shortened_and_control_characters_escaped() {
        let shown = |text: &'static str| Shown::json(&Node::Text(text.into()), false).text(true);
        assert_eq!(shown("a\u{1b}[31m\n\u{202e}b"), "\"a\\u{1b}[31m\\n\\u{202e}b\"");
        assert_eq!(legible(&"é".repeat(81), VALUE_CHARS_MAX), format!("{}…", "é".repeat(80)));
        assert_eq!(legible(&"é".repeat(80), VALUE_CHARS_MAX), "é".repeat(80));
    }

    #[test]
    fn shapes_tell_type_and_length() {
        let long = "é".repeat(12);
        for (document, shape) in [
            ("null", "null"),
            ("true", "boolean"),
            ("1.5", "number"),
            (format!("\"{long}\"").as_str(), "string(12)"),
            ("[1,2,3]", "array(3)"),
            (r#"{"a":1}"#, "object(1)"),
        ] {
            let node = Node::parse(document.as_bytes()).unwrap();
            assert_eq!(Shown::json(&node, false).text(false), shape);
            assert_eq!(Shown::json(&node, true).text(true), shape, "a secret");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_bounded_and_has_no_control_characters(text in "(?s).{0,3000}") {
            let value = legible(&text, VALUE_CHARS_MAX);
            prop_assert!(value.chars().count() <= VALUE_CHARS_MAX + 1);
            let shown = target(&text);
            prop_assert!(shown.chars().count() <= 2 * TARGET_CHARS_MAX);
            prop_assert!(!shown.chars().chain(value.chars()).any(char::is_control));
        }

        #[test]
        fn no_value_of_a_query_is_shown(names in prop::collection::vec("[a-z]{0,3}", 0..200)) {
            let query: Vec<_> = names.iter().map(|name| format!("{name}=VALUE")).collect();
            let shown = target(&format!("/p?{}", query.join("&")));
            prop_assert!(!shown.contains("VALUE"), "{shown}");
        }
    }
}
