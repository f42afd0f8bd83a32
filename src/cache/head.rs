//! The head of a stored response, and what it costs in memory.

use std::time::UNIX_EPOCH;

use http::{HeaderName, StatusCode};
use message::{Fields, Known};
use policy::cache::partial::Part;
use policy::cache::stored::Stored;
use policy::message::dates;
use policy::message::vary::{Choice, Vary};
use policy::time::Now;

use super::allocation::{ALLOCATION_BYTES, allocated};

/// The counts of an `Arc`.
const ARC_BYTES: usize = 2 * size_of::<usize>();

/// The head of a stored response. Held for each of them, so all that most are without is behind one pointer.
#[derive(Clone, Debug)]
pub struct StoredHead {
    /// Its fields as they are served, but for `Age`.
    pub fields: Fields,
    /// What the rules look at.
    pub stored: Stored,
    extra: Option<Box<Extra>>,
}

/// What most heads are without.
#[derive(Clone, Debug, Default)]
struct Extra {
    part: Option<Part>,
    variance: Option<Variance>,
    tags: Box<[Box<str>]>,
}

/// What chooses a response among others of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variance {
    /// Which request fields do.
    pub vary: Vary,
    /// What the request that fetched it said in them.
    pub choice: Choice,
}

impl StoredHead {
    /// The head of a whole response that fits every request and has no tags.
    #[must_use]
    pub fn new(fields: Fields, stored: Stored) -> Self {
        Self { fields, stored, extra: None }
    }

    /// The same of a part; `None`: the whole.
    #[must_use]
    pub fn with_part(self, part: Option<Part>) -> Self {
        self.with(|extra| extra.part = part)
    }

    /// The same for requests that choose so.
    #[must_use]
    pub fn with_variance(self, vary: Vary, choice: Choice) -> Self {
        let fits_all = matches!(&vary, Vary::Fields(fields) if fields.is_empty());
        self.with(|extra| extra.variance = (!fits_all).then_some(Variance { vary, choice }))
    }

    /// The same with these tags.
    #[must_use]
    pub fn with_tags(self, tags: Box<[Box<str>]>) -> Self {
        self.with(|extra| extra.tags = tags)
    }

    /// The same with other facts.
    #[must_use]
    pub fn with_stored(&self, stored: Stored) -> Self {
        Self { fields: self.fields.compact(), stored, extra: self.extra.clone() }
    }

    /// The same with other fields, and what is to be kept of their facts.
    #[must_use]
    pub fn with_fields(&self, fields: Fields, stored: Stored) -> Self {
        Self { fields, stored, extra: self.extra.clone() }
    }

    fn with(self, change: impl FnOnce(&mut Extra)) -> Self {
        let mut extra = self.extra.map(|extra| *extra).unwrap_or_default();
        change(&mut extra);
        let is_needed = extra.part.is_some() || extra.variance.is_some() || !extra.tags.is_empty();
        Self { fields: self.fields, stored: self.stored, extra: is_needed.then(|| Box::new(extra)) }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.stored.status()
    }

    /// Which part of the representation came with it; `None`: the whole.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        self.extra.as_ref()?.part
    }

    /// What chooses it; `None`: it fits every request.
    #[must_use]
    pub fn variance(&self) -> Option<&Variance> {
        self.extra.as_ref()?.variance.as_ref()
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> &[Box<str>] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }

    /// Which request fields choose it; `None`: none of them.
    #[must_use]
    pub fn vary(&self) -> Option<&Vary> {
        self.variance().map(|variance| &variance.vary)
    }

    /// What a request says in the fields that choose it; `None`: nothing can be known of it.
    #[must_use]
    pub fn choice(&self, request: &Fields) -> Option<Choice> {
        self.vary().map_or(Some(Choice::default()), |vary| vary.choice(request))
    }

    /// Whether it was fetched by a request with this choice.
    #[must_use]
    pub fn is_chosen_by(&self, choice: &Choice) -> bool {
        self.variance().map_or(choice.as_bytes().is_empty(), |variance| variance.choice == *choice)
    }

    /// What it costs, in bytes: its allocation, and those of its fields and of what few have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fields = self.fields.heap_bytes() + 2 * ALLOCATION_BYTES;
        allocated(ARC_BYTES + size_of::<Self>()) + fields as u64 + self.extra.as_ref().map_or(0, |extra| extra.bytes())
    }
}

impl Extra {
    fn bytes(&self) -> u64 {
        let tags: u64 = self.tags.iter().map(|tag| size_of::<Box<str>>() as u64 + allocated(tag.len())).sum();
        let variance = self.variance.as_ref().map_or(0, |Variance { vary, choice }| {
            let names = match vary {
                Vary::Anything => 0,
                Vary::Fields(names) => names.capacity() * size_of::<HeaderName>(),
            };
            allocated(names) + allocated(choice.as_bytes().len())
        });
        allocated(size_of::<Self>()) + tags + variance
    }
}

/// A response without a `Date` that can be read gets the moment when it came (RFC 9110 §6.6.1).
pub(super) fn add_date(headers: &mut Fields, now: Now) {
    let is_dated = headers.first(Known::Date).is_some_and(|date| dates::read(date, now.wall).is_some());
    if !is_dated {
        headers.set(Known::Date, httpdate::fmt_http_date(UNIX_EPOCH + now.wall));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policy::cache::facts::ResponseFacts;

    use super::*;

    #[test]
    fn what_every_head_takes_beside_its_fields_is_small() {
        assert_eq!(size_of::<StoredHead>() - size_of::<Fields>(), 64);
    }

    #[test]
    fn a_head_with_other_facts_takes_no_more_memory() {
        let facts = ResponseFacts::of(StatusCode::OK, &Fields::new(), Now::default());
        let stored = Stored::new(&facts, None, Duration::ZERO, Now::default());
        let head = StoredHead::new(Fields::from_iter([("vary", "accept"), ("etag", "\"a\"")]).compact(), stored);
        let outdated = head.with_stored(stored);
        assert_eq!((outdated.bytes(), &outdated.fields), (head.bytes(), &head.fields));
    }

    #[test]
    fn a_head_has_room_for_rare_things_only_when_it_has_some() {
        let facts = ResponseFacts::of(StatusCode::OK, &Fields::new(), Now::default());
        let stored = Stored::new(&facts, None, Duration::ZERO, Now::default());
        let plain = StoredHead::new(Fields::new(), stored).with_part(None).with_tags(Box::default());
        let plain = plain.with_variance(Vary::Fields(Vec::new()), Choice::default());
        assert!(plain.extra.is_none() && plain.tags().is_empty() && plain.variance().is_none());
        let tagged = plain.clone().with_tags(["a".into()].into());
        assert!(tagged.bytes() > plain.bytes() && *tagged.tags() == ["a".into()]);
    }
}
