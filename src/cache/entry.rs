//! A stored response: its content, what it costs in memory, and what is stored beside it under the same key.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use message::Fields;
use policy::cache::partial::{Part, have_one_validator};
use policy::message::range::ByteRange;
use policy::message::vary::{Choice, Vary};
use policy::time::Now;

use super::allocation::allocated;
use super::head::{StoredHead, Variance};
use super::streaming::StreamingContent;

/// The sizes of the blocks that content is kept in, largest first; what is left over has a block of its own. With few
/// sizes, what one entry leaves another can take, and the allocator is left with few holes.
const BLOCKS_BYTES: [usize; 2] = [64 * 1024, 8 * 1024];
/// What comes without a length is read along in blocks of this size, and arranged anew when it is whole.
const STREAM_BYTES: usize = 8 * 1024;

/// The most parts of one response that are kept; beyond that the oldest go.
const PARTS_MAX: usize = 8;

/// The content of a stored response.
#[derive(Clone, Debug)]
pub enum StoredContent {
    /// In one piece.
    One(Bytes),
    /// In several.
    Several(Arc<[Bytes]>),
    /// As it is being fetched: for those who read along, never kept.
    Growing(Arc<StreamingContent>),
}

impl StoredContent {
    /// Arranges in blocks what came in pieces. `is_exact`: the pieces were cut to the length that was known beforehand.
    #[must_use]
    pub fn gather(mut pieces: Vec<Bytes>, is_exact: bool) -> Self {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if !is_exact || pieces.len() > blocks(bytes as u64).count() {
            let mut blocks = Blocks::new(Some(bytes as u64));
            // Pieces are let go one by one, so that both are never there as a whole.
            let filled: Vec<Bytes> = pieces.drain(..).flat_map(|piece| blocks.fill(&piece)).collect();
            pieces = filled;
            pieces.extend(blocks.rest());
        }
        match pieces.len() {
            0 | 1 => Self::One(pieces.pop().unwrap_or_default()),
            _ => Self::Several(pieces.into()),
        }
    }

    /// How long it is; `None`: that is not known yet.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::One(bytes) => Some(bytes.len() as u64),
            Self::Several(pieces) => Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Self::Growing(growth) => growth.length(),
        }
    }

    /// The pieces that hold these bytes of it, nothing more.
    #[must_use]
    pub fn slice(&self, range: ByteRange) -> Vec<Bytes> {
        let whole = match self {
            Self::One(bytes) => std::slice::from_ref(bytes),
            Self::Several(pieces) => pieces,
            Self::Growing(_) => &[],
        };
        let (mut skip, mut left) = (range.first(), range.bytes());
        let mut taken = Vec::new();
        for piece in whole {
            let length = piece.len() as u64;
            if skip >= length {
                skip -= length;
                continue;
            }
            let end = (skip + left).min(length);
            let (first, last) =
                (usize::try_from(skip).unwrap_or(usize::MAX), usize::try_from(end).unwrap_or(usize::MAX));
            taken.push(piece.slice(first..last));
            left -= end - skip;
            skip = 0;
            if left == 0 {
                break;
            }
        }
        taken
    }

    /// What it costs beside its own size, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::One(bytes) if bytes.is_empty() => 0,
            Self::One(bytes) => piece_cost(bytes.len()),
            Self::Several(pieces) => pieces.iter().map(|piece| piece_cost(piece.len()) + HANDLE_BYTES).sum(),
            Self::Growing(_) => 0,
        }
    }
}

/// Copies bytes into blocks as they come.
#[derive(Debug)]
pub struct Blocks {
    block: BytesMut,
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
}

impl Blocks {
    /// Blocks for so many bytes, if that is known.
    #[must_use]
    pub fn new(length: Option<u64>) -> Self {
        Self { block: BytesMut::new(), left: length }
    }

    /// Copies a piece; full blocks come out, the rest is kept back.
    fn fill(&mut self, mut piece: &[u8]) -> Vec<Bytes> {
        let mut full = Vec::new();
        while !piece.is_empty() {
            let room = self.room();
            let (now, later) = piece.split_at_checked(room).unwrap_or((piece, &[]));
            self.block.extend_from_slice(now);
            self.left = self.left.map(|left| left.saturating_sub(now.len() as u64));
            piece = later;
            if now.len() == room {
                // All of it, not a part that is split off: that would need a larger counter.
                full.push(std::mem::take(&mut self.block).freeze());
            }
        }
        full
    }

    /// Copies a piece; all of it comes out, in one part or several.
    pub fn copy(&mut self, piece: &[u8]) -> Vec<Bytes> {
        let mut all = self.fill(piece);
        all.extend(self.rest());
        all
    }

