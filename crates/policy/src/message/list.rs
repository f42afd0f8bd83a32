//! Parses comma-separated lists (RFC 9110 §5.6.1).
//!
//! Does not handle quoted strings: the fields parsed here (`Connection`, `Upgrade`, `TE`, …) contain tokens only.

pub use message::{is_token, is_token_byte};

/// The elements of a list field, over all lines in order, without surrounding white space and empty elements.
///
/// Source: RFC 9110 §5.6.1.2.
pub fn elements<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| line.split(is_comma)).map(<[u8]>::trim_ascii).filter(|one| !one.is_empty())
}

/// Like [`elements`], from the last to the first.
pub fn elements_from_right<'a>(lines: impl DoubleEndedIterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.rev().flat_map(|line| line.rsplit(is_comma)).map(<[u8]>::trim_ascii).filter(|one| !one.is_empty())
}

/// Whether a list field contains this token, ignoring case.
#[must_use]
pub fn holds<'a>(lines: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    elements(lines).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(lines: &'a [&'a str]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        lines.iter().map(|line| line.as_bytes())
    }

    #[test]
    fn lines_are_joined_in_order_and_empty_elements_skipped() {
        let given = ["a, ,b,", "", "\tc "];
        assert_eq!(elements(lines(&given)).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(elements_from_right(lines(&given)).collect::<Vec<_>>(), [b"c", b"b", b"a"]);
    }

    #[test]
    fn a_token_is_found_in_any_case_and_never_as_a_part() {
        let given = ["keep-alive", "UPGRADE"];
        assert!(holds(lines(&given), "upgrade"));
        assert!(!holds(lines(&given), "keep"));
    }

    #[test]
    fn tokens_hold_no_separators() {
        assert!(is_token(b"websocket"));
        for bad in [&b""[..], b"a b", b"a;b", b"\"a\"", b"a/b", b"\x80"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
