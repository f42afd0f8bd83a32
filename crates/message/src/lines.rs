//! The field lines of one head as offsets into its bytes, plus edits.
//!
//! A received line is a few offsets into the head and a tag; nothing is copied or lower-cased, so order, case and
//! duplicates are kept. An edit marks a line as dropped or appends one in wire form. The head is written once, in runs
//! of lines that were kept. The bytes of the head are not held here: who reads the fields brings them (see [`View`]).

mod block;
mod cut;
mod line;
mod made;
mod view;

pub use self::block::LineBlock;
pub use self::line::{Field, Line, TooLarge};
pub use self::made::{FieldLine, NumberLine};
pub use self::view::View;

use crate::edit::{Edit, EditError};
use crate::known::{Known, KnownSet};
use crate::name::Name;
use crate::token::is_token;

/// The field lines of one head. Made to be used for many heads: [`Lines::reset`] keeps the allocations.
#[derive(Debug, Default)]
pub struct Lines {
    /// Lines in the head's bytes, in their order, then lines in `appended`, in theirs.
    lines: Vec<Line>,
    /// How many of them were received: no more than a head has bytes.
    received: u32,
    /// Appended lines in wire form.
    appended: Vec<u8>,
    /// The tags of all lines that are not dropped.
    present: KnownSet,
    /// The tags that several lines may have: a line of any other is the only one.
    repeated: KnownSet,
    /// Whether a line may be dropped. If none is, the lines of each part are one run of its bytes.
    has_dropped: bool,
}

/// With room for what is usually appended to a copy: a stored head is copied for each client that is served with it.
impl Clone for Lines {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len() + ADDED_ROOM);
        lines.extend_from_slice(&self.lines);
        let Self { received, present, repeated, has_dropped, .. } = *self;
        Self { lines, received, appended: self.appended.clone(), present, repeated, has_dropped }
    }

    /// A copy in the allocations that are there.
    fn clone_from(&mut self, source: &Self) {
        let Self { lines, received, appended, present, repeated, has_dropped } = source;
        self.lines.clear();
        self.lines.reserve(lines.len() + ADDED_ROOM);
        self.lines.extend_from_slice(lines);
        self.appended.clear();
        self.appended.extend_from_slice(appended);
        (self.received, self.has_dropped) = (*received, *has_dropped);
        (self.present, self.repeated) = (*present, *repeated);
    }
}

impl Lines {
    /// Makes it empty; the allocations are kept. All fields are named, so that no state of the last head can be left over.
    #[inline]
    pub fn reset(&mut self) {
        let Self { lines, received, appended, present, repeated, has_dropped } = self;
        lines.clear();
        appended.clear();
        (*received, *has_dropped) = (0, false);
        (*present, *repeated) = (KnownSet::EMPTY, KnownSet::EMPTY);
    }

