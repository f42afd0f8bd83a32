//! Responses of which only a part is stored: which of them answers a request, and how they grow (RFC 9111 §3.3, §3.4).
//!
//! Positions and heads are `policy::cache::partial`'s; here are the entries and their content. A part never answers a
//! request for the whole: it saves fetching what is there already.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use message::{Fields, Known};
use policy::cache::facts::ResponseFacts;
use policy::cache::key::Key;
use policy::cache::partial::{
    Holder, JoinedParts, Part, PartPiece, have_one_validator, joined_head, part_of, part_of_truncated,
};
use policy::message::conditions::{Evaluation, evaluate_stored};
use policy::message::range::ByteRange;
use policy::time::Now;

use super::entry::{Entry, StoredContent};
use super::head::{StoredHead, add_date};
use super::memory::Store;
use crate::config::plan::RouteCache;
use crate::exchange::Answer;
use crate::exchange::body::{Body, Flow, StreamingBody};
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;

/// Which of these parts holds all that a request asks for, or tells the client that it has it already.
#[must_use]
pub(crate) fn answering<'a>(method: &Method, request: &Fields, parts: &'a [Entry]) -> Option<&'a Entry> {
    if *method != Method::GET || !request.has(Known::Range) {
        return None;
    }
    parts.iter().find(|entry| {
        let head = &entry.head;
        let holds = entry.part().is_some_and(|part| part.answers(request).is_some());
        // Where `If-Range` fails the whole is asked for, which is not here.
        let is_whole_asked = || {
            evaluate_stored(method, request, head.status(), &head.fields, head.stored.received().wall)
                == Evaluation::ServeWhole
        };
        holds && !is_whole_asked()
    })
}

/// Which of these parts begins the whole that a request asks for, so that only the rest is needed.
#[must_use]
pub(crate) fn beginning<'a>(method: &Method, request: &Fields, parts: &'a [Entry]) -> Option<&'a Entry> {
    if *method != Method::GET || request.has(Known::Range) {
        return None;
    }
    parts.iter().find(|entry| entry.part().is_some_and(|part| part.rest().is_some()))
}

/// A part together with those stored parts that it overlaps or touches; anything else as it is.
///
/// `object_bytes_max`: no more than that is put together.
#[must_use]
pub(crate) fn grown(store: &Store, key: &Key, new: Entry, object_bytes_max: u64) -> Entry {
    if new.part().is_none() {
        return new;
    }
    let stored: Vec<Entry> = store.variants(key).into_iter().filter(|old| new.is_same_variant(old)).collect();
    stored.iter().fold(new, |new, old| join(&new, old, object_bytes_max).unwrap_or(new))
}

/// Two parts as one; it is as fresh as the newer.
fn join(new: &Entry, old: &Entry, object_bytes_max: u64) -> Option<Entry> {
    let JoinedParts { part, leading, trailing } = new.part()?.join(&old.part()?)?;
    let received = new.head.stored.received();
    let is_one = have_one_validator(&new.head.fields, &old.head.fields, received.wall);
    if !is_one || part.range().bytes() > object_bytes_max {
        return None;
    }
    let content = [Some(leading), trailing].into_iter().flatten().flat_map(|piece| taken(new, old, piece)).collect();
    let (status, headers) = joined_head(&old.head.fields, &new.head.fields, &part);
    let tags = if new.head.tags().is_empty() { old.head.tags() } else { new.head.tags() };
    let head = changed(&new.head, status, &headers).with_tags(tags.into());
    Some(Entry { head: Arc::new(head), content: StoredContent::gather(content, false) })
}