    /// What was kept back.
    fn rest(&mut self) -> Option<Bytes> {
        (!self.block.is_empty()).then(|| self.block.split().freeze())
    }

    /// How many bytes the present block has room for; a new one is begun when it has none.
    fn room(&mut self) -> usize {
        if self.block.capacity() == self.block.len() {
            // More than was promised: whoever reads it sees to that.
            let left = self.left.filter(|left| *left > 0);
            self.block = BytesMut::with_capacity(left.map_or(STREAM_BYTES, block_bytes));
        }
        self.block.capacity() - self.block.len()
    }
}

/// The size of the next block, when so many bytes are left.
fn block_bytes(left: u64) -> usize {
    let fits = BLOCKS_BYTES.into_iter().find(|block| *block as u64 <= left);
    fits.unwrap_or_else(|| usize::try_from(left).unwrap_or(STREAM_BYTES))
}

/// The sizes of the blocks of content of this length.
fn blocks(length: u64) -> impl Iterator<Item = usize> {
    let mut left = length;
    std::iter::from_fn(move || {
        let block = (left > 0).then(|| block_bytes(left))?;
        left -= block as u64;
        Some(block)
    })
}

/// What content of this length costs, in as many pieces as it has.
#[must_use]
pub fn cost(length: u64) -> u64 {
    let [large, _] = BLOCKS_BYTES;
    let (count, rest) = (length / large as u64, length % large as u64);
    let rest: u64 = blocks(rest).map(|block| piece_cost(block) + HANDLE_BYTES).sum();
    count.saturating_mul(piece_cost(large) + HANDLE_BYTES).saturating_add(rest)
}

/// A piece's place among others.
pub const HANDLE_BYTES: u64 = size_of::<Bytes>() as u64;

/// What a piece of content costs: its bytes, and their counter.
fn piece_cost(length: usize) -> u64 {
    const COUNTER_BYTES: usize = 3 * size_of::<usize>();
    allocated(length) + allocated(COUNTER_BYTES)
}

/// A stored response: cheap to clone, never changed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its head.
    pub head: Arc<StoredHead>,
    /// Its content.
    pub content: StoredContent,
}

impl Entry {
    /// Whether it fits a request (RFC 9111 §4.1).
    #[must_use]
    pub fn fits(&self, request: &Fields) -> bool {
        self.head.variance().is_none_or(|own| own.vary.matches(&own.choice, request))
    }

    /// Whether another request might get another one.
    fn varies(&self) -> bool {
        self.head.variance().is_some()
    }

    /// Whether it takes the place of this one, being whole and an answer to the same requests.
    #[must_use]
    pub(super) fn replaces(&self, old: &Self) -> bool {
        self.part().is_none() && old.part().is_none() && self.is_same_variant(old)
    }

    /// Whether both answer the same requests.
    #[must_use]
    pub(super) fn is_same_variant(&self, old: &Self) -> bool {
        old.head.variance() == self.head.variance()
    }

    /// Whether an older response stays when this one is stored that came to the same choice.
    ///
    /// A whole one has all that a part has. Of parts those stay that are of the same representation and hold other bytes.
    fn leaves(&self, old: &Self) -> bool {
        let (Some(part), Some(other)) = (self.part(), old.part()) else { return false };
        let today = self.head.stored.received().wall;
        part.complete() == other.complete()
            && part.offset(other.range()).is_none()
            && have_one_validator(&self.head.fields, &old.head.fields, today)
    }

    /// Which part of the representation it holds; `None`: the whole.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        self.head.part()
    }

    /// Where these bytes of the representation stand in its content; `None`: it is a part that does not hold them all.
    #[must_use]
    pub fn place(&self, range: ByteRange) -> Option<ByteRange> {
        let Some(part) = self.part() else { return Some(range) };
        let first = part.offset(range)?;
        ByteRange::new(first, first.checked_add(range.bytes().checked_sub(1)?)?)
    }

    /// The same, stale from now on.
    #[must_use]
    pub fn outdated(&self, now: Now) -> Self {
        let head = self.head.with_stored(self.head.stored.outdated(now));
        Self { head: Arc::new(head), content: self.content.clone() }
    }

    /// What it costs beside its own size, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.head.bytes() + self.content.bytes()
    }
}

/// All that is stored for one key: the newest first.
#[derive(Clone, Debug)]
pub struct StoredVariants {
    variants: Variants,
}

/// Most keys have one variant: it needs no allocation.
#[derive(Clone, Debug)]
enum Variants {
    One(Entry),
    Several(Box<[Entry]>),
}

impl Default for StoredVariants {
    fn default() -> Self {
        Self { variants: Variants::Several(Box::default()) }
    }
}

impl FromIterator<Entry> for StoredVariants {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        let variants = match entries.pop() {
            Some(only) if entries.is_empty() => Variants::One(only),
            last => {
                entries.extend(last);
                Variants::Several(entries.into())
            }
        };
        Self { variants }
    }
}

