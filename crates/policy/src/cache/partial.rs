//! Stored parts: the content of a 206 or truncated 200, the requests that it answers, and the combination of parts (RFC
//! 9111 §3.3, §3.4).
//!
//! Handles positions and heads only. `storable` decides whether a part may be stored, `lookup` whether it is fresh;
//! `message::range` parses and writes ranges.

use std::cmp::Reverse;
use std::time::Duration;

use http::StatusCode;
use message::{Edit, Fields, Known, KnownSet};

use super::validate::{self, strong_date};
use crate::message::etag::{Comparison, EntityTag};
use crate::message::range::{self, ByteRange, ContentRange, Selection};

/// A non-empty range of a representation of known length, within its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    range: ByteRange,
    complete: u64,
}

impl Part {
    /// `None` if the range extends beyond `complete` bytes.
    #[must_use]
    pub const fn new(range: ByteRange, complete: u64) -> Option<Self> {
        if range.last() < complete { Some(Self { range, complete }) } else { None }
    }

    /// The bytes it contains.
    #[must_use]
    pub const fn range(&self) -> ByteRange {
        self.range
    }

    /// The length of the complete representation.
    #[must_use]
    pub const fn complete(&self) -> u64 {
        self.complete
    }

    /// Whether it is all of the representation.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.range.bytes() == self.complete
    }

    /// The offset of these bytes of the representation in the part's content; `None` if it does not contain all of
    /// them.
    #[must_use]
    pub fn offset(&self, wanted: ByteRange) -> Option<u64> {
        let holds = self.range.first() <= wanted.first() && wanted.last() <= self.range.last();
        if holds { wanted.first().checked_sub(self.range.first()) } else { None }
    }

    /// The selection of a GET's `Range`, if the part contains every byte of it: one or several ranges, as positions in
    /// the representation. `message::conditions` decides whether `Range` applies.
    ///
    /// `None`: the request must be forwarded. This includes a request for the whole, without a valid `Range`, and one
    /// that cannot be satisfied, because an incomplete response only answers requests "wholly within" it.
    ///
    /// Source: RFC 9111 §3.3. Open and suffix ranges are resolved against the complete length (RFC 9110 §14.1.2).
    #[must_use]
    pub fn answers(&self, request: &Fields) -> Option<Selection> {
        let selection = range::select(request.values(Known::Range), self.complete);
        let holds = match &selection {
            Selection::Single(one) => self.offset(*one).is_some(),
            Selection::Several(all) => all.iter().all(|one| self.offset(*one).is_some()),
            Selection::Whole | Selection::Unsatisfiable => false,
        };
        holds.then_some(selection)
    }

    /// The missing range, if the part is the beginning of the representation.
    #[must_use]
    pub fn rest(&self) -> Option<ByteRange> {
        if self.range.first() != 0 {
            return None;
        }
        ByteRange::new(self.range.last().checked_add(1)?, self.complete.checked_sub(1)?)
    }

    /// Joins two parts that overlap or touch. [`have_one_validator`] must hold for their responses.
    #[must_use]
    pub fn join(&self, other: &Self) -> Option<JoinedParts> {
        if self.complete != other.complete {
            return None;
        }
        // The part that begins first leads; of two with the same start, the longer one, which then suffices.
        let place = |part: &Self| (part.range.first(), Reverse(part.range.last()));
        let other_leads = place(other) < place(self);
        let (first, second) = if other_leads { (other, self) } else { (self, other) };
        let (leader, follower) =
            if other_leads { (Holder::Other, Holder::This) } else { (Holder::This, Holder::Other) };
        // A last position is below `complete`, so this never saturates.
        let next = first.range.last().saturating_add(1);
        if second.range.first() > next {
            return None;
        }
        let leading = PartPiece { holder: leader, skip_bytes: 0, bytes: first.range.bytes() };
        let trailing = ByteRange::new(next, second.range.last()).map(|beyond| PartPiece {
            holder: follower,
            skip_bytes: next.saturating_sub(second.range.first()),
            bytes: beyond.bytes(),
        });
        let range = ByteRange::new(first.range.first(), first.range.last().max(second.range.last()))?;
        Some(JoinedParts { part: Self::new(range, self.complete)?, leading, trailing })
    }
}

/// The part in a response, if it can be used: a 206 with one `Content-Range` in bytes and of known length, which
/// `Content-Length`, if present, matches. `multipart/byteranges` is not supported.
///
/// Source: RFC 9110 §15.3.7, §14.4.
#[must_use]
pub fn part_of(status: StatusCode, response: &Fields) -> Option<Part> {
    if status != StatusCode::PARTIAL_CONTENT || is_multipart(response) {
        return None;
    }
    match ContentRange::parse(response.only(Known::ContentRange)?)? {
        ContentRange::Part(range, Some(complete)) => {
            let agrees = !response.has(Known::ContentLength) || content_length(response) == Some(range.bytes());
            Part::new(range, complete).filter(|_| agrees)
        }
        ContentRange::Part(_, None) | ContentRange::Unsatisfied(_) => None,
    }
}

