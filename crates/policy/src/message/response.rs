//! Whether a backend's final response head can be passed on.
//!
//! The status line has been judged before. Here it is: statuses past 599, codings other than `chunked`, lengths that
//! contradict each other, lengths next to a coding, and lengths on responses without a body. Interim responses (1xx) are
//! judged elsewhere; so is whether a 101 was asked for.

use http::StatusCode;
use message::{Edit, Fields, Known};

use super::transfer::{self, Coding};

/// Why a response is not passed on: 502, and the backend's connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Neither 101 nor from 200 to 599 (RFC 9110 §15).
    #[error("status {0} is not one that HTTP knows")]
    Status(u16),
    /// `Content-Length` lines that differ, or no number (RFC 9112 §6.3).
    #[error("Content-Length is malformed or contradicts itself")]
    ContentLength,
    /// A coding other than `chunked`, whose content could not be understood once the field is gone.
    #[error("Transfer-Encoding is not chunked alone")]
    TransferEncoding,
}

/// Whether the connection that a response came on may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It may.
    Sound,
    /// It may not: recipients could disagree about where this response ends.
    Doubtful,
}

/// A response head that can be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether its framing leaves no doubt.
    pub framing: Framing,
    /// What leaves at most one `Content-Length` in it, where that needs doing.
    pub length: Option<Edit<'static>>,
}

/// Judges a response head.
///
/// Next to `Transfer-Encoding`, `Content-Length` is removed and the framing doubtful (RFC 9112 §6.3). Equal lengths
/// become one (RFC 9110 §8.6). A 101 or 204 has none (ibid.). `Transfer-Encoding` itself is left for `hop`.
///
/// # Errors
/// [`BadResponse`] → 502.
pub fn settle(status: StatusCode, fields: &Fields) -> Result<Settled, BadResponse> {
    if !(status == StatusCode::SWITCHING_PROTOCOLS || (200..=599).contains(&status.as_u16())) {
        return Err(BadResponse::Status(status.as_u16()));
    }
    let codings = fields.values(Known::TransferEncoding);
    let coding = transfer::judge(codings).map_err(|_| BadResponse::TransferEncoding)?;
    let (length, lengths) = content_length(fields)?;
    let without_body = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT);
    let none = || Some(Edit::DropKnown(Known::ContentLength.into()));
    let (framing, length) = match (length, coding) {
        (None, _) => (Framing::Sound, None),
        (Some(_), Coding::Chunked) => (Framing::Doubtful, none()),
        (Some(0), Coding::None) if without_body => (Framing::Sound, none()),
        (Some(_), Coding::None) if without_body => (Framing::Doubtful, none()),
        (Some(length), Coding::None) => {
            let one = || Edit::set(Known::ContentLength, length.to_string().into_bytes());
            (Framing::Sound, (lengths > 1).then(one))
        }
    };
    Ok(Settled { framing, length })
}

/// The one number that all lines agree on, and how often it is said.
fn content_length(fields: &Fields) -> Result<(Option<u64>, usize), BadResponse> {
    let mut agreed = None;
    let mut count = 0;
    let lines = fields.values(Known::ContentLength);
    for element in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let digits = std::str::from_utf8(element.trim_ascii()).map_err(|_| BadResponse::ContentLength)?;
        // `parse` alone would take a sign.
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = number.ok_or(BadResponse::ContentLength)?;
        if *agreed.get_or_insert(number) != number {
            return Err(BadResponse::ContentLength);
        }
        count += 1;
    }
    Ok((agreed, count))
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{fields, values};
    use super::*;

    fn settled(status: u16, pairs: &[(&str, &str)]) -> Result<(Framing, Fields), BadResponse> {
        let mut fields = fields(pairs);
        let Settled { framing, length } = settle(StatusCode::from_u16(status).unwrap(), &fields)?;
        fields.apply_all(length);
        Ok((framing, fields))
    }

    #[test]
    fn a_status_past_599_is_refused() {
        for status in [100, 199, 600, 999] {
            assert_eq!(settled(status, &[]), Err(BadResponse::Status(status)));
        }
        for status in [101, 200, 404, 599] {
            assert!(settled(status, &[]).is_ok());
        }
    }

    #[test]
    fn two_different_lengths_are_refused_and_equal_ones_become_one() {
        let twice = [("content-length", "4"), ("content-length", "5")];
        for status in [200, 204, 304] {
            assert_eq!(settled(status, &twice), Err(BadResponse::ContentLength));
        }
        for bad in ["4, 5", "+4", "", "4,", "x", "99999999999999999999"] {
            assert_eq!(settled(200, &[("content-length", bad)]), Err(BadResponse::ContentLength), "{bad}");
        }
        let (framing, fields) = settled(200, &[("content-length", "4, 4"), ("content-length", "4")]).unwrap();
        assert_eq!(framing, Framing::Sound);
        assert_eq!(values(&fields, "content-length"), ["4"]);
    }

    #[test]
    fn next_to_a_coding_the_length_goes_and_the_connection_is_not_reused() {
        let both = [("content-length", "4"), ("transfer-encoding", "chunked")];
        let (framing, headers) = settled(200, &both).unwrap();
        assert_eq!(framing, Framing::Doubtful);
        assert!(!headers.contains(Known::ContentLength));
    }

    #[test]
    fn a_coding_that_would_stay_undecoded_is_refused() {
        for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked"] {
            assert_eq!(settled(200, &[("transfer-encoding", coding)]), Err(BadResponse::TransferEncoding));
        }
    }

    #[test]
    fn a_204_has_no_length_but_a_304_may() {
        let (framing, headers) = settled(204, &[("content-length", "0")]).unwrap();
        assert_eq!((framing, headers.len()), (Framing::Sound, 0));
        assert_eq!(settled(204, &[("content-length", "4")]).unwrap().0, Framing::Doubtful);
        assert_eq!(settled(304, &[("content-length", "4")]).unwrap().1.len(), 1);
    }
}
