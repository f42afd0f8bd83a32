//! Writes `Via`, and detects forwarding loops with it (RFC 9110 §7.6.3).

use http::Version;
use message::{FieldLine, Fields, Known};

use super::list::{elements, is_token};

/// How often a proxy's own name may occur in the `Via` of an incoming request. Two are allowed, for a host that is
/// routed through another one of the same proxy.
pub const PASSES_MAX: usize = 2;

/// The `Via` elements of one proxy.
#[derive(Clone, Debug)]
pub struct Signature {
    name: Box<str>,
    http_10: FieldLine,
    http_11: FieldLine,
    http_2: FieldLine,
}

impl Signature {
    /// For a proxy with this pseudonym; `None` unless it is a token.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if !is_token(name.as_bytes()) {
            return None;
        }
        let line = |version: &str| FieldLine::new(Known::Via, format!("{version} {name}")).ok();
        Some(Self { name: name.into(), http_10: line("1.0")?, http_11: line("1.1")?, http_2: line("2")? })
    }

    /// The pseudonym.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `Via` line to append to a message that was received with this version.
    ///
    /// Appended as a separate line, which is equivalent to a longer list and needs no copy. Existing lines are kept;
    /// the limit on heads bounds them.
    #[must_use]
    pub fn line(&self, received: Version) -> &FieldLine {
        if received == Version::HTTP_10 {
            &self.http_10
        } else if received == Version::HTTP_2 {
            &self.http_2
        } else {
            &self.http_11
        }
    }

    /// The number of occurrences of this pseudonym in `Via`, ignoring case, over all lines. More than [`PASSES_MAX`]
    /// mean a forwarding loop.
    #[must_use]
    pub fn count(&self, fields: &Fields) -> usize {
        let is_ours = |one: &&[u8]| received_by(one).is_some_and(|by| by.eq_ignore_ascii_case(self.name.as_bytes()));
        elements(fields.values(Known::Via)).filter(is_ours).count()
    }
}

/// The received-by part: the second word of `1.1 forebay (comment)`.
fn received_by(element: &[u8]) -> Option<&[u8]> {
    element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{fields, values};
    use super::*;

    fn signature() -> Signature {
        Signature::new("forebay-1a2b3c4d").unwrap()
    }

    #[test]
    fn our_signature_follows_those_of_others() {
        let mut fields = fields(&[("via", "1.0 fred, 1.1 p.example.net")]);
        fields.append_line(signature().line(Version::HTTP_11));
        assert_eq!(values(&fields, "via"), ["1.0 fred, 1.1 p.example.net", "1.1 forebay-1a2b3c4d"]);
    }

    #[test]
    fn the_version_is_the_one_received() {
        for (version, expected) in [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")] {
            let mut fields = Fields::new();
            fields.append_line(signature().line(version));
            assert_eq!(values(&fields, "via"), [format!("{expected} forebay-1a2b3c4d")]);
        }
    }

    #[test]
    fn our_own_signatures_are_counted_over_all_lines() {
        let one = "1.1 forebay-1a2b3c4d, 1.1  FOREBAY-1A2B3C4D (x), 1.1 other, forebay-1a2b3c4d, 1.1 forebay-1a2b3c4dd";
        let fields = fields(&[("via", one), ("Via", "HTTP/1.1 forebay-1a2b3c4d"), ("via", "1.1 forebay")]);
        assert_eq!(signature().count(&fields), 3);
        assert_eq!(signature().count(&Fields::new()), 0);
    }

    #[test]
    fn a_pseudonym_is_a_token() {
        for name in ["", "a b", "a,b", "a:80", "(a)", "\u{e4}"] {
            assert!(Signature::new(name).is_none(), "{name}");
        }
        assert_eq!(Signature::new("edge-1.example").unwrap().name(), "edge-1.example");
    }
}
