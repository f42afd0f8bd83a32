//! The field lines of one head as offsets into its bytes, plus edits.
//!
//! A received line is a few offsets into the head and a tag; nothing is copied or lower-cased, so order, case and
//! duplicates are kept. An edit marks a line as dropped or appends one in wire form. The head is written once, in runs
//! of lines that were kept. The bytes of the head are not held here: who reads the fields brings them (see [`View`]).

mod cut;
mod made;

pub use self::made::{FieldLine, NumberLine};

use std::ops::Range;

use crate::edit::{Edit, EditError};
use crate::known::{Known, KnownSet};
use crate::name::Name;
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

    fn field(self, bytes: &[u8]) -> Field<'_> {
        Field { name: self.name.of(bytes), value: self.value.of(bytes), known: self.known }
    }

    /// The line in wire form.
    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.name.start()..usize::from(self.end)).unwrap_or_default()
    }

    /// The line when its text lies so much further back, still before 65,535.
    fn shifted(mut self, by: usize) -> Self {
        (self.name, self.value) = (self.name.shifted(by), self.value.shifted(by));
        self.end = self.end.saturating_add(u16::try_from(by).unwrap_or(u16::MAX));
        self
    }

    /// The line as it lies when it begins at `start`; `None` if it would end past 65,535.
    fn moved(self, start: usize) -> Option<Self> {
        let place = |offset: usize| start + offset.saturating_sub(self.name.start());
        let name = Span::new(place(self.name.start()), place(self.name.end()))?;
        let value = Span::new(place(self.value.start()), place(self.value.end()))?;
        Self::new(name, value, place(usize::from(self.end)), self.known).ok()
    }
}

/// A head or its edits exceed 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fields exceed 64 KiB")]
pub struct TooLarge;

/// The field lines of one head. Made to be used for many heads: [`Lines::reset`] keeps the allocations.
#[derive(Debug, Default)]
pub struct Lines {
    /// Lines in the head's bytes, in their order, then lines in `appended`, in theirs.
    lines: Vec<Line>,
    /// How many of them were received.
    received: usize,
    /// Appended lines in wire form.
    appended: Vec<u8>,
    /// The tags of all lines that are not dropped.
    present: KnownSet,
}

/// With room for what is usually appended to a copy: a stored head is copied for each client that is served with it.
impl Clone for Lines {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len() + ADDED_ROOM);
        lines.extend_from_slice(&self.lines);
        Self { lines, received: self.received, appended: self.appended.clone(), present: self.present }
    }

    /// A copy in the allocations that are there.
    fn clone_from(&mut self, source: &Self) {
        let Self { lines, received, appended, present } = source;
        self.lines.clear();
        self.lines.reserve(lines.len() + ADDED_ROOM);
        self.lines.extend_from_slice(lines);
        self.appended.clear();
        self.appended.extend_from_slice(appended);
        (self.received, self.present) = (*received, *present);
    }
}

impl Lines {
    /// Makes it empty; the allocations are kept. All fields are named, so that no state of the last head can be left over.
    #[inline]
    pub fn reset(&mut self) {
        let Self { lines, received, appended, present } = self;
        lines.clear();
        appended.clear();
        (*received, *present) = (0, KnownSet::EMPTY);
    }