    /// Adds a received line behind those that were received: there is nothing between it and the last one.
    #[inline]
    pub fn push(&mut self, line: Line) {
        self.note(line.known);
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve(LINES_ROOM);
        }
        if self.received_count() >= self.lines.len() {
            self.lines.push(line);
        } else {
            self.lines.insert(self.received_count(), line);
        }
        self.received += 1;
    }

    /// Adds received lines, up to the number that there is room for without an allocation: a loop without a call keeps what
    /// a scanner works with in registers. With appended lines there is none.
    #[inline(always)]
    pub fn push_some(&mut self, lines: impl Iterator<Item = Line>) {
        if self.received_count() < self.lines.len() {
            return;
        }
        if self.lines.len() == self.lines.capacity() {
            self.lines.reserve(LINES_ROOM);
        }
        let (mut present, mut repeated) = (self.present, self.repeated);
        for line in lines {
            present.insert_counting(line.known, &mut repeated);
            self.lines.push(line);
            if self.lines.len() == self.lines.capacity() {
                break;
            }
        }
        self.received = self.lines.len() as u32;
        (self.present, self.repeated) = (present, repeated);
    }

    /// How many lines were received, dropped ones included.
    #[must_use]
    pub fn received_count(&self) -> usize {
        self.received as usize
    }

    /// Another line with this tag is there.
    #[inline]
    fn note(&mut self, known: Known) {
        self.present.insert_counting(known, &mut self.repeated);
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
            self.has_dropped = true;
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
        self.has_dropped = true;
        let mut left = KnownSet::EMPTY;
        let received = self.received_count();
        for (index, line) in self.lines.iter_mut().enumerate() {
            let bytes = if index < received { head } else { self.appended.as_slice() };
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
        let (mut left, mut dropped, received) = (KnownSet::EMPTY, 0, self.received_count());
        for (index, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| !line.is_dropped) {
            let bytes = if index < received { head } else { self.appended.as_slice() };
            if keeps(line.field(bytes)) {
                left.insert(line.known);
            } else {
                line.is_dropped = true;
                dropped += 1;
            }
        }
        self.present = left;
        self.has_dropped |= dropped > 0;
        dropped
    }

    /// Appends the lines of others, which are ranges of `head`, as they are; what would exceed 64 KiB is left out.
    pub(crate) fn append_lines(&mut self, others: &Self, head: &[u8]) {
        self.make_room();
        let (received, added) = others.parts();
        for (lines, bytes) in [(received, head), (added, others.appended.as_slice())] {
            if others.has_dropped || self.append_run(lines, bytes).is_none() {
                let kept = lines.iter().filter(|line| !line.is_dropped);
                kept.map_while(|line| self.append_copy(*line, line.of(bytes))).for_each(drop);
            }
        }
    }

    /// Appends lines of which none is dropped, as one run of these bytes. `None`: it would exceed 64 KiB.
    fn append_run(&mut self, lines: &[Line], bytes: &[u8]) -> Option<()> {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Some(()) };
        let run = bytes.get(first.start()..last.end())?;
        let start = u16::try_from(self.appended.len()).ok()?;
        start.checked_add(u16::try_from(run.len()).ok()?)?;
        let by = start.wrapping_sub(first.start() as u16);
        self.appended.extend_from_slice(run);
        self.lines.extend(lines.iter().map(|line| line.moved_by(by)));
        lines.iter().for_each(|line| self.note(line.known));
        Some(())
    }

    /// The received lines, and those that were appended.
    fn parts(&self) -> (&[Line], &[Line]) {
        self.lines.split_at_checked(self.received_count()).unwrap_or((&self.lines, &[]))
    }

    /// Appends a line of another head, which has this text. `None`: it would exceed 64 KiB.
    fn append_copy(&mut self, line: Line, text: &[u8]) -> Option<()> {
        let copy = line.moved(self.appended.len())?;
        self.appended.extend_from_slice(text);
        self.note(copy.known);
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
        lines.map(move |(index, line)| {
            (*line, if index < self.received_count() { head } else { self.appended.as_slice() })
        })
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
        tagged.map(move |(index, line)| line.field(if index < self.received_count() { head } else { &self.appended }))
    }

    /// The value of the first line with this tag. `head` is the head that the fields were received in.
    pub(crate) fn first<'h>(&'h self, head: &'h [u8], known: Known) -> Option<&'h [u8]> {
        if !self.present.contains(known) {
            return None;
        }
        let index = self.lines.iter().position(|line| line.known == known && !line.is_dropped)?;
        let bytes = if index < self.received_count() { head } else { self.appended.as_slice() };
        self.lines.get(index).map(|line| line.value.of(bytes))
    }

    /// The value of the line with this tag, if there is exactly one.
    pub(crate) fn only<'h>(&'h self, head: &'h [u8], known: Known) -> Option<&'h [u8]> {
        if !self.repeated.contains(known) {
            return self.first(head, known);
        }
        let mut found = None;
        for (index, line) in self.lines.iter().enumerate() {
            if line.known == known && !line.is_dropped && found.replace((index, line)).is_some() {
                return None;
            }
        }
        let (index, line) = found?;
        Some(line.value.of(if index < self.received_count() { head } else { &self.appended }))
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
        let line = Line::found(start..name_end, value_start..value_end, value_end + CRLF.len(), known);
        line.map(|line| (text, line)).map_err(|TooLarge| EditError::TooLarge)
    }

    fn append_checked(&mut self, name: &[u8], value: &[u8], line: Line) {
        self.make_room();
        for part in [name, SEPARATOR, value.trim_ascii(), CRLF] {
            self.appended.extend_from_slice(part);
        }
        self.note(line.known);
        self.lines.push(line);
    }
}

/// Whether a value holds a control character other than a tab. All bytes are looked at, sixteen at a time.
fn holds_control(value: &[u8]) -> bool {
    let is_bad = |byte: u8| u8::from(byte < b' ') & u8::from(byte != b'\t') | u8::from(byte == 0x7f);
    let is_any_bad = |block: &[u8; 16]| block.iter().fold(0, |found, byte| found | is_bad(*byte)) != 0;
    match value.last_chunk() {
        // The last block overlaps the one before it.
        Some(last) => value.as_chunks().0.iter().any(is_any_bad) || is_any_bad(last),
        None => value.iter().any(|byte| is_bad(*byte) != 0),
    }
}

/// Room for what most heads hold and a proxy adds, so that it is not allocated in steps.
const LINES_ROOM: usize = 24;
/// Room for the lines that a proxy adds to most heads.
const ADDED_ROOM: usize = 8;
/// Room for the text of those lines.
const APPENDED_BYTES_ROOM: usize = 384;

const SEPARATOR: &[u8] = b": ";
const CRLF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests;
