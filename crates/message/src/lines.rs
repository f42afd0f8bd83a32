//! The field lines of one head as offsets into its bytes, plus edits.
//!
//! A received line is a few offsets into the head and a tag; nothing is copied or lower-cased, so order, case and
//! duplicates are kept. An edit marks a line as dropped or appends one in wire form. The head is written once, in runs
//! of lines that were kept. The bytes of the head are not held here: who reads the fields brings them (see [`View`]).

use crate::edit::{Edit, EditError};
use crate::known::{Known, KnownSet};
use crate::span::Span;
use crate::token::is_token;

/// One field line: where it lies in a head, and what its name is. 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    name: Span,
    value: Span,
    /// Behind the line's CRLF.
    end: u16,
    known: Known,
    is_dropped: bool,
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
}

/// A head or its edits exceed 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fields exceed 64 KiB")]
pub struct TooLarge;

/// The field lines of one head. Made to be used for many heads: [`Lines::reset`] keeps the allocations.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Lines in the head's bytes, in their order.
    received: Vec<Line>,
    /// Lines in `appended`, in their order.
    added: Vec<Line>,
    /// Appended lines in wire form.
    appended: Vec<u8>,
    /// The tags of all lines that are not dropped.
    present: KnownSet,
}

impl Lines {
    /// Makes it empty. Built anew around the old allocations, so that no state of the last head can be left over.
    pub fn reset(&mut self) {
        let Self { mut received, mut added, mut appended, present: _ } = std::mem::take(self);
        received.clear();
        added.clear();
        appended.clear();
        *self = Self { received, added, appended, present: KnownSet::EMPTY };
    }

    /// Adds a received line behind those that are there.
    pub fn push(&mut self, line: Line) {
        self.present.insert(line.known);
        self.received.push(line);
    }

    /// How many lines were received, dropped ones included.
    #[must_use]
    pub fn received_count(&self) -> usize {
        self.received.len()
    }

    /// Whether a line with one of these tags is there.
    #[must_use]
    pub fn has(&self, tags: impl Into<KnownSet>) -> bool {
        self.present.intersects(tags.into())
    }

    /// The fields together with the bytes of their head.
    #[must_use]
    pub fn view<'h>(&'h self, head: &'h [u8]) -> View<'h> {
        View { head, fields: self }
    }

    /// Applies an edit. `head` is the head that the fields were received in.
    ///
    /// # Errors
    /// [`EditError`] if the name or value would not make one field line, or the appended lines exceed 64 KiB. Then
    /// nothing has changed.
    pub fn apply(&mut self, head: &[u8], edit: &Edit<'_>) -> Result<(), EditError> {
        match edit {
            Edit::DropKnown(tags) => self.drop_known(*tags),
            Edit::Drop(name) => self.drop_named(head, name.text().ok_or(EditError::Name)?),
            Edit::Append(name, value) => self.append(name.text().ok_or(EditError::Name)?, value)?,
            Edit::Set(name, value) => {
                let name = name.text().ok_or(EditError::Name)?;
                let line = self.check(name, value)?;
                self.drop_named(head, name);
                self.append_checked(name, value, line);
            }
        }
        Ok(())
    }

    /// Drops all lines with one of these tags.
    pub fn drop_known(&mut self, tags: KnownSet) {
        if self.present.intersects(tags) {
            for line in self.received.iter_mut().chain(&mut self.added) {
                line.is_dropped |= tags.contains(line.known);
            }
            self.present = self.present.without(tags);
        }
    }

    /// Drops all lines of this name, in any case. `head` is the head that the fields were received in.
    pub fn drop_named(&mut self, head: &[u8], name: &[u8]) {
        let known = Known::of(name);
        if !self.has(known) {
            return;
        }
        let mut left = KnownSet::EMPTY;
        let received = self.received.iter_mut().map(|line| (line, head));
        let added = self.added.iter_mut().map(|line| (line, self.appended.as_slice()));
        for (line, bytes) in received.chain(added) {
            line.is_dropped |= line.known == known && line.name.of(bytes).eq_ignore_ascii_case(name);
            if !line.is_dropped {
                left.insert(line.known);
            }
        }
        self.present = left;
    }

