//! The grammar of tokens: methods and field names (RFC 9110 §5.6.2).

/// Whether a byte may stand in a token.
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Whether the bytes are a token: at least one byte, and each may stand in one.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_controls_blanks_and_bytes_past_ascii_are_in_no_token() {
        let outside: Vec<u8> = (0x21..0x7f).filter(|byte| !is_token_byte(*byte)).collect();
        assert_eq!(outside, b"\"(),/:;<=>?@[\\]{}");
        assert!((0..=0x20).chain(0x7f..=0xff).all(|byte| !is_token_byte(byte)));
    }

    #[test]
    fn a_token_has_at_least_one_byte() {
        assert!(is_token(b"X-1") && !is_token(b"") && !is_token(b"a b"));
    }
}