impl StoredVariants {
    /// What fits this request and is whole, the newest of it; what does not vary only where nothing that does fits, as
    /// some origins leave `Vary` out of what they send to those who ask for nothing in particular (RFC 9111 §4.1).
    #[must_use]
    pub fn find(&self, request: &Fields) -> Option<&Entry> {
        let mut whole = self.fitting(request).filter(|entry| entry.part().is_none());
        let newest = whole.next()?;
        if newest.varies() { Some(newest) } else { whole.find(|entry| entry.varies()).or(Some(newest)) }
    }

    /// The parts of what fits this request, the newest first.
    pub fn parts(&self, request: &Fields) -> impl Iterator<Item = &Entry> {
        self.fitting(request).filter(|entry| entry.part().is_some())
    }

    fn fitting(&self, request: &Fields) -> impl Iterator<Item = &Entry> {
        let mut asked: Option<(&Vary, Option<Choice>)> = None;
        self.variants().iter().filter(move |entry| {
            let Some(Variance { vary, choice: own }) = entry.head.variance() else { return true };
            let is_new = asked.as_ref().is_none_or(|(known, _)| *known != vary);
            if is_new {
                asked = Some((vary, vary.choice(request)));
            }
            asked.as_ref().is_some_and(|(_, choice)| choice.as_ref() == Some(own))
        })
    }

    /// What fits every request, if it is all there is, and whole.
    #[must_use]
    pub fn for_everybody(&self) -> Option<&Entry> {
        let [only] = self.variants() else { return None };
        (!only.varies() && only.part().is_none()).then_some(only)
    }

    /// All of them, the newest first.
    #[must_use]
    pub fn variants(&self) -> &[Entry] {
        match &self.variants {
            Variants::One(only) => std::slice::from_ref(only),
            Variants::Several(several) => several,
        }
    }

    /// With one more, in place of what the same request would have got; what is over `variants_max` goes, oldest first.
    /// A part does not take the place of the whole.
    #[must_use]
    pub fn with(&self, entry: Entry, variants_max: usize) -> Self {
        let is_same = |old: &Entry| entry.is_same_variant(old);
        if entry.part().is_some() && self.variants().iter().any(|old| old.part().is_none() && is_same(old)) {
            return self.clone();
        }
        let mut variants = Vec::with_capacity(self.variants().len() + 1);
        let mut parts = 1;
        let is_kept = |old: &&Entry| {
            if !is_same(old) {
                return true;
            }
            let stays = parts < PARTS_MAX && entry.leaves(old);
            parts += usize::from(stays);
            stays
        };
        variants.extend(self.variants().iter().filter(is_kept).cloned());
        let place = variants.partition_point(|old| old.head.stored.date() > entry.head.stored.date());
        variants.insert(place, entry);
        variants.truncate(variants_max);
        variants.into_iter().collect()
    }

    /// With every head changed so.
    #[must_use]
    pub fn map(&self, change: impl Fn(&Entry) -> Option<Entry>) -> Self {
        self.variants().iter().filter_map(change).collect()
    }

    /// What all of them cost beside the shelf's own size, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let places = match &self.variants {
            Variants::One(_) => 0,
            Variants::Several(several) => allocated(several.len() * size_of::<Entry>()),
        };
        places + self.variants().iter().map(Entry::bytes).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_entry_takes_beside_its_head_and_content_is_small() {
        assert_eq!((size_of::<StoredContent>(), size_of::<Entry>(), size_of::<StoredVariants>()), (40, 48, 48));
    }

    #[test]
    fn no_length_is_too_long_to_be_counted() {
        assert!(cost(1) > 1);
        assert!(cost(u64::MAX) == u64::MAX);
    }

    #[test]
    fn content_is_arranged_in_blocks_however_it_came() {
        for length in [0, 1, 8191, 8192, 8193, 70_000, 200_000] {
            let whole: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            for step in [1000, 4096, 100_000] {
                for known in [None, Some(length as u64)] {
                    let mut copied = Blocks::new(known);
                    let pieces: Vec<Bytes> = whole.chunks(step).flat_map(|piece| copied.copy(piece)).collect();
                    let content = StoredContent::gather(pieces, known.is_some());
                    assert_eq!(content.length(), Some(length as u64));
                    let handle = if matches!(content, StoredContent::One(_)) && length > 0 { HANDLE_BYTES } else { 0 };
                    assert_eq!(content.bytes() + handle, cost(length as u64), "{length} by {step}");
                    let all = ByteRange::new(0, (length as u64).saturating_sub(1)).unwrap();
                    assert_eq!(content.slice(all).concat(), whole);
                }
            }
        }
    }
}
