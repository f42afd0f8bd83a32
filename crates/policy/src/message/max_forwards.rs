//! How many more proxies a request may pass (RFC 9110 §7.6.2).
//!
//! Only OPTIONS and TRACE are bound by it; that check is the caller's.

use http::HeaderValue;
use http::header::MAX_FORWARDS;
use message::Fields;

/// What `Max-Forwards` asks of this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The request may go on.
    Free,
    /// It must be answered here.
    AnswerHere,
}

/// Reads `Max-Forwards` and counts it down. A value that is no number is ignored and left alone.
pub fn count_down(headers: &mut Fields) -> Forwarding {
    let number = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok()).and_then(whole_number);
    match number {
        None => Forwarding::Free,
        Some(0) => Forwarding::AnswerHere,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
            Forwarding::Free
        }
    }
}

/// Digits only: `parse` alone would take a sign. A number too large to hold counts as the largest.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(value: &'static str) -> (Forwarding, String) {
        let mut headers = Fields::from_iter([(MAX_FORWARDS, HeaderValue::from_static(value))]);
        let forwarding = count_down(&mut headers);
        (forwarding, headers[MAX_FORWARDS].to_str().unwrap().to_owned())
    }

    #[test]
    fn max_forwards_zero_is_answered_here() {
        assert_eq!(counted("0"), (Forwarding::AnswerHere, "0".to_owned()));
    }

    #[test]
    fn max_forwards_is_counted_down() {
        assert_eq!(counted("10"), (Forwarding::Free, "9".to_owned()));
        assert_eq!(counted("99999999999999999999999"), (Forwarding::Free, (u64::MAX - 1).to_string()));
    }

    #[test]
    fn a_value_that_is_no_number_is_left_alone() {
        assert_eq!(counted("+1"), (Forwarding::Free, "+1".to_owned()));
        assert_eq!(counted(""), (Forwarding::Free, String::new()));
    }
}
