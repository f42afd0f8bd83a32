//! Request heads (RFC 9112 §3), scanned as their bytes arrive.

use message::{Lines, Method, Span, View};

use crate::Version;
use crate::bytes::{Block, graphic_end, is_token, offset, plain_end};
use crate::error::Error;
use crate::limits::HeadLimits;
use crate::lines::{Cursor, WholeLines, scan_whole_lines};

/// A request's head. Made to be used for many requests: [`RequestHead::reset`] keeps the allocations.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The fields, as offsets into the bytes that [`RequestHead::scan`] was given.
    pub fields: Lines,
    line: RequestLine,
    progress: RequestProgress,
}

/// The parts of a request line that have been scanned.
#[derive(Clone, Copy, Debug, Default)]
struct RequestLine {
    method: Method,
    method_span: Span,
    target: Span,
    /// Where the target's first `?` is, or its end.
    path_end: usize,
    /// The path holds an escape (`%`, or a `#` or backslash, which should be escaped), or behind a slash another one or a
    /// dot.
    path_is_unusual: bool,
    /// The query holds an escape.
    query_is_unusual: bool,
    /// The part of the path that has been scanned ends with a slash.
    ends_with_slash: bool,
    version: Version,
}

#[derive(Clone, Copy, Debug, Default)]
enum RequestProgress {
    /// In the empty lines before a request.
    #[default]
    Begin,
    EmptyLine(usize),
    Method {
        start: usize,
        at: usize,
    },
    Target {
        start: usize,
        at: usize,
    },
    Version(usize),
    Lines(Cursor),
    /// The head's length.
    Complete(usize),
}

impl RequestHead {
    /// Makes it ready for another request; the allocations are kept. All fields are named, so that no state of the last
    /// one can be left over.
    #[inline]
    pub fn reset(&mut self) {
        let Self { fields, line, progress } = self;
        fields.reset();
        (*line, *progress) = (RequestLine::default(), RequestProgress::default());
    }

    /// Scans a head. Returns its length, with the empty line, or `None` if it is incomplete: then to be called again with
    /// the same bytes and more behind them. The work grows with the number of bytes, however they arrive.
    ///
    /// # Errors
    /// [`Error`] if the bytes are no head, or exceed a limit. How the bytes were cut does not change which one.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        let window = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
        if let RequestProgress::Begin = self.progress
            && let Some(start) = self.line.scan_whole(window, limits.target_bytes_max)
        {
            match scan_whole_lines(window, start, limits.fields_max, &mut self.fields) {
                WholeLines::End(end) => {
                    self.progress = RequestProgress::Complete(end);
                    return Ok(Some(end));
                }
                WholeLines::UpTo(cursor) => self.progress = RequestProgress::Lines(cursor),
            }
        }
        match self.advance(window, limits)? {
            None if bytes.len() >= limits.head_bytes_max => Err(match self.progress {
                RequestProgress::Target { .. } | RequestProgress::Version(_) => Error::TargetTooLong,
                RequestProgress::Lines(_) | RequestProgress::Complete(_) => Error::HeadTooLarge,
                RequestProgress::Begin | RequestProgress::EmptyLine(_) | RequestProgress::Method { .. } => {
                    Error::RequestLine
                }
            }),
            end => Ok(end),
        }
    }

    #[cold]
    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        loop {
            let next = match self.progress {
                RequestProgress::Begin => begin(bytes, 0)?,
                RequestProgress::EmptyLine(at) => begin(bytes, at)?,
                RequestProgress::Method { start, at } => self.line.scan_method(bytes, start, at)?,
                RequestProgress::Target { start, at } => {
                    self.line.scan_target(bytes, start, at, limits.target_bytes_max)?
                }
                RequestProgress::Version(at) => self.line.scan_version(bytes, at)?,
                RequestProgress::Lines(mut cursor) => {
                    let end = cursor.scan(bytes, limits.fields_max, &mut self.fields);
                    self.progress = RequestProgress::Lines(cursor);
                    let end = end?;
                    if let Some(end) = end {
                        self.progress = RequestProgress::Complete(end);
                    }
                    return Ok(end);
                }
                RequestProgress::Complete(end) => return Ok(Some(end)),
            };
            match next {
                Step::On(progress) => self.progress = progress,
                Step::Wait(progress) => {
                    self.progress = progress;
                    return Ok(None);
                }
            }
        }
    }

    /// Whether a request has begun: a byte has arrived that does not belong to an empty line.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        !matches!(self.progress, RequestProgress::Begin | RequestProgress::EmptyLine(_))
    }

    /// The method. Its bytes are [`RequestHead::method_span`].
    #[must_use]
    pub const fn method(&self) -> Method {
        self.line.method
    }

    /// Where the method lies.
    #[must_use]
    pub const fn method_span(&self) -> Span {
        self.line.method_span
    }

    /// Where the target lies: printable ASCII, at least one byte.
    #[must_use]
    pub const fn target(&self) -> Span {
        self.line.target
    }

    /// Where the target up to its first `?` lies: the path of a target in origin-form.
    #[must_use]
    pub fn path(&self) -> Span {
        Span::new(self.line.target.start(), self.line.path_end).unwrap_or_default()
    }

    /// Whether the path is in its normal form already: it holds no `%`, `#` or backslash, and no segment of it is empty or
    /// begins with a dot.
    #[must_use]
    pub const fn path_is_plain(&self) -> bool {
        !self.line.path_is_unusual
    }

    /// Whether the query needs no second look: it holds no `%`, `#` or backslash.
    #[must_use]
    pub const fn query_is_plain(&self) -> bool {
        !self.line.query_is_unusual
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.line.version
    }

    /// The fields together with the bytes that were scanned.
    #[must_use]
    pub fn view<'h>(&'h self, bytes: &'h [u8]) -> View<'h> {
        self.fields.view(bytes)
    }
}

