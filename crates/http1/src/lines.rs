//! The scanner of field lines, for heads and trailer sections (RFC 9112 §5).
//!
//! A line that is there as a whole is taken in one step. Any other is walked byte by byte by a cursor, which keeps its
//! place between two calls: however the bytes arrive, the work grows with their number alone. The step accepts only what the
//! cursor accepts, and leaves errors to it.

use std::ops::Range;

use message::{Known, Line, Lines, TooLarge};

use crate::bytes::{Block, first_colon, first_unplain, from_control, is_token, plain_end, text_end};
use crate::error::Error;
use crate::write::CRLF;

/// Where the scanner stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// Where the current line begins.
    line: usize,
    /// Where the current line's colon is, once it was found.
    colon: usize,
    known: Known,
    /// The next byte to look at.
    at: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In a name, or where one may begin.
    #[default]
    Name,
    Value,
    /// Behind the CR of a line.
    LineFeed,
    /// Behind the CR of the empty line.
    LastLineFeed,
}

impl Cursor {
    /// A cursor whose first line begins at this offset.
    pub(crate) fn at(start: usize) -> Self {
        Self { line: start, at: start, ..Self::default() }
    }

    /// Scans lines up to the empty one, and pushes them to `fields`. Returns the offset behind the empty line, or `None`
    /// if it has not arrived yet: then to be called again with the same bytes and more behind them.
    pub(crate) fn scan(&mut self, bytes: &[u8], fields_max: usize, fields: &mut Lines) -> Result<Option<usize>, Error> {
        loop {
            if self.place == Place::Name && self.at == self.line {
                match scan_whole_lines(bytes, self.line, fields_max, fields) {
                    WholeLines::End(end) => return Ok(Some(end)),
                    WholeLines::UpTo(cursor) => *self = cursor,
                }
            }
            let goes_on = match self.place {
                Place::Name => self.scan_name(bytes)?,
                Place::Value => self.scan_value(bytes)?,
                Place::LineFeed => self.end_line(bytes, fields_max, fields)?,
                Place::LastLineFeed => {
                    return match bytes.get(self.at) {
                        Some(b'\n') => Ok(Some(self.at + 1)),
                        Some(_) => Err(Error::LineEnd),
                        None => Ok(None),
                    };
                }
            };
            if !goes_on {
                return Ok(None);
            }
        }
    }

    fn scan_name(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        if self.at == self.line {
            match rest.first() {
                None => return Ok(false),
                Some(b'\r') => {
                    self.at += 1;
                    self.place = Place::LastLineFeed;
                    return Ok(true);
                }
                Some(b' ' | b'\t') => return Err(Error::FoldedLine),
                Some(_) => {}
            }
        }
        let Some(offset) = rest.iter().position(|byte| *byte == b':') else {
            check_token(rest)?;
            self.at = bytes.len();
            return Ok(false);
        };
        self.colon = self.at + offset;
        let name = bytes.get(self.line..self.colon).unwrap_or_default();
        self.known = Known::exact(name);
        if self.known == Known::Other {
            // A known name is a token; others are looked at byte by byte.
            check_token(name)?;
            if name.is_empty() {
                return Err(Error::FieldName);
            }
            self.known = Known::family(name);
        }
        self.at = self.colon + 1;
        self.place = Place::Value;
        Ok(true)
    }

    fn scan_value(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        self.at = text_end(bytes, self.at);
        match bytes.get(self.at) {
            None => Ok(false),
            Some(b'\r') => {
                self.at += 1;
                self.place = Place::LineFeed;
                Ok(true)
            }
            Some(b'\n') => Err(Error::LineEnd),
            Some(_) => Err(Error::FieldValue),
        }
    }

    fn end_line(&mut self, bytes: &[u8], fields_max: usize, fields: &mut Lines) -> Result<bool, Error> {
        match bytes.get(self.at) {
            None => return Ok(false),
            Some(b'\n') => {}
            Some(_) => return Err(Error::LineEnd),
        }
        if fields.received_count() >= fields_max {
            return Err(Error::TooManyFields);
        }
        let end = self.at + 1;
        fields.push(line(bytes, self.line, self.colon, self.at - 1, self.known).map_err(|_| Error::HeadTooLarge)?);
        *self = Self::at(end);
        Ok(true)
    }
}

/// How far lines that are there as a whole reach.
pub(crate) enum WholeLines {
    /// The empty line was there; this is the offset behind it.
    End(usize),
    /// Up to a line that is not, or that the cursor must look at.
    UpTo(Cursor),
}

