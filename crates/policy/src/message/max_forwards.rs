//! How many more proxies a request may pass (RFC 9110 §7.6.2).
//!
//! Only OPTIONS and TRACE are bound by it; that check is the caller's.

use message::{Fields, Known};

/// What `Max-Forwards` asks of this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The request may go on as it is.
    Free,
    /// It may go on with this `Max-Forwards`.
    Left(u64),
    /// It must be answered here.
    AnswerHere,
}

/// Reads `Max-Forwards` and counts it down. A value that is no number is ignored and left alone.
#[must_use]
pub fn count_down(fields: &Fields) -> Forwarding {
    match fields.first(Known::MaxForwards).and_then(whole_number) {
        None => Forwarding::Free,
        Some(0) => Forwarding::AnswerHere,
        Some(left) => Forwarding::Left(left.saturating_sub(1)),
    }
}

/// Digits only: `parse` alone would take a sign. A number too large to hold counts as the largest.
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
