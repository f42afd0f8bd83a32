//! Evaluates `Max-Forwards` (RFC 9110 §7.6.2).
//!
//! It only applies to OPTIONS and TRACE; the caller checks the method.

use message::{Fields, Known};

/// What `Max-Forwards` requires of this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Forward the request unchanged.
    Free,
    /// Forward it with this `Max-Forwards`.
    Left(u64),
    /// Answer it here.
    AnswerHere,
}

/// Parses and decrements `Max-Forwards`. A value that is not a number is ignored and left unchanged.
#[must_use]
pub fn count_down(fields: &Fields) -> Forwarding {
    match fields.first(Known::MaxForwards).and_then(whole_number) {
        None => Forwarding::Free,
        Some(0) => Forwarding::AnswerHere,
        Some(left) => Forwarding::Left(left.saturating_sub(1)),
    }
}

/// Digits only, because `parse` alone would accept a sign. A number that is too large becomes the largest.
fn whole_number(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::scripted::fields;
    use super::*;

    fn counted(value: &str) -> Forwarding {
        count_down(&fields(&[("max-forwards", value)]))
    }

    #[test]
    fn max_forwards_zero_is_answered_here() {
        assert_eq!(counted("0"), Forwarding::AnswerHere);
    }

    #[test]
    fn max_forwards_is_counted_down() {
        assert_eq!(counted("10"), Forwarding::Left(9));
        assert_eq!(counted("99999999999999999999999"), Forwarding::Left(u64::MAX - 1));
    }

    #[test]
    fn a_value_that_is_no_number_is_left_alone() {
        assert_eq!(counted("+1"), Forwarding::Free);
        assert_eq!(counted(""), Forwarding::Free);
        assert_eq!(count_down(&Fields::new()), Forwarding::Free);
    }
}
