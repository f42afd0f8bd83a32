//! A stored response: its head, its content, and what both cost in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use policy::cache::facts::ResponseFacts;
use policy::cache::freshness::Lifetime;
use policy::cache::lookup::Stored;
use policy::message::range::ByteRange;
use policy::message::vary::{Choice, Vary};
use policy::time::Now;

use super::growth::Growth;

/// Longer content is kept in several pieces, so that putting it together never needs much more room than it has.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// The head of a stored response.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its fields as they are served, but for `Age`.
    pub headers: HeaderMap,
    /// What the rules look at.
    pub facts: ResponseFacts,
    /// How long it is fresh; `None` counts as zero.
    pub lifetime: Option<Lifetime>,
    /// How old it was when it came.
    pub age_on_arrival: Duration,
    /// When it came, or was last confirmed.
    pub received: Now,
    /// Which request fields chose it.
    pub vary: Vary,
    /// What the request that fetched it said in them.
    pub choice: Choice,
    /// Its tags.
    pub tags: Box<[Box<str>]>,
}

impl Head {
    /// As the rules see it.
    #[must_use]
    pub fn stored(&self) -> Stored<'_> {
        Stored {
            facts: &self.facts,
            lifetime: self.lifetime,
            age_on_arrival: self.age_on_arrival,
            received: self.received,
        }
    }

    /// What it costs, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // Two hash table places and an entry for each field, as `http` makes them; text is in one allocation.
        const FIELD_BYTES: usize = 120;
        let fields = self.headers.len() * FIELD_BYTES;
        let text: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>() + ALLOCATION_BYTES).sum();
        let choice = self.choice.as_bytes().len();
        (size_of::<Self>() + fields + text + tags + choice + 4 * ALLOCATION_BYTES) as u64
    }
}

/// What an allocator adds to an allocation.
const ALLOCATION_BYTES: usize = 16;

/// The content of a stored response.
#[derive(Clone, Debug)]
pub enum Content {
    /// In one piece.
    One(Bytes),
    /// In several.
    Several(Arc<[Bytes]>),
    /// As it is being fetched: for those who read along, never kept.
    Growing(Arc<Growth>),
}

impl Content {
    /// Puts together what came in pieces.
    #[must_use]
    pub fn gather(mut pieces: Vec<Bytes>) -> Self {
        if pieces.len() <= 1 {
            return Self::One(pieces.pop().unwrap_or_default());
        }
        let mut gathered: Vec<Bytes> = Vec::new();
        let mut run: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for piece in pieces {
            if bytes > 0 && bytes + piece.len() > PIECE_BYTES_MAX {
                gathered.push(joined(&mut run, bytes));
                bytes = 0;
            }
            bytes += piece.len();
            run.push(piece);
        }
        gathered.push(joined(&mut run, bytes));
        match gathered.len() {
            1 => Self::One(gathered.pop().unwrap_or_default()),
            _ => Self::Several(gathered.into()),
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

    /// What it costs, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::One(bytes) => cost(bytes.len()),
            Self::Several(pieces) => pieces.iter().map(|piece| cost(piece.len())).sum(),
            Self::Growing(_) => 0,
        }
    }
}

/// One piece of these; they are let go one by one.
fn joined(run: &mut Vec<Bytes>, bytes: usize) -> Bytes {
    if run.len() == 1 {
        return run.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(bytes);
    for piece in run.drain(..) {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

/// What so many bytes in an allocation of their own cost: an allocator rounds up, mostly to an eighth of a power of two.
#[must_use]
pub fn cost(length: usize) -> u64 {
    const HANDLE_BYTES: usize = size_of::<Bytes>() + 2 * ALLOCATION_BYTES;
    let step = (length.next_power_of_two() / 16).max(ALLOCATION_BYTES);
    (length.next_multiple_of(step) + HANDLE_BYTES) as u64
}

/// A stored response: cheap to clone, never changed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its head.
    pub head: Arc<Head>,
    /// Its content.
    pub content: Content,
}

impl Entry {
    /// Whether it fits a request (RFC 9111 §4.1).
    #[must_use]
    pub fn fits(&self, request: &HeaderMap) -> bool {
        self.head.vary.matches(&self.head.choice, request)
    }

    /// The same, stale from now on.
    #[must_use]
    pub fn outdated(&self, now: Now) -> Self {
        let mut head = Head::clone(&self.head);
        let age = head.stored().freshness(now).age;
        if let Some(lifetime) = &mut head.lifetime {
            lifetime.duration = lifetime.duration.min(age);
        }
        Self { head: Arc::new(head), content: self.content.clone() }
    }

    /// What it costs, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size_of::<Self>() as u64 + self.head.bytes() + self.content.bytes()
    }
}

/// Copies a header section: as it came, its values are pieces of the buffer that it was read into, and would keep all
/// of that. All text is in one allocation.
#[must_use]
pub fn compact(headers: &HeaderMap) -> HeaderMap {
    let text: usize = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(text);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    let mut copied = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = buffer.split_to(value.len().min(buffer.len()));
        let Ok(mut copy) = HeaderValue::from_maybe_shared(text) else { continue };
        copy.set_sensitive(value.is_sensitive());
        copied.append(compact_name(name), copy);
    }
    copied
}

/// Known names cost nothing; others are copied.
fn compact_name(name: &HeaderName) -> HeaderName {
    HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone())
}

/// All that is stored for one key: the newest first.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    variants: Vec<Entry>,
}

impl Shelf {
    /// What fits this request, the newest of it; what does not vary only where nothing that does fits, as some origins
    /// leave `Vary` out of what they send to those who ask for nothing in particular (RFC 9111 §4.1).
    #[must_use]
    pub fn find(&self, request: &HeaderMap) -> Option<&Entry> {
        let mut asked: Option<(&Vary, Option<Choice>)> = None;
        let mut unvarying = None;
        let chosen = self.variants.iter().find(|entry| {
            let vary = &entry.head.vary;
            if matches!(vary, Vary::Fields(fields) if fields.is_empty()) {
                unvarying.get_or_insert(*entry);
                return false;
            }
            let is_new = asked.as_ref().is_none_or(|(known, _)| *known != vary);
            if is_new {
                asked = Some((vary, vary.choice(request)));
            }
            asked.as_ref().is_some_and(|(_, choice)| choice.as_ref() == Some(&entry.head.choice))
        });
        chosen.or(unvarying)
    }

    /// All of them, the newest first.
    #[must_use]
    pub fn variants(&self) -> &[Entry] {
        &self.variants
    }

    /// With one more, in place of what the same request would have got; what is over `variants_max` goes, oldest first.
    #[must_use]
    pub fn with(&self, entry: Entry, variants_max: usize) -> Self {
        let mut variants = Vec::with_capacity(self.variants.len() + 1);
        let is_kept = |old: &&Entry| old.head.vary != entry.head.vary || old.head.choice != entry.head.choice;
        variants.extend(self.variants.iter().filter(is_kept).cloned());
        let place = variants.partition_point(|old| old.head.facts.date > entry.head.facts.date);
        variants.insert(place, entry);
        variants.truncate(variants_max);
        Self { variants }
    }

    /// With every head changed so.
    #[must_use]
    pub fn map(&self, change: impl Fn(&Entry) -> Option<Entry>) -> Self {
        Self { variants: self.variants.iter().filter_map(change).collect() }
    }

    /// What all of them cost, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.variants.iter().map(Entry::bytes).sum::<u64>() + ALLOCATION_BYTES as u64
    }
}
