//! The only source of randomness.

use super::request_id::RequestId;

/// A uniform 64-bit number. Not for secrets.
#[must_use]
pub(crate) fn roll() -> u64 {
    fastrand::u64(..)
}

/// A fraction in `0.0..1.0`.
#[must_use]
pub(crate) fn fraction() -> f64 {
    fastrand::f64()
}

/// A number below `n`; 0 if `n` is 0.
#[must_use]
pub(crate) fn below(n: usize) -> usize {
    fastrand::usize(..n.max(1))
}

/// 128 random bits, of which `drawn` are half: the id of an exchange.
#[must_use]
pub(crate) fn id(drawn: u64) -> RequestId {
    RequestId::Drawn(id_digits(drawn))
}

/// The same as 32 hexadecimal digits.
#[must_use]
pub(crate) fn id_digits(drawn: u64) -> [u8; 32] {
    RequestId::digits((u128::from(drawn) << 64) | u128::from(roll()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_thirty_two_hexadecimal_digits() {
        let id = id(0x0123_4567_89ab_cdef);
        let text = id.text();
        assert_eq!(text.len(), 32);
        assert!(text.starts_with("0123456789abcdef"), "{text}");
        assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    }
}