/// The bytes of a piece.
fn taken(new: &Entry, old: &Entry, piece: PartPiece) -> Vec<Bytes> {
    let holder = match piece.holder {
        Holder::This => new,
        Holder::Other => old,
    };
    let last = piece.skip_bytes.saturating_add(piece.bytes.saturating_sub(1));
    let mut taken = ByteRange::new(piece.skip_bytes, last).map(|range| holder.content.slice(range)).unwrap_or_default();
    if piece.skip_bytes > 0 {
        // A copy: what is cut off would be kept with the rest.
        for bytes in &mut taken {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }
    taken
}

/// A head with another status and other fields.
fn changed(head: &StoredHead, status: StatusCode, headers: &Fields) -> StoredHead {
    let facts = ResponseFacts::of(status, headers, head.stored.received());
    head.with_fields(headers.compact(), head.stored.with_facts(&facts)).with_part(facts.part)
}

/// What has come of a 200 that broke off, as a part, if the rest can be asked for later.
#[must_use]
pub(crate) fn cut_off(head: &StoredHead, pieces: Vec<Bytes>) -> Option<Entry> {
    let received = pieces.iter().map(|piece| piece.len() as u64).sum();
    let part = part_of_truncated(head.status(), &head.fields, received, head.stored.received().wall)?;
    let (status, headers) = joined_head(&head.fields, &Fields::new(), &part);
    Some(Entry { head: Arc::new(changed(head, status, &headers)), content: StoredContent::gather(pieces, false) })
}

/// The whole: what is held of it, and then what has come for the rest. `None`: they do not make the whole together.
#[must_use]
pub(crate) fn completed(rules: &RouteCache, held: &Entry, answer: Answer, now: Now) -> Option<Answer> {
    let rest = part_of(answer.status, &answer.fields)?;
    let part = held.part()?;
    let whole = Part::new(ByteRange::new(0, part.complete().checked_sub(1)?)?, part.complete())?;
    if part.rest() != Some(rest.range()) || part.complete() != rest.complete() {
        return None;
    }
    // Without a `Date` it has been made now; a strong `Last-Modified` cannot be told without (RFC 9110 §6.6.1).
    let mut newer = answer.fields.clone();
    add_date(&mut newer, now);
    if !have_one_validator(&held.head.fields, &newer, now.wall) {
        return None;
    }
    let (status, mut headers) = joined_head(&held.head.fields, &newer, &whole);
    let is_tagged = rules.tags_headers.iter().any(|name| newer.contains(name));
    let name = rules.tags_headers.first().filter(|_| !is_tagged && !held.head.tags().is_empty());
    if let Some(name) = name {
        headers.set(name, held.head.tags().join(" "));
    }
    let own = ByteRange::new(0, part.range().bytes().checked_sub(1)?)?;
    let pieces = held.content.slice(own).into();
    let body = Body::flow(Box::pin(Exactly { pieces, rest: answer.body.into_flow()?, left: whole.complete() }));
    Some(Answer { status, fields: headers, body })
}

/// A body that must be so long: `StoredContent-Range` has said so.
#[must_use]
pub(crate) fn exactly(flow: Flow, bytes: u64) -> Flow {
    Box::pin(Exactly { pieces: VecDeque::new(), rest: flow, left: bytes })
}

/// What is there already, then what flows, and no other number of bytes than was announced.
struct Exactly {
    pieces: VecDeque<Bytes>,
    rest: Flow,
    /// Bytes that have not been handed over yet, of both.
    left: u64,
}

impl http_body::Body for Exactly {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            self.left = self.left.saturating_sub(piece.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Poll::Ready(polled) = self.rest.as_mut().poll_frame(cx) else { return Poll::Pending };
        let left = match &polled {
            Some(Ok(frame)) => self.left.checked_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64)),
            Some(Err(_)) => Some(self.left),
            None => Some(self.left).filter(|left| *left == 0),
        };
        let Some(left) = left else { return Poll::Ready(Some(Err(ProxyError::FetchBroken))) };
        self.left = left;
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl StreamingBody for Exactly {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.rest.as_mut().wait_under(deadline);
    }
}

#[cfg(test)]
mod tests {
    use message::Decimal;
    use policy::cache::key::{KeyRules, Scheme, Space, Target};
    use policy::cache::stored::Stored;
    use policy::message::host::Host;
    use policy::message::range::ContentRange;
    use proptest::prelude::*;

