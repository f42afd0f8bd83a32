//! One field line: offsets into the bytes of its head, and its tag.

use std::ops::Range;

use crate::known::Known;
use crate::span::Span;

/// One field line: where it lies in a head, and what its name is. 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub(super) name: Span,
    pub(super) value: Span,
    /// Behind the line's CRLF.
    pub(super) end: u16,
    pub(super) known: Known,
    pub(super) is_dropped: bool,
}

impl Line {
    /// A line with this name and value (without the whitespace around it) that ends, with its CRLF, before `end`.
    ///
    /// # Errors
    /// [`TooLarge`] if it ends past 65,535.
    pub fn new(name: Span, value: Span, end: usize, known: Known) -> Result<Self, TooLarge> {
        let end = u16::try_from(end).map_err(|_| TooLarge)?;
        Ok(Self { name, value, end, known, is_dropped: false })
    }

    /// The same, of offsets that were found in ascending order: only the last one is looked at.
    ///
    /// # Errors
    /// [`TooLarge`] if it ends past 65,535.
    #[inline]
    pub const fn found(name: Range<usize>, value: Range<usize>, end: usize, known: Known) -> Result<Self, TooLarge> {
        if end > u16::MAX as usize {
            return Err(TooLarge);
        }
        Ok(Self { name: Span::found(name), value: Span::found(value), end: end as u16, known, is_dropped: false })
    }

    pub(super) fn field(self, bytes: &[u8]) -> Field<'_> {
        Field { name: self.name.of(bytes), value: self.value.of(bytes), known: self.known }
    }

    /// Where it begins.
    #[inline]
    pub(super) fn start(self) -> usize {
        self.name.start()
    }

    /// Where it ends, behind its CRLF.
    #[inline]
    pub(super) fn end(self) -> usize {
        usize::from(self.end)
    }

    /// The line in wire form.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    /// The line as it lies when it begins at `start`; `None` if it would end past 65,535.
    pub(super) fn moved(self, start: usize) -> Option<Self> {
        let end = start + self.end().saturating_sub(self.start());
        let by = (start as u16).wrapping_sub(self.start() as u16);
        (end <= usize::from(u16::MAX)).then(|| self.moved_by(by))
    }

    /// The line as it lies so far behind its place, modulo 65,536.
    #[inline]
    pub(super) const fn moved_by(self, by: u16) -> Self {
        let (name, value) = (self.name.moved_by(by), self.value.moved_by(by));
        Self { name, value, end: self.end.wrapping_add(by), known: self.known, is_dropped: self.is_dropped }
    }
}

/// A head or its edits exceed 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fields exceed 64 KiB")]
pub struct TooLarge;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'h> {
    /// The name as it was written.
    pub name: &'h [u8],
    /// The value without the whitespace around it.
    pub value: &'h [u8],
    /// The name's tag.
    pub known: Known,
}
