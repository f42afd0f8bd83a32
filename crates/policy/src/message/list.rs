//! Comma-separated lists in field values (RFC 9110 §5.6.1).
//!
//! Quoted strings are not looked into: the fields read this way (`Connection`, `Upgrade`, `TE`, …) hold tokens only.

use http::HeaderValue;
use http::header::GetAll;

/// The elements of a list field, over all its lines in order, without surrounding white space; empty ones are skipped.
///
/// Source: RFC 9110 §5.6.1.2.
pub fn elements<'a>(lines: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines.iter().flat_map(|line| line.as_bytes().split(is_comma)).map(<[u8]>::trim_ascii).filter(|one| !one.is_empty())
}

/// Like [`elements`], from the last to the first.
pub fn elements_from_right<'a>(lines: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(is_comma))
        .map(<[u8]>::trim_ascii)
        .filter(|one| !one.is_empty())
}

/// Whether a list field holds this token, in any case.
#[must_use]
pub fn holds(lines: &GetAll<'_, HeaderValue>, token: &str) -> bool {
    elements(lines).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether these bytes are a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a token may hold this byte (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONNECTION;
    use message::Fields;

    fn connection(lines: &[&'static str]) -> Fields {
        lines.iter().map(|line| (CONNECTION, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn lines_are_joined_in_order_and_empty_elements_skipped() {
        let headers = connection(&["a, ,b,", "", "\tc "]);
        let all: Vec<_> = elements(&headers.get_all(CONNECTION)).collect();
        assert_eq!(all, [b"a", b"b", b"c"]);
        let reversed: Vec<_> = elements_from_right(&headers.get_all(CONNECTION)).collect();
        assert_eq!(reversed, [b"c", b"b", b"a"]);
    }

    #[test]
    fn a_token_is_found_in_any_case_and_never_as_a_part() {
        let headers = connection(&["keep-alive", "UPGRADE"]);
        assert!(holds(&headers.get_all(CONNECTION), "upgrade"));
        assert!(!holds(&headers.get_all(CONNECTION), "keep"));
    }

    #[test]
    fn tokens_hold_no_separators() {
        assert!(is_token(b"websocket"));
        for bad in [&b""[..], b"a b", b"a;b", b"\"a\"", b"a/b", b"\x80"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
