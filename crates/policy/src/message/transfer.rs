//! What a request's `Transfer-Encoding` says (RFC 9112 §6.1).
//!
//! All codings of all lines count, not only the last one.

use super::list::is_token;

/// How a request body is framed, as far as `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// There is no such field.
    None,
    /// `chunked`, once and alone.
    Chunked,
}

/// Why a request is refused for its `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCoding {
    /// A coding that is not understood: 501 (RFC 9112 §6.1).
    #[error("transfer coding is not known")]
    Unknown,
    /// Empty, `identity`, `chunked` twice or not last, or no token at all: 400.
    #[error("Transfer-Encoding is malformed")]
    Malformed,
}

/// Judges all `Transfer-Encoding` lines of a request.
///
/// Empty list elements are refused too, though the list grammar lets recipients skip them: no honest client sends
/// them here, and peers disagree about what they mean.
///
/// # Errors
/// [`BadCoding::Unknown`] → 501, [`BadCoding::Malformed`] → 400; the latter wins.
pub fn judge<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Coding, BadCoding> {
    let (mut chunked, mut unknown) = (false, false);
    for element in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let element = element.trim_ascii();
        if chunked {
            return Err(BadCoding::Malformed);
        }
        if element.eq_ignore_ascii_case(b"chunked") {
            chunked = true;
        } else if is_known_nowhere(element) {
            unknown = true;
        } else {
            return Err(BadCoding::Malformed);
        }
    }
    match (unknown, chunked) {
        (true, _) => Err(BadCoding::Unknown),
        (false, true) => Ok(Coding::Chunked),
        (false, false) => Ok(Coding::None),
    }
}

/// A well-formed coding, perhaps with parameters, that is neither `chunked` nor the long withdrawn `identity`.
fn is_known_nowhere(element: &[u8]) -> bool {
    let name = element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    is_token(name) && !name.eq_ignore_ascii_case(b"identity") && !name.eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> Result<Coding, BadCoding> {
        judge(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn chunked_alone_passes_in_any_case() {
        assert_eq!(judged(&[]), Ok(Coding::None));
        assert_eq!(judged(&["chunked"]), Ok(Coding::Chunked));
        assert_eq!(judged(&[" Chunked\t"]), Ok(Coding::Chunked));
    }

    #[test]
    fn an_unknown_coding_is_not_implemented() {
        for lines in [&["gzip, chunked"][..], &["xchunked", "chunked"], &["gzip"], &["gzip;level=1, chunked"]] {
            assert_eq!(judged(lines), Err(BadCoding::Unknown), "{lines:?}");
        }
    }

    #[test]
    fn chunked_twice_identity_and_empty_are_malformed() {
        let cases: [&[&str]; 11] = [
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity"],
            &["identity, chunked"],
            &[""],
            &["chunked,"],
            &[", chunked"],
            &["chunked;a=b"],
            &["\"chunked\""],
            &["chunked gzip"],
            &["chunked, gzip"],
        ];
        for lines in cases {
            assert_eq!(judged(lines), Err(BadCoding::Malformed), "{lines:?}");
        }
    }
}