    /// Adds a received line behind those that were received.
    #[inline]
    pub fn push(&mut self, line: Line) {
        self.present.insert(line.known);
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve(LINES_ROOM);
        }
        if self.received >= self.lines.len() {
            self.lines.push(line);
        } else {
            self.lines.insert(self.received, line);
        }
        self.received += 1;
    }

    /// Adds received lines, up to the number that there is room for without an allocation: a loop without a call keeps what
    /// a scanner works with in registers. With appended lines there is none.
    #[inline(always)]
    pub fn push_some(&mut self, lines: impl Iterator<Item = Line>) {
        if self.received < self.lines.len() {
            return;
        }
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve(LINES_ROOM);
        }
        let mut present = self.present;
        for line in lines {
            present.insert(line.known);
            self.lines.push(line);
            if self.lines.len() == self.lines.capacity() {
                break;
            }
        }
        self.received = self.lines.len();
        self.present = present;
    }

    /// How many lines were received, dropped ones included.
    #[must_use]
    pub fn received_count(&self) -> usize {
        self.received
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
            Edit::Append(name, value) => self.append(*name, value)?,
            Edit::AppendNumber(line, number) => self.append_number(*line, *number)?,
            Edit::Set(name, value) => self.set(head, *name, value)?,
        }
        Ok(())
    }

    /// Drops all lines with one of these tags.
    pub fn drop_known(&mut self, tags: KnownSet) {
        if self.present.intersects(tags) {
            for line in &mut self.lines {
                line.is_dropped |= tags.contains(line.known);
            }
            self.present = self.present.without(tags);
        }
    }

    /// Drops all lines of this name, in any case. `head` is the head that the fields were received in.
    pub fn drop_named(&mut self, head: &[u8], name: &[u8]) {
        self.drop_other(head, Known::of(name), name);
    }

    /// The same for a name with this tag.
    fn drop_other(&mut self, head: &[u8], known: Known, name: &[u8]) {
        let is_it =
            |(line, bytes): (Line, &[u8])| line.known == known && line.name.of(bytes).eq_ignore_ascii_case(name);
        if !self.has(known) || !self.kept(head).any(is_it) {
            return;
        }
        let mut left = KnownSet::EMPTY;
        for (index, line) in self.lines.iter_mut().enumerate() {
            let bytes = if index < self.received { head } else { self.appended.as_slice() };
            line.is_dropped |= line.known == known && line.name.of(bytes).eq_ignore_ascii_case(name);
            if !line.is_dropped {
                left.insert(line.known);
            }
        }
        self.present = left;
    }

    /// Drops all lines of this name and appends one. `head` is the head that the fields were received in.
    ///
    /// # Errors
    /// As [`Lines::apply`].
    pub fn set<'n>(&mut self, head: &[u8], name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), EditError> {
        let name = name.into();
        let (text, line) = self.check(name, value)?;
        match name {
            Name::Known(known) => self.drop_known(known.into()),
            Name::Text(text) => self.drop_named(head, text),
        }
        self.append_checked(text, value, line);
        Ok(())
    }

    /// Drops the lines for which `keeps` is false. Returns how many. `head` is the head that the fields were received in.
    pub(crate) fn retain(&mut self, head: &[u8], mut keeps: impl FnMut(Field<'_>) -> bool) -> usize {
        let (mut left, mut dropped) = (KnownSet::EMPTY, 0);
        for (index, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| !line.is_dropped) {
            let bytes = if index < self.received { head } else { self.appended.as_slice() };
            if keeps(line.field(bytes)) {
                left.insert(line.known);
            } else {
                line.is_dropped = true;
                dropped += 1;
            }
        }
        self.present = left;
        dropped
    }

    /// Appends the lines of others, which are ranges of `head`, as they are; what would exceed 64 KiB is left out.
    pub(crate) fn append_lines(&mut self, others: &Self, head: &[u8]) {
        self.make_room();
        if self.append_text(others, head).is_some() {
            return;
        }
        for (line, from) in others.kept(head) {
            if self.append_copy(line, line.of(from)).is_none() {
                break;
            }
        }
    }

    /// Appends lines that begin a text and were all kept, by one copy. `None`: they are not like that, or too long.
    fn append_text(&mut self, others: &Self, head: &[u8]) -> Option<()> {
        let (shift, count) = (self.appended.len(), self.lines.len());
        let text = head.get(..usize::from(others.lines.last()?.end))?;
        let is_whole = others.appended.is_empty() && others.lines.first()?.name.start() == 0;
        if !is_whole || shift + text.len() > usize::from(u16::MAX) {
            return None;
        }
        self.lines.extend(others.lines.iter().map(|line| line.shifted(shift)));
        if self.lines.iter().skip(count).any(|line| line.is_dropped) {
            self.lines.truncate(count);
            return None;
        }
        self.appended.extend_from_slice(text);
        self.present = self.present.union(others.present);
        Some(())
    }

    /// Appends a line of another head, which has this text. `None`: it would exceed 64 KiB.
    fn append_copy(&mut self, line: Line, text: &[u8]) -> Option<()> {
        let copy = line.moved(self.appended.len())?;
        self.appended.extend_from_slice(text);
        self.present.insert(copy.known);
        self.lines.push(copy);
        Some(())
    }

    /// Makes room for what is usually appended, before the first line is.
    fn make_room(&mut self) {
        if self.appended.capacity() == 0 {
            self.lines.reserve(ADDED_ROOM);
            // Made anew, not grown: that takes a third of the instructions.
            self.appended = Vec::with_capacity(APPENDED_BYTES_ROOM);
        }
    }

    /// The lines that are not dropped, in order, with the bytes that they are ranges of.
    fn kept<'h>(&'h self, head: &'h [u8]) -> impl DoubleEndedIterator<Item = (Line, &'h [u8])> + Clone {
        let lines = self.lines.iter().enumerate().filter(|(_, line)| !line.is_dropped);
        lines.map(move |(index, line)| (*line, if index < self.received { head } else { self.appended.as_slice() }))
    }

    /// Writes the lines to `bytes`, which is empty, and returns the index of that, with allocations of exact size. Lines
    /// past 64 KiB stay appended ones: there is always place for them, as each of the two parts is shorter than that.
    pub(crate) fn copy_into(&self, head: &[u8], bytes: &mut Vec<u8>) -> Self {
        let lines = Vec::with_capacity(self.kept(head).count());
        let mut copy = Self { lines, ..Self::default() };
        for (line, from) in self.kept(head) {
            let text = line.of(from);
            match line.moved(bytes.len()).filter(|_| copy.appended.is_empty()) {
                Some(moved) => {
                    bytes.extend_from_slice(text);
                    copy.push(moved);
                }
                None if copy.append_copy(line, text).is_some() => {}
                None => break,
            }
        }
        copy
    }

    /// How many bytes the appended lines have, dropped ones included.
    pub(crate) fn appended_bytes(&self) -> usize {
        self.appended.len()
    }

    /// What its allocations hold, in bytes.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.appended.capacity()
    }

    /// The tags of all lines that are not dropped.
    #[must_use]
    pub const fn tags(&self) -> KnownSet {
        self.present
    }

    /// All fields, in order: received ones, then appended ones. `head` is the head that the fields were received in.
    pub(crate) fn fields<'h>(&'h self, head: &'h [u8]) -> impl DoubleEndedIterator<Item = Field<'h>> + Clone {
        self.kept(head).map(|(line, bytes)| line.field(bytes))
    }

    /// The fields with one of these tags, in order; where there is none, no line is looked at. `head` is the head that the
    /// fields were received in.
    pub(crate) fn tagged<'h>(
        &'h self,
        head: &'h [u8],
        tags: KnownSet,
    ) -> impl DoubleEndedIterator<Item = Field<'h>> + Clone {
        let lines = if self.has(tags) { self.lines.as_slice() } else { &[] };
        let tagged = lines.iter().enumerate().filter(move |(_, line)| !line.is_dropped && tags.contains(line.known));
        tagged.map(move |(index, line)| line.field(if index < self.received { head } else { &self.appended }))
    }

    /// The value of the first line with this tag. `head` is the head that the fields were received in.
    pub(crate) fn first<'h>(&'h self, head: &'h [u8], known: Known) -> Option<&'h [u8]> {
        if !self.present.contains(known) {
            return None;
        }
        let index = self.lines.iter().position(|line| line.known == known && !line.is_dropped)?;
        let bytes = if index < self.received { head } else { self.appended.as_slice() };
        self.lines.get(index).map(|line| line.value.of(bytes))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// As [`Lines::apply`].
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) -> Result<(), EditError> {
        let (text, line) = self.check(name.into(), value)?;
        self.append_checked(text, value, line);
        Ok(())
    }

    /// The name, and where the line will lie among the appended ones, if it is one.
    fn check<'n>(&self, name: Name<'n>, value: &[u8]) -> Result<(&'n [u8], Line), EditError> {
        let (text, known) = (name.text().ok_or(EditError::Name)?, name.known());
        // What has a tag of its own is a token.
        if known.name().is_none() && !is_token(text) {
            return Err(EditError::Name);
        }
        if holds_control(value) {
            return Err(EditError::Value);
        }
        let start = self.appended.len();
        let name_end = start + text.len();
        let value_start = name_end + SEPARATOR.len();
        let value_end = value_start + value.trim_ascii().len();
        let line = Span::new(start, name_end).zip(Span::new(value_start, value_end));
        let (name_span, value_span) = line.ok_or(EditError::TooLarge)?;
        let line = Line::new(name_span, value_span, value_end + CRLF.len(), known);
        line.map(|line| (text, line)).map_err(|TooLarge| EditError::TooLarge)
    }

    fn append_checked(&mut self, name: &[u8], value: &[u8], line: Line) {
        self.make_room();
        for part in [name, SEPARATOR, value.trim_ascii(), CRLF] {
            self.appended.extend_from_slice(part);
        }
        self.present.insert(line.known);
        self.lines.push(line);
    }
}

