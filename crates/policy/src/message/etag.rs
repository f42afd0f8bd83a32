//! Parses and compares entity tags (RFC 9110 §8.8.3).
//!
//! `conditions` decides the consequences. A tag without quotes is invalid and matches nothing, so the client gets the
//! complete response instead of a 304.

use message::{Fields, Known};

/// An entity tag, borrowed from a field value.
///
/// Has no `==`, so that callers must choose a comparison ([`EntityTag::matches`]).
#[derive(Clone, Copy, Debug)]
pub struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

/// The comparison of two entity tags (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal, and neither is weak: the bytes are identical.
    Strong,
    /// Equal, weak or not: the representations are equivalent.
    Weak,
}

impl<'a> EntityTag<'a> {
    /// Parses a complete entity tag; `None` if it is invalid.
    ///
    /// Source: RFC 9110 §8.8.3. `W/` is case-sensitive.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::read(bytes.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// The entity tag of a response; `None` if there is none, several, or a malformed one.
    #[must_use]
    pub fn of(response: &'a Fields) -> Option<Self> {
        let mut lines = response.values(Known::Etag);
        let tag = Self::parse(lines.next()?)?;
        lines.next().is_none().then_some(tag)
    }

    /// Whether the tag is weak: equal tags then mean equivalent content, not identical bytes.
    #[must_use]
    pub const fn is_weak(&self) -> bool {
        self.weak
    }

    /// Whether two tags match under this comparison.
    ///
    /// Source: RFC 9110 §8.8.3.2.
    #[must_use]
    pub fn matches(&self, other: &EntityTag<'_>, comparison: Comparison) -> bool {
        let fits = match comparison {
            Comparison::Strong => !self.weak && !other.weak,
            Comparison::Weak => true,
        };
        fits && self.opaque == other.opaque
    }

    /// Parses a tag at the start of the input.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = bytes.strip_prefix(b"W/").map_or((false, bytes), |quoted| (true, quoted));
        let inner = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) = inner.split_at_checked(inner.iter().position(|byte| *byte == b'"')?)?;
        let rest = rest.strip_prefix(b"\"")?;
        opaque.iter().all(|byte| is_tag_byte(*byte)).then_some((Self { weak, opaque }, rest))
    }
}

/// Whether the lines of an `If-Match` or `If-None-Match` contain this tag. `*` matches any representation, also one
/// without a tag, but only if it is the only element. Malformed elements match nothing.
///
/// Source: RFC 9110 §13.1.1 and §13.1.2.
#[must_use]
pub fn named<'a>(
    mut lines: impl Iterator<Item = &'a [u8]>,
    tag: Option<&EntityTag<'_>>,
    comparison: Comparison,
) -> bool {
    let (first, second) = (lines.next(), lines.next());
    if second.is_none() && first.is_some_and(|line| line.trim_ascii() == b"*") {
        return true;
    }
    let Some(tag) = tag else { return false };
    let all = first.into_iter().chain(second).chain(lines);
    all.flat_map(|line| Tags { rest: line }).any(|named| named.matches(tag, comparison))
}

/// The well-formed tags of one line. A tag may contain a comma, so splitting at commas is not enough.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.is_empty() {
                return None;
            }
            let read = EntityTag::read(self.rest);
            let after = read.map_or(self.rest, |(_, after)| after).trim_ascii_start();
            let ends_here = after.first().is_none_or(|byte| *byte == b',');
            self.rest = after_comma(after);
            if let (Some((tag, _)), true) = (read, ends_here) {
                return Some(tag);
            }
        }
    }
}

/// The input after the next comma; empty if there is none.
fn after_comma(bytes: &[u8]) -> &[u8] {
    let comma = bytes.iter().position(|byte| *byte == b',').unwrap_or(bytes.len());
    bytes.get(comma.saturating_add(1)..).unwrap_or_default()
}

