//! Whether a backend's final response head can be passed on.
//!
//! hyper has refused malformed status lines, disagreeing lengths of bodies it reads, and `Transfer-Encoding` in
//! HTTP/1.0. It leaves open what is judged here: statuses past 599, codings other than `chunked` (it decodes only that
//! one), lengths next to a coding, and lengths on responses without a body. Interim responses (1xx) are judged
//! elsewhere; so is whether a 101 was asked for.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use message::Fields;

use super::census::{Census, Rare};
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

/// Judges a response head, whose `census` this is, and leaves at most one `Content-Length` in it.
///
/// Next to `Transfer-Encoding`, `Content-Length` is removed and the framing doubtful (RFC 9112 §6.3). Equal lengths
/// become one (RFC 9110 §8.6). A 101 or 204 has none (ibid.). `Transfer-Encoding` itself is left for `hop::remove`.
///
/// # Errors
/// [`BadResponse`] → 502.
pub fn settle(status: StatusCode, headers: &mut Fields, census: Census) -> Result<Framing, BadResponse> {
    if !(status == StatusCode::SWITCHING_PROTOCOLS || (200..=599).contains(&status.as_u16())) {
        return Err(BadResponse::Status(status.as_u16()));
    }
    let coding = if census.has(Rare::TransferEncoding) {
        transfer::judge(&headers.get_all(TRANSFER_ENCODING)).map_err(|_| BadResponse::TransferEncoding)?
    } else {
        Coding::None
    };
    let (length, lengths) = if census.has(Rare::ContentLength) { content_length(headers)? } else { (None, 0) };
    let without_body = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT);
    match (length, coding) {
        (None, _) => Ok(Framing::Sound),
        (Some(_), Coding::Chunked) => {
            headers.remove(CONTENT_LENGTH);
            Ok(Framing::Doubtful)
        }
        (Some(length), Coding::None) if without_body => {
            headers.remove(CONTENT_LENGTH);
            Ok(if length == 0 { Framing::Sound } else { Framing::Doubtful })
        }
        (Some(length), Coding::None) => {
            if lengths > 1 {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Ok(Framing::Sound)
        }
    }
}

/// The one number that all lines agree on, and how often it is said.
fn content_length(headers: &Fields) -> Result<(Option<u64>, usize), BadResponse> {
    let mut agreed = None;
    let mut count = 0;
    let lines = headers.get_all(CONTENT_LENGTH);
    for element in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
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
    use super::*;
    use http::HeaderName;

    fn settled(status: u16, fields: &[(&'static str, &'static str)]) -> Result<(Framing, Fields), BadResponse> {
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(&HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let census = Census::of(&headers);
        settle(StatusCode::from_u16(status).unwrap(), &mut headers, census).map(|framing| (framing, headers))
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
        let (framing, headers) = settled(200, &[("content-length", "4, 4"), ("content-length", "4")]).unwrap();
        assert_eq!((framing, headers.get_all(CONTENT_LENGTH).iter().count()), (Framing::Sound, 1));
        assert_eq!(headers[CONTENT_LENGTH], "4");
    }

    #[test]
    fn next_to_a_coding_the_length_goes_and_the_connection_is_not_reused() {
        let both = [("content-length", "4"), ("transfer-encoding", "chunked")];
        let (framing, headers) = settled(200, &both).unwrap();
        assert_eq!(framing, Framing::Doubtful);
        assert!(!headers.contains_key(CONTENT_LENGTH));
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