/// Pushes the lines from `start` on that are there as a whole.
pub(crate) fn scan_whole_lines(bytes: &[u8], start: usize, fields_max: usize, fields: &mut Lines) -> WholeLines {
    let mut scanner = Scanner { bytes, start };
    loop {
        let left = fields_max.saturating_sub(fields.received_count());
        fields.push_some(scanner.by_ref().take(left));
        let start = scanner.start;
        if bytes.get(start..start + CRLF.len()) == Some(CRLF) {
            return WholeLines::End(start + CRLF.len());
        }
        match whole_line(bytes, start) {
            Some((line, end)) if fields.received_count() < fields_max => {
                fields.push(line);
                scanner.start = end;
            }
            Some(_) | None => return WholeLines::UpTo(Cursor::at(start)),
        }
    }
}

/// The lines that are there as a whole and with which nothing is wrong, nor unusual in their names or values.
struct Scanner<'b> {
    bytes: &'b [u8],
    /// Where the next line begins.
    start: usize,
}

impl Iterator for Scanner<'_> {
    type Item = Line;

    #[inline(always)]
    fn next(&mut self) -> Option<Line> {
        let (bytes, start) = (self.bytes, self.start);
        let window = bytes.get(start..)?.first_chunk()?;
        let name_bytes = first_colon(window)?;
        let known = Known::in_front(window, name_bytes);
        if known == Known::Other && !is_unknown(window, name_bytes) {
            return None;
        }
        let colon = start + name_bytes;
        // As nearly all values are written: one blank in front, and none around.
        let value = bytes.get(colon + 1..)?;
        let [b' ', first, ..] = value.first_chunk::<16>()? else { return None };
        let rest = from_control(value)?;
        let end = bytes.len() - rest.len();
        if *first <= b' ' || bytes.get(end - 1) <= Some(&b' ') || !rest.starts_with(CRLF) {
            return None;
        }
        self.start = end + CRLF.len();
        Line::found(start..colon, colon + 2..end, self.start, known).ok()
    }
}

/// Whether a name that has no tag for itself alone has none at all: it is plain, and its first letter begins no family.
#[inline(always)]
fn is_unknown(window: &[u8; Block::BYTES], name_bytes: usize) -> bool {
    let [first, ..] = window;
    name_bytes != 0 && !Known::begins_family(*first) && first_unplain(window) == name_bytes
}

/// The line that begins at `start` and the offset behind it, if it is there as a whole and its name is plain.
#[inline(never)]
fn whole_line(bytes: &[u8], start: usize) -> Option<(Line, usize)> {
    let colon = plain_end(bytes, start);
    if bytes.get(colon) != Some(&b':') || colon == start {
        return None;
    }
    let known = Known::of_plain(bytes.get(start..colon)?);
    let end = text_end(bytes, colon + 1);
    if bytes.get(end..end + CRLF.len()) != Some(CRLF) {
        return None;
    }
    Some((line(bytes, start, colon, end, known).ok()?, end + CRLF.len()))
}

/// The line from `start` to its CR, and where its colon is.
#[inline]
fn line(bytes: &[u8], start: usize, colon: usize, end: usize, known: Known) -> Result<Line, TooLarge> {
    let value = match (bytes.get(colon + 1), bytes.get(colon + 2), bytes.get(end - 1)) {
        (Some(b' '), Some(b'!'..), Some(b'!'..)) => colon + 2..end,
        _ => trimmed(bytes, colon + 1, end),
    };
    Line::found(start..colon, value, end + CRLF.len(), known)
}

/// The value from `start` to `end` without the whitespace around it.
#[cold]
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Range<usize> {
    let value = bytes.get(start..end).unwrap_or_default().trim_ascii_start();
    let start = end - value.len();
    start..start + value.trim_ascii_end().len()
}

fn check_token(bytes: &[u8]) -> Result<(), Error> {
    match bytes.iter().find(|byte| !is_token(**byte)) {
        None => Ok(()),
        Some(b'\r' | b'\n') => Err(Error::LineEnd),
        Some(_) => Err(Error::FieldName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_taken_as_a_whole() {
        let bytes = b"Host: h\r\nX-Long-Name-Of-A-Field:v\r\n\r\n";
        let mut lines = Lines::default();
        assert!(matches!(scan_whole_lines(bytes, 0, 2, &mut lines), WholeLines::End(end) if end == bytes.len()));
        assert_eq!(lines.received_count(), 2);
    }

    #[test]
    fn others_are_left_to_the_cursor() {
        for rest in
            ["X_Y: v\r\n\r\n", ": v\r\n\r\n", "A: v\r", "A: v\rb\r\n\r\n", "A\r\n\r\n", "\r", "", " A: v\r\n\r\n"]
        {
            let bytes = format!("Host: h\r\n{rest}");
            let found = scan_whole_lines(bytes.as_bytes(), 0, 100, &mut Lines::default());
            assert!(matches!(found, WholeLines::UpTo(Cursor { line: 9, at: 9, .. })), "{rest:?}");
        }
    }
}
