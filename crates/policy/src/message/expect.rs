//! Parses a request's `Expect` (RFC 9110 §10.1.1).

use message::{Fields, Known};

use super::list::elements;

/// What a client expects before it sends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// A `100 Continue`.
    Continue,
}

/// An unknown expectation: 417.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request expects something other than 100-continue")]
pub struct Unmet;

/// The expectation of a request.
///
/// # Errors
/// [`Unmet`] for anything but `100-continue`.
pub fn judge(fields: &Fields) -> Result<Expectation, Unmet> {
    elements(fields.values(Known::Expect)).try_fold(Expectation::None, |_, one| {
        if one.eq_ignore_ascii_case(b"100-continue") { Ok(Expectation::Continue) } else { Err(Unmet) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> Result<Expectation, Unmet> {
        judge(&lines.iter().map(|line| ("expect", line)).collect())
    }

    #[test]
    fn only_a_continue_may_be_expected() {
        assert_eq!(judged(&[]), Ok(Expectation::None));
        assert_eq!(judged(&["100-Continue"]), Ok(Expectation::Continue));
        assert_eq!(judged(&["200-maybe"]), Err(Unmet));
        assert_eq!(judged(&["100-continue", "200-maybe"]), Err(Unmet));
    }
}