/// Whether a value holds a control character other than a tab. All bytes are looked at, many at a time.
fn holds_control(value: &[u8]) -> bool {
    let is_bad = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    value.iter().fold(0, |found, byte| found | is_bad(*byte)) != 0
}

/// Room for what most heads hold and a proxy adds, so that it is not allocated in steps.
const LINES_ROOM: usize = 24;
/// Room for the lines that a proxy adds to most heads.
const ADDED_ROOM: usize = 8;
/// Room for the text of those lines.
const APPENDED_BYTES_ROOM: usize = 384;

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
        self.fields.fields(self.head)
    }

    /// The fields with one of these tags, in order.
    pub fn tagged(self, tags: impl Into<KnownSet>) -> impl Iterator<Item = Field<'h>> {
        self.fields.tagged(self.head, tags.into())
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
        self.runs_without(KnownSet::EMPTY)
    }

    /// The same without the lines that have one of these tags.
    pub(crate) fn runs_without(self, tags: KnownSet) -> impl Iterator<Item = &'h [u8]> {
        let lines = &self.fields.lines;
        let (received, added) = lines.split_at_checked(self.fields.received).unwrap_or((lines, &[]));
        let received = Runs { bytes: self.head, lines: received, tags };
        received.chain(Runs { bytes: &self.fields.appended, lines: added, tags })
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
    /// Lines with one of these tags are not kept.
    tags: KnownSet,
}

impl<'h> Iterator for Runs<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let mut run: Option<(usize, usize)> = None;
        while let Some((line, rest)) = self.lines.split_first() {
            let is_kept = !line.is_dropped && !self.tags.contains(line.known);
            match run {
                None if !is_kept => {}
                None => run = Some((line.name.start(), usize::from(line.end))),
                Some((start, end)) if is_kept && line.name.start() == end => {
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