/// The part in a 200 to GET that was truncated after this many bytes, if it can be completed later: its length must
/// have been announced, and it must have a strong validator. `None` also if no byte was received, or none is missing.
///
/// `today` (since the epoch) determines the century of two-digit years.
///
/// Source: RFC 9111 §3.3.
#[must_use]
pub fn part_of_truncated(status: StatusCode, response: &Fields, received_bytes: u64, today: Duration) -> Option<Part> {
    if status != StatusCode::OK || response.has(Known::ContentRange) {
        return None;
    }
    let complete = content_length(response)?;
    strong_validator(response, today)?;
    let range = ByteRange::new(0, received_bytes.checked_sub(1)?)?;
    Part::new(range, complete).filter(|part| !part.is_whole())
}

/// Two joined parts, and how to concatenate their content: one piece, then the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedParts {
    /// The joined part.
    pub part: Part,
    /// The first piece.
    pub leading: PartPiece,
    /// The second piece; `None` if one of the parts contains everything.
    pub trailing: Option<PartPiece>,
}

/// A range of bytes in the content of one of the two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPiece {
    /// The part.
    pub holder: Holder,
    /// The offset in its content, in bytes.
    pub skip_bytes: u64,
    /// The length; at least 1.
    pub bytes: u64,
}

/// One of the two parts of [`Part::join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The receiver of the call.
    This,
    /// The argument.
    Other,
}

/// Whether two responses contain bytes of the same representation, so that their parts may be joined: their entity tags
/// are strong and equal; or neither has one, and their `Last-Modified` are strong and equal. `Content-Encoding` must be
/// equal, too, because some origins use one tag for all codings.
///
/// `today` (since the epoch) determines the century of two-digit years.
///
/// Source: RFC 9111 §3.4, RFC 9110 §15.3.7.3, §8.8.2.2.
#[must_use]
pub fn have_one_validator(one: &Fields, other: &Fields, today: Duration) -> bool {
    let same = match (strong_validator(one, today), strong_validator(other, today)) {
        (Some(Validator::Tag(tag)), Some(Validator::Tag(other))) => tag.matches(&other, Comparison::Strong),
        (Some(Validator::Modified(date)), Some(Validator::Modified(other))) => date == other,
        (Some(Validator::Tag(_)), Some(Validator::Modified(_)))
        | (Some(Validator::Modified(_)), Some(Validator::Tag(_)))
        | (None, _)
        | (_, None) => false,
    };
    same && validate::same(one, other, Known::ContentEncoding)
}

/// The head of the joined response: the stored fields, updated by the newer ones, and the newer response's cookies. 200
/// if `part` is the whole, else 206 with its `Content-Range`; `Content-Length` is that of the part.
///
/// Source: RFC 9111 §3.4, RFC 9110 §15.3.7.3.
#[must_use]
pub fn joined_head(stored: &Fields, newer: &Fields, part: &Part) -> (StatusCode, Fields) {
    let mut fields = validate::freshened(stored, newer);
    fields.drop_known(KnownSet::of(&[Known::SetCookie, Known::ContentRange]));
    // Only the cookies of the newer response, which the decision to store takes into account.
    for cookie in newer.values(Known::SetCookie) {
        fields.append(Known::SetCookie, cookie);
    }
    fields.set(Known::ContentLength, part.range.bytes().to_string());
    if part.is_whole() {
        return (StatusCode::OK, fields);
    }
    fields.set(Known::ContentRange, ContentRange::Part(part.range, Some(part.complete)).to_string());
    (StatusCode::PARTIAL_CONTENT, fields)
}

/// The edits that turn a client's request for the whole into one for the rest of a stored part: preconditions are
/// dropped, and `Range` and, with the stored validator, `If-Range` are set. The response is a 206 to join, or a 200
/// that replaces the part.
///
/// `None`: there is no [`Part::rest`], or no strong validator.
///
/// Source: RFC 9111 §3.3, RFC 9110 §13.1.5.
#[must_use]
pub fn ask_for_rest<'s>(stored: &'s Fields, part: &Part, today: Duration) -> Option<[Edit<'s>; 3]> {
    let rest = part.rest()?;
    ask_for(stored, (rest.first(), Some(rest.last())), today)
}

