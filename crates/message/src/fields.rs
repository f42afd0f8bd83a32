//! The fields of a message, as the product passes them around: the received bytes, the index of their lines, edits.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::decimal::Decimal;
use crate::edit::{Edit, EditError};
use crate::known::{Known, KnownSet};
use crate::lines::{Field, FieldLine, LineBlock, Lines, NumberLine};
use crate::name::Name;

/// Up to here the offsets of appended lines reach.
const APPENDED_BYTES_MAX: usize = 65_535;

/// The fields of one message. Order, case and duplicates are kept as they were received; what is set or appended comes
/// behind that.
#[derive(Default)]
pub struct Fields {
    /// The bytes that the received lines are ranges of.
    head: Bytes,
    lines: Lines,
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        Self { head: self.head.clone(), lines: self.lines.clone() }
    }

    /// A copy in the allocations of these fields.
    fn clone_from(&mut self, source: &Self) {
        self.head.clone_from(&source.head);
        self.lines.clone_from(&source.lines);
    }
}

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fields of a head that was scanned: the lines are ranges of `head`.
    #[must_use]
    pub const fn received(head: Bytes, lines: Lines) -> Self {
        Self { head, lines }
    }

    /// The index, to be used for another head. Its allocations are kept.
    #[must_use]
    pub fn into_lines(self) -> Lines {
        let mut lines = self.lines;
        lines.reset();
        lines
    }

    /// Whether a field with one of these tags is there.
    #[must_use]
    pub fn has(&self, tags: impl Into<KnownSet>) -> bool {
        self.lines.has(tags)
    }

    /// The tags of all fields.
    #[must_use]
    pub const fn tags(&self) -> KnownSet {
        self.lines.tags()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.tags() == KnownSet::EMPTY
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.lines.fields(&self.head)
    }

    /// The fields of this name, in order.
    fn named<'f, 'n>(&'f self, name: Name<'n>) -> impl DoubleEndedIterator<Item = Field<'f>> + Clone {
        let known = name.known();
        // A tag that stands for one name needs no second look.
        let text = match name {
            Name::Text(text) if known.name().is_none() => Some(text),
            Name::Text(_) | Name::Known(_) => None,
        };
        let tagged = self.lines.tagged(&self.head, known.into());
        tagged.filter(move |field| text.is_none_or(|text| field.name.eq_ignore_ascii_case(text)))
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn first<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        let name = name.into();
        match name {
            Name::Known(known) => self.lines.first(&self.head, known),
            Name::Text(_) => self.named(name).next().map(|field| field.value),
        }
    }

    /// The same as a piece of the received bytes, which it keeps.
    #[must_use]
    pub fn first_shared<'n>(&self, name: impl Into<Name<'n>>) -> Option<Bytes> {
        let value = self.first(name)?;
        let is_received = self.head.as_ptr_range().contains(&value.as_ptr());
        Some(if is_received { self.head.slice_ref(value) } else { Bytes::copy_from_slice(value) })
    }

    /// The value of the field of this name, if there is exactly one.
    #[must_use]
    pub fn only<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        let name = name.into();
        if let Name::Known(known) = name {
            return self.lines.only(&self.head, known);
        }
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether one `Content-Length` is there, and says this in its canonical form.
    #[must_use]
    #[inline]
    pub fn declare_length(&self, length: u64) -> bool {
        let declared = self.lines.only(&self.head, Known::ContentLength);
        declared.is_some_and(|declared| Decimal::is_written(declared, length))
    }

    /// The values of all fields of this name, in order.
    pub fn values<'f, 'n>(&'f self, name: impl Into<Name<'n>>) -> impl DoubleEndedIterator<Item = &'f [u8]> + Clone {
        self.named(name.into()).map(|field| field.value)
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        match name.into() {
            Name::Known(known) => self.has(known),
            name @ Name::Text(_) => self.named(name).next().is_some(),
        }
    }

    /// Removes all fields of this name.
    pub fn drop_named<'n>(&mut self, name: impl Into<Name<'n>>) {
        match name.into() {
            // A family is no name.
            Name::Known(known) if known.name().is_none() => {}
            Name::Known(known) => self.lines.drop_known(known.into()),
            Name::Text(name) => self.lines.drop_named(&self.head, name),
        }
    }

    /// Removes all fields with one of these tags. Returns how many there were.
    pub fn drop_known(&mut self, tags: impl Into<KnownSet>) -> usize {
        let tags = tags.into();
        if !self.has(tags) {
            return 0;
        }
        let count = self.iter().filter(|field| tags.contains(field.known)).count();
        self.lines.drop_known(tags);
        count
    }

    /// Removes the fields for which `keeps` is false. Returns how many.
    pub fn retain(&mut self, keeps: impl FnMut(Field<'_>) -> bool) -> usize {
        self.lines.retain(&self.head, keeps)
    }

    /// Removes all fields of this name and appends one. A name or value that would not make one line is left out.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) {
        let name = name.into();
        self.edit(|lines, head| lines.set(head, name, value.as_ref()));
    }

    /// Appends a field. A name or value that would not make one line is left out.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) {
        let name = name.into();
        self.edit(|lines, _| lines.append(name, value.as_ref()));
    }

    /// Appends a line that was checked when it was made.
    pub fn append_line(&mut self, line: &FieldLine) {
        self.edit(|lines, _| lines.append_line(line));
    }

    /// Removes all fields of the same name and appends this line, which was checked when it was made.
    pub fn set_line(&mut self, line: &FieldLine) {
        self.edit(|lines, head| lines.set_line(head, line));
    }

    /// Appends the lines of a block, the last one with this value. If that is not made of visible ASCII characters, the
    /// block is left out.
    pub fn append_block<const N: usize>(&mut self, block: &LineBlock<N>, value: &[u8; N]) {
        self.edit(|lines, _| lines.append_block(block, value));
    }

    /// Appends this line with this number.
    pub fn append_number(&mut self, line: NumberLine, number: u64) {
        self.edit(|lines, _| lines.append_number(line, number));
    }

    /// Takes pieces out of the values of the fields with this tag: those that `find` gives of each value, from the left to
    /// the right. A field of which nothing is left is removed.
    pub fn cut(&mut self, known: Known, find: impl FnMut(&[u8], &mut dyn FnMut(Range<usize>))) {
        if self.lines.appended_bytes() + self.written_bytes_max() > APPENDED_BYTES_MAX {
            *self = self.compact();
        }
        self.lines.cut(&self.head, known, find);
    }

    /// Appends all fields of others. They were checked when they were put there, so they are copied as they are.
    pub fn append_all(&mut self, others: &Self) {
        if self.lines.appended_bytes() + others.written_bytes_max() > APPENDED_BYTES_MAX {
            *self = self.compact();
        }
        self.lines.append_lines(&others.lines, &others.head);
    }

    /// Applies an edit. One that would not make a line is left out.
    pub fn apply(&mut self, edit: &Edit<'_>) {
        self.edit(|lines, head| lines.apply(head, edit));
    }

    /// Edits the lines. Where there is no place left for appended ones, those that were appended so far take the place of
    /// received ones that were dropped: a field that must be there is not left out because a client sent long ones.
    fn edit(&mut self, edit: impl Fn(&mut Lines, &[u8]) -> Result<(), EditError>) {
        if edit(&mut self.lines, &self.head) == Err(EditError::TooLarge) {
            *self = self.compact();
            let _left_out = edit(&mut self.lines, &self.head);
        }
    }

    /// Applies edits one after another.
    pub fn apply_all<'e>(&mut self, edits: impl IntoIterator<Item = Edit<'e>>) {
        edits.into_iter().for_each(|edit| self.apply(&edit));
    }

    /// A copy with allocations of exact size: for what outlives its exchange.
    #[must_use]
    pub fn compact(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.written_bytes());
        let lines = self.lines.copy_into(&self.head, &mut bytes);
        Self { head: bytes.into(), lines }
    }

    /// What they hold on the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.head.len() + self.lines.allocated_bytes()
    }

    /// Writes the lines in wire form, without the empty line that ends a head.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_without(KnownSet::EMPTY, out);
    }

    /// The same without the lines that have one of these tags.
    pub fn write_without(&self, tags: KnownSet, out: &mut Vec<u8>) {
        self.lines.view(&self.head).runs_without(tags).for_each(|run| out.extend_from_slice(run));
    }

    /// [`Fields::write`] writes no more bytes than these.
    fn written_bytes_max(&self) -> usize {
        self.head.len() + self.lines.appended_bytes()
    }

    /// How many bytes [`Fields::write`] writes.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        self.lines.view(&self.head).written_bytes()
    }

    /// As `http` has them: for what is not on the data path.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let line = |field: Field<'_>| {
            Some((HeaderName::from_bytes(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?))
        };
        let mut map = HeaderMap::with_capacity(self.lines.received_count());
        for (name, value) in self.iter().filter_map(line) {
            map.append(name, value);
        }
        map
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut made = Self::new();
        made.extend(fields);
        made
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for Fields {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.append(name.as_ref(), value);
        }
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        Self::from(&map)
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        map.iter().collect()
    }
}

/// The same lines in the same order; the case of names makes no difference.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (Field<'_>, Field<'_>)| {
            one.name.eq_ignore_ascii_case(other.name) && one.value == other.value
        };
        self.len() == other.len() && self.iter().zip(other.iter()).all(is_same)
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|field| (text(field.name), text(field.value)))).finish()
    }
}

#[cfg(test)]
mod tests;