    use super::*;
    use crate::cache::entry::StoredVariants;
    use crate::config::plan;

    const NOW: Now =
        Now { mono: std::time::Duration::from_secs(5), wall: std::time::Duration::from_secs(1_000_000_000) };
    const COMPLETE: u64 = 40;

    /// The bytes of the representation that these positions hold.
    fn bytes(range: ByteRange) -> Vec<u8> {
        (range.first()..=range.last()).map(|place| u8::try_from(place).unwrap()).collect()
    }

    fn head(status: StatusCode, headers: Fields) -> StoredHead {
        let facts = ResponseFacts::of(status, &headers, NOW);
        let stored = Stored::new(&facts, None, std::time::Duration::ZERO, NOW);
        StoredHead::new(headers, stored).with_part(facts.part)
    }

    fn fields(tag: &'static str) -> Fields {
        [("cache-control", "max-age=60"), ("date", "Sun, 09 Sep 2001 01:46:40 GMT"), ("etag", tag)]
            .into_iter()
            .collect()
    }

    fn part(first: u64, last: u64, tag: &'static str) -> Entry {
        let range = ByteRange::new(first, last).unwrap();
        let mut headers = fields(tag);
        headers.set(Known::ContentRange, ContentRange::Part(range, Some(COMPLETE)).to_string());
        headers.set(Known::ContentLength, Decimal::new(range.bytes()));
        let head = Arc::new(head(StatusCode::PARTIAL_CONTENT, headers));
        Entry { head, content: StoredContent::One(Bytes::from(bytes(range))) }
    }

    fn whole(tag: &'static str) -> Entry {
        let all = ByteRange::new(0, COMPLETE - 1).unwrap();
        Entry {
            head: Arc::new(head(StatusCode::OK, fields(tag))),
            content: StoredContent::One(Bytes::from(bytes(all))),
        }
    }

    fn content(entry: &Entry) -> Vec<u8> {
        entry.content.slice(ByteRange::new(0, u64::MAX - 1).unwrap()).concat()
    }

    fn places(shelf: &StoredVariants) -> Vec<(u64, u64)> {
        let parts = shelf.variants().iter().filter_map(Entry::part);
        parts.map(|part| (part.range().first(), part.range().last())).collect()
    }

    fn shelf(entries: impl IntoIterator<Item = Entry>) -> StoredVariants {
        entries.into_iter().fold(StoredVariants::default(), |shelf, entry| shelf.with(entry, 64))
    }

    #[test]
    fn a_shelf_finds_parts_only_when_asked_for_them() {
        let shelf = shelf([part(0, 4, "\"a\"")]);
        let nothing = Fields::new();
        assert!(shelf.find(&nothing).is_none());
        assert_eq!(shelf.parts(&nothing).count(), 1);
    }

    #[test]
    fn a_whole_takes_the_place_of_parts_and_no_part_takes_its() {
        let shelf = shelf([part(0, 4, "\"a\""), whole("\"b\""), part(5, 9, "\"a\"")]);
        assert_eq!(shelf.variants().len(), 1);
        assert!(shelf.find(&Fields::new()).is_some());
    }

    #[test]
    fn parts_of_another_version_go_and_others_stay_up_to_a_limit() {
        assert_eq!(places(&shelf([part(0, 4, "\"a\""), part(8, 9, "\"b\"")])), [(8, 9)]);
        assert_eq!(places(&shelf([part(0, 4, "\"a\""), part(8, 9, "\"a\"")])), [(8, 9), (0, 4)]);
        assert_eq!(places(&shelf([part(1, 4, "\"a\""), part(0, 9, "\"a\"")])), [(0, 9)]);
        assert_eq!(places(&shelf([part(0, 4, "W/\"a\""), part(8, 9, "W/\"a\"")])), [(8, 9)]);
        let many = shelf((0..20).map(|place| part(2 * place, 2 * place, "\"a\"")));
        assert_eq!(many.variants().len(), 8);
        assert_eq!(places(&many).first(), Some(&(38, 38)));
    }

