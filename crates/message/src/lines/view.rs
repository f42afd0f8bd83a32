//! Lines with the bytes that they are ranges of: looking fields up, and writing what is kept.

use super::{Field, Line, Lines};
use crate::known::{Known, KnownSet};

/// Lines together with the bytes of their head: the head as it is to be sent, edits included.
#[derive(Clone, Copy, Debug)]
pub struct View<'h> {
    pub(super) head: &'h [u8],
    pub(super) fields: &'h Lines,
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

    /// The value of the field with this tag, if there is exactly one.
    #[must_use]
    pub fn only(self, tag: Known) -> Option<&'h [u8]> {
        self.fields.only(self.head, tag)
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
        let is_whole = !self.fields.has_dropped && !self.fields.has(tags);
        let (received, added) = self.fields.parts();
        let received = Runs { bytes: self.head, lines: received, tags, is_whole };
        received.chain(Runs { bytes: &self.fields.appended, lines: added, tags, is_whole })
    }

    /// Writes the lines in wire form, without the empty line that ends a head.
    pub fn write(self, out: &mut Vec<u8>) {
        self.runs().for_each(|run| out.extend_from_slice(run));
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
    /// All lines are kept: they are one run.
    is_whole: bool,
}

impl<'h> Iterator for Runs<'h> {
    type Item = &'h [u8];

    #[inline]
    fn next(&mut self) -> Option<&'h [u8]> {
        if self.is_whole {
            let (first, last) = self.lines.first().zip(self.lines.last())?;
            self.lines = &[];
            return self.bytes.get(first.start()..last.end());
        }
        let is_kept = |line: &&Line| !line.is_dropped && !self.tags.contains(line.known);
        let mut lines = self.lines.iter();
        let Some(first) = lines.find(is_kept) else {
            self.lines = &[];
            return None;
        };
        let (mut rest, mut end) = (lines.as_slice(), first.end());
        while let Some((line, others)) = rest.split_first().filter(|(line, _)| is_kept(line)) {
            if line.start() != end {
                break;
            }
            (rest, end) = (others, line.end());
        }
        self.lines = rest;
        self.bytes.get(first.start()..end)
    }
}
