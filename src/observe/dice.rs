//! The only reader of randomness.

use http::HeaderValue;

/// One number, even over its whole range. Not for secrets.
#[must_use]
pub fn roll() -> u64 {
    fastrand::u64(..)
}

/// A fraction in `0.0..1.0`.
#[must_use]
pub fn fraction() -> f64 {
    fastrand::f64()
}

/// A number below `n`; 0 if `n` is 0.
#[must_use]
pub fn below(n: usize) -> usize {
    fastrand::usize(..n.max(1))
}

/// 128 random bits in hexadecimal, half of them drawn before: names an exchange.
#[must_use]
pub fn id(drawn: u64) -> HeaderValue {
    let bits = (u128::from(drawn) << 64) | u128::from(roll());
    let mut text = [0; 32];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bits.to_be_bytes()) {
        *pair = [digit(byte >> 4), digit(byte & 0xf)];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_thirty_two_hexadecimal_digits() {
        let id = id(0x0123_4567_89ab_cdef);
        let text = id.to_str().unwrap();
        assert_eq!(text.len(), 32);
        assert!(text.starts_with("0123456789abcdef"), "{text}");
        assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
}