    #[test]
    fn no_more_is_put_together_than_may_be_stored() {
        let (one, other) = (part(5, 9, "\"a\""), part(0, 4, "\"a\""));
        assert!(join(&one, &other, 9).is_none());
        assert_eq!(join(&one, &other, 10).unwrap().content.length(), Some(10));
    }

    #[test]
    fn what_is_cut_off_takes_no_room() {
        let joined = join(&part(0, 29, "\"a\""), &part(1, 39, "\"a\""), COMPLETE).unwrap();
        assert!(joined.part().is_none());
        assert_eq!(joined.head.status(), StatusCode::OK);
        assert_eq!(joined.bytes() - joined.head.bytes(), whole("\"a\"").bytes() - whole("\"a\"").head.bytes());
    }

    #[test]
    fn a_joined_part_keeps_tags_that_the_newer_does_not_name() {
        let tagged = |entry: Entry, tags: &[&str]| {
            let tags = tags.iter().map(|tag| Box::from(*tag)).collect();
            Entry { head: Arc::new(StoredHead::clone(&entry.head).with_tags(tags)), ..entry }
        };
        let old = tagged(part(0, 4, "\"a\""), &["old"]);
        let tags = |new: &Entry| join(new, &old, COMPLETE).unwrap().head.tags().to_vec();
        assert_eq!(tags(&part(5, 9, "\"a\"")), [Box::from("old")]);
        assert_eq!(tags(&tagged(part(5, 9, "\"a\""), &["new"])), [Box::from("new")]);
    }

    #[test]
    fn what_broke_off_is_kept_only_if_it_can_be_completed() {
        let of = |tag, length: Option<u64>, received: u64| {
            let mut headers = fields(tag);
            headers.extend(length.map(|length| ("content-length", Decimal::new(length))));
            let pieces = ByteRange::new(0, received.wrapping_sub(1)).filter(|_| received > 0).map(bytes);
            cut_off(&head(StatusCode::OK, headers), pieces.into_iter().map(Bytes::from).collect())
        };
        let kept = of("\"a\"", Some(10), 4).unwrap();
        assert_eq!((kept.head.status(), kept.content.length()), (StatusCode::PARTIAL_CONTENT, Some(4)));
        assert_eq!(kept.part().map(|part| (part.range().last(), part.complete())), Some((3, 10)));
        assert!(of("W/\"a\"", Some(10), 4).is_none());
        assert!(of("\"a\"", None, 4).is_none());
        assert!(of("\"a\"", Some(10), 0).is_none());
    }

    proptest! {
        /// However parts come, each that is stored holds the bytes that it says, and none of them could be joined.
        #[test]
        fn stored_parts_hold_what_they_say(ranges in proptest::collection::vec((0..COMPLETE, 1..12_u64), 1..20)) {
            let store = Store::new(&plan::Cache::default());
            let rules = KeyRules::default();
            let target = Target::new(Scheme::Http, &Host::parse(b"shop.test").unwrap(), "/".into(), None);
            let key = Key::of_uri(Space { name: b"", rules: &rules }, &target);
            for (first, length) in ranges {
                let new = part(first, (first + length - 1).min(COMPLETE - 1), "\"a\"");
                let new = grown(&store, &key, new, COMPLETE);
                assert!(store.shard(&key).put(&key, new, &mut Vec::new()));
            }
            let stored = store.variants(&key);
            for (place, entry) in stored.iter().enumerate() {
                let range = entry.part().map_or(ByteRange::new(0, COMPLETE - 1).unwrap(), |part| part.range());
                prop_assert_eq!(content(entry), bytes(range));
                prop_assert_eq!(entry.head.fields.has(Known::ContentRange), entry.part().is_some());
                for other in stored.iter().skip(place + 1) {
                    prop_assert!(join(entry, other, COMPLETE).is_none());
                }
            }
        }
    }
}