/// Whether a part of the head has ended, and where the scanner stands now.
enum Step {
    On(RequestProgress),
    Wait(RequestProgress),
}

/// Skips empty lines (RFC 9112 §2.2).
fn begin(bytes: &[u8], mut at: usize) -> Result<Step, Error> {
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => at += 2,
            (Some(b'\r'), Some(_)) => return Err(Error::LineEnd),
            (Some(b'\r'), None) | (None, _) => return Ok(Step::Wait(RequestProgress::EmptyLine(at))),
            (Some(_), _) => return Ok(Step::On(RequestProgress::Method { start: at, at })),
        }
    }
}

impl RequestLine {
    /// Scans the line if it is there as a whole and nothing is wrong with it, nor unusual in its method or version.
    /// Returns the offset behind it.
    fn scan_whole(&mut self, bytes: &[u8], target_bytes_max: usize) -> Option<usize> {
        const REST: &[u8] = b" HTTP/1.1\r\n";
        let method_end = plain_end(bytes, 0);
        let (method, start) = (bytes.get(..method_end)?, method_end + 1);
        let end = graphic_end(bytes, start);
        let is_whole = bytes.get(method_end) == Some(&b' ') && !method.is_empty() && end > start;
        if !is_whole || end - start > target_bytes_max || !bytes.get(end..)?.starts_with(REST) {
            return None;
        }
        (self.method_span, self.target) = Span::new(0, method_end).zip(Span::new(start, end))?;
        self.method = Method::of(method);
        self.mark_target(bytes, start, end);
        self.end_path(end);
        Some(end + REST.len())
    }