/// The edits that request a range of a response's representation, if it is unchanged. `None`: the response has no
/// strong validator.
fn ask_for(response: &Fields, (first, last): (u64, Option<u64>), today: Duration) -> Option<[Edit<'_>; 3]> {
    const CONDITIONS: KnownSet =
        KnownSet::of(&[Known::IfMatch, Known::IfNoneMatch, Known::IfModifiedSince, Known::IfUnmodifiedSince]);
    let validator = match strong_validator(response, today)? {
        Validator::Tag(_) => response.first(Known::Etag)?,
        Validator::Modified(_) => response.first(Known::LastModified)?,
    };
    let last = last.map(|last| last.to_string()).unwrap_or_default();
    Some([
        Edit::DropKnown(CONDITIONS),
        Edit::set(Known::Range, format!("bytes={first}-{last}").into_bytes()),
        Edit::set(Known::IfRange, validator),
    ])
}

/// Whether another response can continue this one after a client has received its beginning: it is a 200 or a part of
/// one, with a strong validator.
#[must_use]
pub fn is_resumable(status: StatusCode, response: &Fields, today: Duration) -> bool {
    matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) && strong_validator(response, today).is_some()
}

/// The missing rest of a response whose beginning the client has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The position of its first byte in the representation.
    pub first: u64,
    /// The position of its last byte; `None`: to the end.
    pub last: Option<u64>,
    /// The length of the representation; `None`: unknown.
    pub complete: Option<u64>,
}

/// The position of the missing bytes in a response's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundPart {
    /// The bytes to skip.
    pub skip_bytes: u64,
    /// The exact number of bytes to take; `None`: all.
    pub bytes: Option<u64>,
}

impl Missing {
    /// The edits that turn a client's request into one for the missing bytes: preconditions are dropped, and `Range`
    /// and, with the validator of the first response, `If-Range` are set. `None`: that response has no strong
    /// validator.
    ///
    /// `today` (since the epoch) determines the century of two-digit years.
    ///
    /// Source: RFC 9110 §13.1.5, §14.2.
    #[must_use]
    pub fn ask<'b>(&self, begun: &'b Fields, today: Duration) -> Option<[Edit<'b>; 3]> {
        ask_for(begun, (self.first, self.last), today)
    }

    /// The position of the missing bytes in a response to that request. `None`: it does not contain them, or may be of
    /// another representation; then the bytes must not be concatenated.
    ///
    /// A 200 from an origin that ignores `Range` is accepted if the validators match.
    ///
    /// Source: RFC 9110 §15.3.7.3, RFC 9111 §3.4.
    #[must_use]
    pub fn find(&self, begun: &Fields, status: StatusCode, answer: &Fields, today: Duration) -> Option<FoundPart> {
        if !have_one_validator(begun, answer, today) {
            return None;
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let part = part_of(status, answer)?;
            let last = self.last.or(part.complete().checked_sub(1))?;
            let is_it = ByteRange::new(self.first, last) == Some(part.range());
            let agrees = self.complete.is_none_or(|complete| complete == part.complete());
            return (is_it && agrees).then_some(FoundPart { skip_bytes: 0, bytes: Some(part.range().bytes()) });
        }
        let length = content_length(answer);
        let differs = self.complete.is_some_and(|complete| length.is_some_and(|length| length != complete));
        if status != StatusCode::OK || answer.has(Known::ContentRange) || differs {
            return None;
        }
        let last = match (self.last, length.or(self.complete)) {
            (Some(last), _) => Some(last),
            (None, Some(complete)) => Some(complete.checked_sub(1)?),
            (None, None) => None,
        };
        let bytes = match last {
            Some(last) => Some(ByteRange::new(self.first, last)?.bytes()),
            None => None,
        };
        Some(FoundPart { skip_bytes: self.first, bytes })
    }
}

/// A strong validator: proves that two responses have the same bytes.
enum Validator<'a> {
    Tag(EntityTag<'a>),
    /// `Last-Modified`, since the epoch.
    Modified(Duration),
}

/// The strong validator of a response. `Last-Modified` does not count next to an entity tag of any kind; alone, it must
/// be strong.
fn strong_validator(response: &Fields, today: Duration) -> Option<Validator<'_>> {
    if response.has(Known::Etag) {
        return EntityTag::of(response).filter(|tag| !tag.is_weak()).map(Validator::Tag);
    }
    strong_date(response, today).map(Validator::Modified)
}

fn is_multipart(response: &Fields) -> bool {
    let is_multipart = |value: &[u8]| {
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"multipart/byteranges")
    };
    response.values(Known::ContentType).any(is_multipart)
}

fn content_length(response: &Fields) -> Option<u64> {
    let digits = std::str::from_utf8(response.only(Known::ContentLength)?).ok()?.trim_ascii();
    // `parse` alone would accept a sign.
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
