//! Request heads (RFC 9112 §3), scanned as their bytes arrive.

use message::{Lines, Method, Span, View};

use crate::Version;
use crate::bytes::{DOT, ESCAPE, SLASH, TARGET_END, TOKEN, class};
use crate::error::Error;
use crate::limits::HeadLimits;
use crate::lines::Cursor;

/// A request's head. Made to be used for many requests: [`RequestHead::reset`] keeps the allocations.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The fields, as offsets into the bytes that [`RequestHead::scan`] was given.
    pub fields: Lines,
    line: RequestLine,
    progress: Progress,
}

/// The parts of a request line that have been scanned.
#[derive(Clone, Copy, Debug, Default)]
struct RequestLine {
    method: Method,
    method_span: Span,
    target: Span,
    /// Where the target's first `?` is, or its end.
    path_end: usize,
    /// The classes of all bytes in the path, and those in the query.
    path_classes: u8,
    query_classes: u8,
    /// The classes of the last byte of the path.
    last_classes: u8,
    has_slash_runs: bool,
    version: Version,
}

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
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
    /// Makes it ready for another request. Built anew around the old allocations, so that no state of the last one can
    /// be left over.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.reset();
        *self = Self { fields, ..Self::default() };
    }

    /// Scans a head. Returns its length, with the empty line, or `None` if it is incomplete: then to be called again with
    /// the same bytes and more behind them. No byte is looked at more than twice.
    ///
    /// # Errors
    /// [`Error`] if the bytes are no head, or exceed a limit. How the bytes were cut does not change which one.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        let window = bytes.get(..limits.head_bytes_max).unwrap_or(bytes);
        match self.advance(window, limits)? {
            None if bytes.len() >= limits.head_bytes_max => Err(match self.progress {
                Progress::Target { .. } | Progress::Version(_) => Error::TargetTooLong,
                Progress::Lines(_) | Progress::Complete(_) => Error::HeadTooLarge,
                Progress::Begin | Progress::EmptyLine(_) | Progress::Method { .. } => Error::RequestLine,
            }),
            end => Ok(end),
        }
    }

    fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Error> {
        loop {
            let next = match self.progress {
                Progress::Begin => begin(bytes, 0)?,
                Progress::EmptyLine(at) => begin(bytes, at)?,
                Progress::Method { start, at } => self.line.scan_method(bytes, start, at)?,
                Progress::Target { start, at } => self.line.scan_target(bytes, start, at, limits.target_bytes_max)?,
                Progress::Version(at) => self.line.scan_version(bytes, at)?,
                Progress::Lines(mut cursor) => {
                    let end = cursor.scan(bytes, limits.fields_max, &mut self.fields);
                    self.progress = Progress::Lines(cursor);
                    let end = end?;
                    if let Some(end) = end {
                        self.progress = Progress::Complete(end);
                    }
                    return Ok(end);
                }
                Progress::Complete(end) => return Ok(Some(end)),
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
        !matches!(self.progress, Progress::Begin | Progress::EmptyLine(_))
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

    /// Whether the path is in its normal form already: it holds no `%`, dot, `#`, backslash or two slashes in a row.
    #[must_use]
    pub const fn path_is_plain(&self) -> bool {
        self.line.path_classes & (ESCAPE | DOT) == 0 && !self.line.has_slash_runs
    }

    /// Whether the query needs no second look: it holds no `%`, `#` or backslash.
    #[must_use]
    pub const fn query_is_plain(&self) -> bool {
        self.line.query_classes & ESCAPE == 0
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
    On(Progress),
    Wait(Progress),
}

/// Skips empty lines (RFC 9112 §2.2).
fn begin(bytes: &[u8], mut at: usize) -> Result<Step, Error> {
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => at += 2,
            (Some(b'\r'), Some(_)) => return Err(Error::LineEnd),
            (Some(b'\r'), None) | (None, _) => return Ok(Step::Wait(Progress::EmptyLine(at))),
            (Some(_), _) => return Ok(Step::On(Progress::Method { start: at, at })),
        }
    }
}

impl RequestLine {
    fn scan_method(&mut self, bytes: &[u8], start: usize, at: usize) -> Result<Step, Error> {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| class(*byte) & TOKEN == 0) else {
            return Ok(Step::Wait(Progress::Method { start, at: bytes.len() }));
        };
        let end = at + length;
        if bytes.get(end) != Some(&b' ') || end == start {
            return Err(Error::RequestLine);
        }
        self.method_span = Span::new(start, end).ok_or(Error::RequestLine)?;
        self.method = Method::of(self.method_span.of(bytes));
        Ok(Step::On(Progress::Target { start: end + 1, at: end + 1 }))
    }

    fn scan_target(&mut self, bytes: &[u8], start: usize, from: usize, bytes_max: usize) -> Result<Step, Error> {
        let rest = bytes.get(from..).unwrap_or_default();
        let length = rest.iter().position(|byte| class(*byte) & TARGET_END != 0).unwrap_or(rest.len());
        let at = from + length;
        if at - start > bytes_max {
            return Err(Error::TargetTooLong);
        }
        self.mark_target(rest.get(..length).unwrap_or_default(), from);
        match bytes.get(at) {
            None => return Ok(Step::Wait(Progress::Target { start, at })),
            Some(b' ') if at > start => {}
            Some(_) => return Err(Error::RequestLine),
        }
        if self.path_end == 0 {
            self.path_end = at;
        }
        self.target = Span::new(start, at).ok_or(Error::TargetTooLong)?;
        Ok(Step::On(Progress::Version(at + 1)))
    }

    /// Notes where the path ends and what is unusual in path and query, for a piece of the target that begins at `from`.
    fn mark_target(&mut self, piece: &[u8], from: usize) {
        let mut query = piece;
        if self.path_end == 0 {
            let length = piece.iter().position(|byte| *byte == b'?').unwrap_or(piece.len());
            let (path, behind) = piece.split_at_checked(length).unwrap_or((piece, &[]));
            for byte in path {
                let classes = class(*byte);
                self.has_slash_runs |= classes & self.last_classes & SLASH != 0;
                self.path_classes |= classes;
                self.last_classes = classes;
            }
            let Some((_, behind)) = behind.split_first() else { return };
            self.path_end = from + length;
            query = behind;
        }
        self.query_classes |= query.iter().fold(0, |classes, byte| classes | class(*byte));
    }

    /// The version and the end of the line, looked at once they are there as a whole: they are ten bytes.
    fn scan_version(&mut self, bytes: &[u8], at: usize) -> Result<Step, Error> {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"HTTP/1.1\r\n") {
            return Ok(Step::On(Progress::Lines(Cursor::at(at + 10))));
        }
        match Shape::of(rest, b"HTTP/d.d\r\n") {
            Shape::Broken => return Err(Error::RequestLine),
            Shape::Partial => return Ok(Step::Wait(Progress::Version(at))),
            Shape::Whole => {}
        }
        self.version = version(rest)?;
        Ok(Step::On(Progress::Lines(Cursor::at(at + 10))))
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