/// `etagc` (RFC 9110 §8.8.3): visible ASCII except the quote, or above ASCII.
const fn is_tag_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(text: &str) -> EntityTag<'_> {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    fn is_named(lines: &[&str], stored: Option<&str>, comparison: Comparison) -> bool {
        named(lines.iter().map(|line| line.as_bytes()), stored.map(tag).as_ref(), comparison)
    }

    #[test]
    fn rfc9110_8_8_3_what_is_an_entity_tag() {
        for good in ["\"xyzzy\"", "W/\"xyzzy\"", "\"\"", "W/\"\"", "\"a,b\"", "\"\\\"", " \"a\"\t", "\"\u{e4}\""] {
            assert!(EntityTag::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "xyzzy", "\"a", "a\"", "w/\"a\"", "W/a", "\"a\"b", "\"a b\"", "\"a\x7f\"", "*", "W/ \"a\""] {
            assert!(EntityTag::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn rfc9110_8_8_3_2_the_table_of_comparisons() {
        let cases = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"A\"", false, false),
            ("\"a\"", "\"A\"", false, false),
        ];
        for (one, two, strong, weak) in cases {
            assert_eq!(tag(one).matches(&tag(two), Comparison::Strong), strong, "{one} {two}");
            assert_eq!(tag(two).matches(&tag(one), Comparison::Strong), strong, "{two} {one}");
            assert_eq!(tag(one).matches(&tag(two), Comparison::Weak), weak, "{one} {two}");
        }
    }

    #[test]
    fn rfc9110_8_8_3_a_response_has_one_tag_or_none() {
        let mut headers = Fields::new();
        assert!(EntityTag::of(&headers).is_none());
        headers.append(Known::Etag, "W/\"a\"");
        assert!(EntityTag::of(&headers).is_some_and(|tag| tag.is_weak()));
        headers.append(Known::Etag, "\"b\"");
        assert!(EntityTag::of(&headers).is_none());
    }

    #[test]
    fn rfc9110_13_1_2_lists_over_several_lines_with_commas_inside_tags() {
        let lines = ["\"a,b\", W/\"c\",,", "\"d\""];
        for inside in ["\"a,b\"", "\"c\"", "\"d\"", "W/\"d\""] {
            assert!(is_named(&lines, Some(inside), Comparison::Weak), "{inside}");
        }
        for outside in ["\"a\"", "\"b\"", "\"\""] {
            assert!(!is_named(&lines, Some(outside), Comparison::Weak), "{outside}");
        }
        assert!(!is_named(&lines, Some("\"c\""), Comparison::Strong));
        assert!(!is_named(&lines, None, Comparison::Weak));
    }

    #[test]
    fn rfc9110_13_1_2_an_asterisk_names_whatever_is_there_but_only_alone() {
        assert!(is_named(&["*"], None, Comparison::Strong));
        assert!(is_named(&[" * "], Some("\"a\""), Comparison::Weak));
        assert!(!is_named(&["*, \"b\""], Some("\"a\""), Comparison::Weak));
        assert!(!is_named(&["*", "*"], Some("\"a\""), Comparison::Weak));
    }

    #[test]
    fn a_malformed_element_hides_no_other_and_matches_nothing() {
        assert!(is_named(&["a, \"b\""], Some("\"b\""), Comparison::Weak));
        assert!(!is_named(&["\"b\"x"], Some("\"b\""), Comparison::Weak));
        assert!(!is_named(&["b"], Some("\"b\""), Comparison::Weak));
        assert!(!is_named(&[], Some("\"b\""), Comparison::Weak));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let count = Tags { rest: &bytes }.count();
            prop_assert!(count <= bytes.len());
        }

        #[test]
        fn every_tag_of_a_list_is_found(tags in proptest::collection::vec("(W/)?\"[!#-~]{0,6}\"", 1..8)) {
            let line = tags.join(" , ");
            prop_assert_eq!(Tags { rest: line.as_bytes() }.count(), tags.len());
            for one in &tags {
                prop_assert!(is_named(&[&line], Some(one), Comparison::Weak));
            }
        }
    }
}