    /// Appends a line.
    ///
    /// # Errors
    /// As [`Lines::apply`].
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), EditError> {
        let line = self.check(name, value)?;
        self.append_checked(name, value, line);
        Ok(())
    }

    /// Where the line will lie among the appended ones, if it is one.
    fn check(&self, name: &[u8], value: &[u8]) -> Result<Line, EditError> {
        let known = Known::exact(name);
        if known == Known::Other && !is_token(name) {
            return Err(EditError::Name);
        }
        if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
            return Err(EditError::Value);
        }
        let start = self.appended.len();
        let name_end = start + name.len();
        let value_start = name_end + SEPARATOR.len();
        let value_end = value_start + value.trim_ascii().len();
        let line = Span::new(start, name_end).zip(Span::new(value_start, value_end));
        let (name_span, value_span) = line.ok_or(EditError::TooLarge)?;
        let known = if known == Known::Other { Known::family(name) } else { known };
        Line::new(name_span, value_span, value_end + CRLF.len(), known).map_err(|TooLarge| EditError::TooLarge)
    }

    fn append_checked(&mut self, name: &[u8], value: &[u8], line: Line) {
        for part in [name, SEPARATOR, value.trim_ascii(), CRLF] {
            self.appended.extend_from_slice(part);
        }
        self.present.insert(line.known);
        self.added.push(line);
    }
}

const SEPARATOR: &[u8] = b": ";
const CRLF: &[u8] = b"\r\n";

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

/// Lines together with the bytes of their head: the head as it is to be sent, edits included.
#[derive(Clone, Copy, Debug)]
pub struct View<'h> {
    head: &'h [u8],
    fields: &'h Lines,
}

impl<'h> View<'h> {
    /// Whether a field with one of these tags is there.
    #[must_use]
    pub fn has(self, tags: impl Into<KnownSet>) -> bool {
        self.fields.has(tags)
    }

    /// All fields, in order: received ones, then appended ones.
    pub fn all(self) -> impl Iterator<Item = Field<'h>> {
        let received = self.fields.received.iter().map(move |line| (line, self.head));
        let added = self.fields.added.iter().map(move |line| (line, self.fields.appended.as_slice()));
        received.chain(added).filter(|(line, _)| !line.is_dropped).map(|(line, bytes)| Field {
            name: line.name.of(bytes),
            value: line.value.of(bytes),
            known: line.known,
        })
    }

    /// The fields with one of these tags, in order.
    pub fn tagged(self, tags: impl Into<KnownSet>) -> impl Iterator<Item = Field<'h>> {
        let tags = tags.into();
        let present = self.has(tags).then(|| self.all());
        present.into_iter().flatten().filter(move |field| tags.contains(field.known))
    }

    /// The value of the first field with this tag.
    #[must_use]
    pub fn first(self, tag: Known) -> Option<&'h [u8]> {
        self.tagged(tag).next().map(|field| field.value)
    }

    /// The fields of this name, in any case, in order.
    pub fn named(self, name: &[u8]) -> impl Iterator<Item = Field<'h>> {
        self.tagged(Known::of(name)).filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    /// The lines in wire form, in order: as few slices as there are runs of kept lines.
    pub fn runs(self) -> impl Iterator<Item = &'h [u8]> {
        let received = Runs { bytes: self.head, lines: &self.fields.received };
        let added = Runs { bytes: &self.fields.appended, lines: &self.fields.added };
        received.chain(added)
    }

    /// Writes the lines in wire form, without the empty line that ends a head.
    pub fn write(self, out: &mut Vec<u8>) {
        for run in self.runs() {
            out.extend_from_slice(run);
        }
    }

    /// How many bytes [`View::write`] writes.
    #[must_use]
    pub fn written_bytes(self) -> usize {
        self.runs().map(<[u8]>::len).sum()
    }
}

/// Runs of kept lines that follow one another.
struct Runs<'h> {
    bytes: &'h [u8],
    lines: &'h [Line],
}

impl<'h> Iterator for Runs<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let mut run: Option<(usize, usize)> = None;
        while let Some((line, rest)) = self.lines.split_first() {
            match run {
                None if line.is_dropped => {}
                None => run = Some((line.name.start(), usize::from(line.end))),
                Some((start, end)) if !line.is_dropped && line.name.start() == end => {
                    run = Some((start, usize::from(line.end)));
                }
                Some(_) => break,
            }
            self.lines = rest;
        }
        run.map(|(start, end)| self.bytes.get(start..end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
