//! Response heads (RFC 9112 §4), scanned as their bytes arrive.

use message::{Lines, Span, Status, View};

use crate::Version;
use crate::bytes::text_end;
use crate::error::Error;
use crate::limits::HeadLimits;
use crate::lines::{Cursor, WholeLines, scan_whole_lines};
use crate::request::{Shape, version};
use crate::write::CRLF;

/// Where the reason begins, behind `HTTP/1.1 200 `.
const REASON_START: usize = 13;

/// A response's head. Made to be used for many responses: [`ResponseHead::reset`] keeps the allocations.
#[derive(Debug)]
pub struct ResponseHead {
    /// The fields, as offsets into the bytes that [`ResponseHead::scan`] was given.
    pub fields: Lines,
    status: Status,
    reason: Span,
    version: Version,
    progress: ResponseProgress,
}

#[derive(Clone, Copy, Debug)]
enum ResponseProgress {
    /// Up to the status code and what is behind it.
    Begin,
    Reason {
        start: usize,
        at: usize,
    },
    /// Behind the CR of the status line.
    LineFeed(usize),
    Lines(Cursor),
    /// The head's length.
    Complete(usize),
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            fields: Lines::default(),
            status: Status::BAD_GATEWAY,
            reason: Span::default(),
            version: Version::default(),
            progress: ResponseProgress::Begin,
        }
    }
}

impl ResponseHead {
    /// Makes it ready for another response. Built anew around the old allocations, so that no state of the last one can
    /// be left over.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.reset();
        *self = Self { fields, ..Self::default() };
    }

    /// Scans a head. Returns its length, with the empty line, or `None` if it is incomplete: then to be called again with
    /// the same bytes and more behind them. The work grows with the number of bytes, however they arrive.
    ///
    /// An interim response (1xx) is a head of its own: after it, reset and scan what follows.
    ///
    /// # Errors
    /// [`Error`] if the bytes are no head, or exceed a limit. How the bytes were cut does not change which one.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        let window = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
        if let ResponseProgress::Begin = self.progress
            && let Some(start) = self.scan_whole_line(window)
        {
            match scan_whole_lines(window, start, limits.fields_max, &mut self.fields) {
                WholeLines::End(end) => {
                    self.progress = ResponseProgress::Complete(end);
                    return Ok(Some(end));
                }
                WholeLines::UpTo(cursor) => self.progress = ResponseProgress::Lines(cursor),
            }
        }
        match self.advance(window, limits)? {
            None if bytes.len() >= limits.head_bytes_max => Err(Error::HeadTooLarge),
            end => Ok(end),
        }
    }

    /// Scans the status line if it is there as a whole and nothing is wrong with it, nor unusual in its version. Returns
    /// the offset behind it.
    fn scan_whole_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some((b"HTTP/1.1 ", [hundreds, tens, ones, b' ', ..])) = bytes.split_first_chunk() else { return None };
        let digits = [hundreds, tens, ones];
        if !digits.iter().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let end = text_end(bytes, REASON_START);
        if bytes.get(end..end + CRLF.len()) != Some(CRLF) {
            return None;
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(*digit & 0x0f));
        (self.status, self.reason) = Status::new(code).zip(Span::new(REASON_START, end))?;
        Some(end + CRLF.len())
    }

    #[cold]
    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        loop {
            let goes_on = match self.progress {
                ResponseProgress::Begin => self.scan_status(bytes)?,
                ResponseProgress::Reason { start, at } => self.scan_reason(bytes, start, at)?,
                ResponseProgress::LineFeed(at) => match bytes.get(at) {
                    None => false,
                    Some(b'\n') => {
                        self.progress = ResponseProgress::Lines(Cursor::at(at + 1));
                        true
                    }
                    Some(_) => return Err(Error::LineEnd),
                },
                ResponseProgress::Lines(mut cursor) => {
                    let end = cursor.scan(bytes, limits.fields_max, &mut self.fields);
                    self.progress = ResponseProgress::Lines(cursor);
                    let end = end?;
                    if let Some(end) = end {
                        self.progress = ResponseProgress::Complete(end);
                    }
                    return Ok(end);
                }
                ResponseProgress::Complete(end) => return Ok(Some(end)),
            };
            if !goes_on {
                return Ok(None);
            }
        }
    }

    /// The version, the status, and the blank behind it. Some servers leave the blank out if there is no reason.
    fn scan_status(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        match Shape::of(bytes, b"HTTP/d.d ddd") {
            Shape::Broken => return Err(Error::StatusLine),
            Shape::Partial => return Ok(false),
            Shape::Whole => {}
        }
        let Some(behind) = bytes.get(12) else { return Ok(false) };
        self.version = version(bytes)?;
        let digits = bytes.get(9..12).unwrap_or_default();
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit & 0x0f));
        self.status = Status::new(code).ok_or(Error::StatusLine)?;
        self.progress = match behind {
            b' ' => ResponseProgress::Reason { start: REASON_START, at: REASON_START },
            b'\r' => ResponseProgress::LineFeed(13),
            _ => return Err(Error::StatusLine),
        };
        Ok(true)
    }

    fn scan_reason(&mut self, bytes: &[u8], start: usize, from: usize) -> Result<bool, Error> {
        let at = text_end(bytes, from);
        match bytes.get(at) {
            None => {
                self.progress = ResponseProgress::Reason { start, at };
                Ok(false)
            }
            Some(b'\r') => {
                self.reason = Span::new(start, at).ok_or(Error::HeadTooLarge)?;
                self.progress = ResponseProgress::LineFeed(at + 1);
                Ok(true)
            }
            Some(b'\n') => Err(Error::LineEnd),
            Some(_) => Err(Error::StatusLine),
        }
    }

    /// The status; meaningless before the head is complete.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Where the reason phrase lies; it may be empty.
    #[must_use]
    pub const fn reason(&self) -> Span {
        self.reason
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The fields together with the bytes that were scanned.
    #[must_use]
    pub fn view<'h>(&'h self, bytes: &'h [u8]) -> View<'h> {
        self.fields.view(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_status_line_is_taken_as_a_whole() {
        for (bytes, code) in
            [(&b"HTTP/1.1 200 OK\r\n"[..], 200), (b"HTTP/1.1 404 \r\n", 404), (b"HTTP/1.1 599 \xe4\r\n", 599)]
        {
            let mut head = ResponseHead::default();
            assert_eq!(head.scan_whole_line(bytes), Some(bytes.len()));
            assert_eq!(head.status.code(), code);
        }
        for other in [
            "HTTP/1.0 200 OK\r\n",
            "HTTP/1.1 200\r\n",
            "HTTP/1.1 2x0 OK\r\n",
            "HTTP/1.1 600 x\r\n",
            "HTTP/1.1 200 O\0\r\n",
        ] {
            assert_eq!(ResponseHead::default().scan_whole_line(other.as_bytes()), None, "{other:?}");
        }
    }
}