    fn scan_method(&mut self, bytes: &[u8], start: usize, at: usize) -> Result<Step, Error> {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| !is_token(*byte)) else {
            return Ok(Step::Wait(RequestProgress::Method { start, at: bytes.len() }));
        };
        let end = at + length;
        if bytes.get(end) != Some(&b' ') || end == start {
            return Err(Error::RequestLine);
        }
        self.method_span = Span::new(start, end).ok_or(Error::RequestLine)?;
        self.method = Method::of(self.method_span.of(bytes));
        Ok(Step::On(RequestProgress::Target { start: end + 1, at: end + 1 }))
    }

    fn scan_target(&mut self, bytes: &[u8], start: usize, from: usize, bytes_max: usize) -> Result<Step, Error> {
        let at = graphic_end(bytes, from);
        if at - start > bytes_max {
            return Err(Error::TargetTooLong);
        }
        self.mark_target(bytes, from, at);
        match bytes.get(at) {
            None => return Ok(Step::Wait(RequestProgress::Target { start, at })),
            Some(b' ') if at > start => {}
            Some(_) => return Err(Error::RequestLine),
        }
        self.end_path(at);
        self.target = Span::new(start, at).ok_or(Error::TargetTooLong)?;
        Ok(Step::On(RequestProgress::Version(at + 1)))
    }

    /// Notes where the path ends and what is unusual in path and query, for the piece of the target from `from` to `to`.
    fn mark_target(&mut self, bytes: &[u8], from: usize, to: usize) {
        let (mut at, mut in_path, mut in_query) = (from, 0, 0);
        while at < to {
            let (block, count) = (Block::at(bytes, at), (to - at).min(Block::BYTES));
            let piece = (1_u32 << count) - 1;
            let mut path = if self.path_end == 0 { piece } else { 0 };
            let ends = block.bits([b'?']) & path;
            if ends != 0 {
                self.path_end = at + offset(ends);
                path &= (1 << offset(ends)) - 1;
            }
            let escapes = block.bits([b'%', b'#', b'\\']) & piece;
            let slashes = block.bits([b'/']) & path;
            let behind_slashes = slashes << 1 | u32::from(self.ends_with_slash);
            in_path |= escapes & path | (slashes | block.bits([b'.']) & path) & behind_slashes;
            in_query |= escapes & !path;
            self.ends_with_slash = slashes >> (count - 1) != 0;
            at += count;
        }
        self.path_is_unusual |= in_path != 0;
        self.query_is_unusual |= in_query != 0;
    }

    /// A target without a `?` is a path as a whole.
    fn end_path(&mut self, target_end: usize) {
        if self.path_end == 0 {
            self.path_end = target_end;
        }
    }

    /// The version and the end of the line, looked at once they are there as a whole: they are ten bytes.
    fn scan_version(&mut self, bytes: &[u8], at: usize) -> Result<Step, Error> {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"HTTP/1.1\r\n") {
            return Ok(Step::On(RequestProgress::Lines(Cursor::at(at + 10))));
        }
        match Shape::of(rest, b"HTTP/d.d\r\n") {
            Shape::Broken => return Err(Error::RequestLine),
            Shape::Partial => return Ok(Step::Wait(RequestProgress::Version(at))),
            Shape::Whole => {}
        }
        self.version = version(rest)?;
        Ok(Step::On(RequestProgress::Lines(Cursor::at(at + 10))))
    }
}

/// How bytes compare with a pattern in which `d` stands for a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    Partial,
    Broken,
}

impl Shape {
    pub(crate) fn of(bytes: &[u8], pattern: &[u8]) -> Self {
        let fits = |(byte, wanted): (&u8, &u8)| if *wanted == b'd' { byte.is_ascii_digit() } else { byte == wanted };
        match bytes.iter().zip(pattern).all(fits) {
            false => Self::Broken,
            true if bytes.len() < pattern.len() => Self::Partial,
            true => Self::Whole,
        }
    }
}

/// The version of bytes that begin with one.
pub(crate) fn version(bytes: &[u8]) -> Result<Version, Error> {
    match bytes.get(5..8) {
        Some(b"1.1") => Ok(Version::Http11),
        Some(b"1.0") => Ok(Version::Http10),
        _ => Err(Error::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_request_line_is_taken_as_a_whole() {
        let bytes = b"GET /a/b HTTP/1.1\r\n";
        assert_eq!(RequestLine::default().scan_whole(bytes, 4), Some(bytes.len()));
        assert_eq!(RequestLine::default().scan_whole(bytes, 3), None);
        for other in
            ["GET /a/b HTTP/1.0\r\n", "G!T / HTTP/1.1\r\n", " / HTTP/1.1\r\n", "GET  HTTP/1.1\r\n", "GET / HTTP/1.1\r"]
        {
            assert_eq!(RequestLine::default().scan_whole(other.as_bytes(), 100), None, "{other:?}");
        }
    }
}
