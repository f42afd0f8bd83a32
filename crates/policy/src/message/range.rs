//! Byte ranges: the selection by `Range`, and the format of the parts (RFC 9110 §14).
//!
//! `conditions` decides whether `Range` applies (`If-Range`, method, status). Handles positions only, no content.

use std::fmt;

/// The most parts of a response; if more are requested, the whole representation is sent.
pub const PARTS_MAX: usize = 8;

/// The most bytes by which a multipart response may exceed the representation; beyond that, the whole is sent.
pub const OVERHEAD_BYTES_MAX: u64 = 1024;

/// The most ranges that are parsed; a request with more gets the whole representation.
const RANGES_MAX: usize = 64;

/// The positions of the first and the last byte, both included; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// `None` if the last byte comes before the first.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The position of the first byte, counted from 0.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The position of the last byte.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// The number of bytes; at least 1.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The selection of a `Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200: the whole representation. There is no range, or it is unsupported, malformed or excessive.
    Whole,
    /// 206 with one part.
    Single(ByteRange),
    /// 206 with two to [`PARTS_MAX`] parts that do not touch, in the order of the request.
    Several(Vec<ByteRange>),
    /// 416: no byte of the representation.
    Unsatisfiable,
}

/// The selection of a `Range` field from `complete` bytes. Overlapping and adjacent ranges are merged.
///
/// Source: RFC 9110 §14.1.2, §14.2, §15.3.7.2. A malformed or duplicate field is ignored.
#[must_use]
pub fn select<'a>(mut lines: impl Iterator<Item = &'a [u8]>, complete: u64) -> Selection {
    let (Some(line), None) = (lines.next(), lines.next()) else { return Selection::Whole };
    let Some(asked) = parse(line) else { return Selection::Whole };
    if asked.iter().any(|one| matches!(one, RequestedRange::Suffix(1..))) && complete == 0 {
        // A suffix of an empty representation is satisfiable, but no Content-Range can express it (RFC 9110 §14.4).
        return Selection::Whole;
    }
    let parts = merge(asked.iter().filter_map(|one| one.within(complete)).collect());
    match parts.as_slice() {
        [] => Selection::Unsatisfiable,
        [one] => Selection::Single(*one),
        [..] if parts.len() > PARTS_MAX => Selection::Whole,
        [..] => Selection::Several(parts),
    }
}

/// A range of a request.
#[derive(Clone, Copy, Debug)]
enum RequestedRange {
    /// From a position to another, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

impl RequestedRange {
    fn within(self, complete: u64) -> Option<ByteRange> {
        let end = complete.checked_sub(1)?;
        match self {
            Self::From(first, last) => ByteRange::new(first, last.map_or(end, |last| last.min(end))),
            Self::Suffix(0) => None,
            Self::Suffix(bytes) => ByteRange::new(complete.saturating_sub(bytes), end),
        }
    }
}

/// `None`: another unit, malformed, or too many.
fn parse(value: &[u8]) -> Option<Vec<RequestedRange>> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut asked = Vec::new();
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        if asked.len() == RANGES_MAX {
            return None;
        }
        asked.push(parse_spec(spec)?);
    }
    (!asked.is_empty()).then_some(asked)
}

fn parse_spec(spec: &str) -> Option<RequestedRange> {
    match spec.split_once('-')? {
        ("", bytes) => Some(RequestedRange::Suffix(number(bytes)?)),
        (first, "") => Some(RequestedRange::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RequestedRange::From(first, Some(last)))
        }
    }
}

/// Decimal digits only; too large a number saturates.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Merges ranges that overlap or touch; each takes the position of its first part in the request.
fn merge(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut by_position: Vec<(usize, ByteRange)> = ranges.into_iter().enumerate().collect();
    by_position.sort_by_key(|(_, range)| range.first);
    let mut merged: Vec<(usize, ByteRange)> = Vec::new();
    for (rank, range) in by_position {
        match merged.last_mut() {
            Some((first_rank, before)) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last);
                *first_rank = rank.min(*first_rank);
            }
            Some(_) | None => merged.push((rank, range)),
        }
    }
    merged.sort_by_key(|(rank, _)| *rank);
    merged.into_iter().map(|(_, range)| range).collect()
}

/// A `Content-Range` (RFC 9110 §14.4). `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// A part, and the complete length; `None` if that is unknown to the sender.
    Part(ByteRange, Option<u64>),
    /// For a 416: the complete length.
    Unsatisfied(u64),
}

impl ContentRange {
    /// Parses a field value; `None` if it is malformed, has another unit, or contradicts itself.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, complete) = rest.split_once('/')?;
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        if range == "*" {
            return complete.map(Self::Unsatisfied);
        }
        let (first, last) = range.split_once('-')?;
        let range = ByteRange::new(number(first)?, number(last)?)?;
        complete.is_none_or(|complete| range.last < complete).then_some(Self::Part(range, complete))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(range, Some(complete)) => write!(out, "bytes {}-{}/{complete}", range.first, range.last),
            Self::Part(range, None) => write!(out, "bytes {}-{}/*", range.first, range.last),
            Self::Unsatisfied(complete) => write!(out, "bytes */{complete}"),
        }
    }
}

/// The framing of a `multipart/byteranges` body (RFC 9110 §14.6): the bytes before, between and after the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    parts: Vec<(Vec<u8>, ByteRange)>,
    end: Vec<u8>,
    bytes: u64,
}

impl Multipart {
    /// The framing of these parts of `complete` bytes.
    ///
    /// `None`: send the whole representation, because the multipart response would be more than [`OVERHEAD_BYTES_MAX`]
    /// longer, or the boundary is invalid (RFC 2046 §5.1.1; 1 to 70 letters and digits are accepted). The caller
    /// generates a random boundary, so that no content can contain it on purpose.
    #[must_use]
    pub fn new(parts: &[ByteRange], complete: u64, content_type: Option<&[u8]>, boundary: &str) -> Option<Self> {
        if !(1..=70).contains(&boundary.len()) || !boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        let mut bytes = size(&end);
        let mut framed = Vec::with_capacity(parts.len().min(PARTS_MAX));
        for part in parts {
            let head = part_head(ContentRange::Part(*part, Some(complete)), content_type, boundary);
            bytes = bytes.saturating_add(size(&head)).saturating_add(part.bytes());
            if bytes > complete.saturating_add(OVERHEAD_BYTES_MAX) {
                return None;
            }
            framed.push((head, *part));
        }
        Some(Self { parts: framed, end, bytes })
    }

    /// The parts in order: the bytes written before each, and the range that follows.
    pub fn parts(&self) -> impl Iterator<Item = (&[u8], ByteRange)> {
        self.parts.iter().map(|(head, range)| (head.as_slice(), *range))
    }

    /// The bytes written after the last part.
    #[must_use]
    pub fn end(&self) -> &[u8] {
        &self.end
    }

    /// The exact `Content-Length`.
    #[must_use]
    pub const fn content_length_bytes(&self) -> u64 {
        self.bytes
    }
}

/// The `Content-Type` of a multipart response with this boundary.
#[must_use]
pub fn multipart_type(boundary: &str) -> String {
    format!("multipart/byteranges; boundary={boundary}")
}

fn part_head(range: ContentRange, content_type: Option<&[u8]>, boundary: &str) -> Vec<u8> {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(value) = content_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("Content-Range: {range}\r\n\r\n").as_bytes());
    head
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selected(lines: &[&str], complete: u64) -> Selection {
        select(lines.iter().map(|line| line.as_bytes()), complete)
    }

    fn range(first: u64, last: u64) -> ByteRange {
        ByteRange::new(first, last).unwrap()
    }

    #[test]
    fn rfc9110_14_1_2_the_examples_for_ten_thousand_bytes() {
        let cases = [
            ("bytes=0-499", range(0, 499)),
            ("bytes=500-999", range(500, 999)),
            ("bytes=-500", range(9500, 9999)),
            ("bytes=9500-", range(9500, 9999)),
            ("bytes=0-0", range(0, 0)),
            ("bytes=0-99999", range(0, 9999)),
            ("bytes=-20000", range(0, 9999)),
            ("BYTES= 0-1 ,", range(0, 1)),
            ("bytes=0-99999999999999999999999", range(0, 9999)),
            ("bytes=500-600,601-999", range(500, 999)),
            ("bytes=500-700,601-999", range(500, 999)),
            ("bytes=0-0,10000-", range(0, 0)),
        ];
        for (value, part) in cases {
            assert_eq!(selected(&[value], 10_000), Selection::Single(part), "{value}");
        }
        assert_eq!(
            selected(&["bytes= 0-0, -2, 5-6"], 10_000),
            Selection::Several(vec![range(0, 0), range(9998, 9999), range(5, 6)])
        );
    }

    #[test]
    fn rfc9110_14_2_what_is_malformed_or_of_another_unit_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=0-1,5-4",
            "bytes=+1-2",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "lines=0-1",
            "bytes:0-1",
            "bytes=1 -2",
            "bytes=\u{e4}-1",
            "bytes=--1",
        ] {
            assert_eq!(selected(&[value], 100), Selection::Whole, "{value}");
        }
        assert_eq!(selected(&["bytes=0-1", "bytes=3-4"], 100), Selection::Whole);
        assert_eq!(selected(&[], 100), Selection::Whole);
    }

    #[test]
    fn rfc9110_15_5_17_nothing_of_it_is_unsatisfiable() {
        for value in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=100-,-0", "bytes=18446744073709551616-"] {
            assert_eq!(selected(&[value], 100), Selection::Unsatisfiable, "{value}");
        }
        assert_eq!(selected(&["bytes=0-"], 0), Selection::Unsatisfiable);
        assert_eq!(selected(&["bytes=-1"], 0), Selection::Whole);
    }

    #[test]
    fn rfc9110_17_15_more_than_eight_separate_parts_get_the_whole() {
        let list =
            |count: u64| format!("bytes={}", (0..count).map(|n| format!("{0}-{0},", n * 10)).collect::<String>());
        assert!(matches!(selected(&[&list(8)], 1000), Selection::Several(parts) if parts.len() == 8));
        assert_eq!(selected(&[&list(9)], 1000), Selection::Whole);
        let same = format!("bytes={}", "0-,".repeat(64));
        assert_eq!(selected(&[&same], 1000), Selection::Single(range(0, 999)));
        let flood = format!("bytes={}", "0-,".repeat(5000));
        assert_eq!(selected(&[&flood], 1000), Selection::Whole);
    }

    #[test]
    fn rfc9110_14_4_content_range_is_read_and_written() {
        for text in ["bytes 42-1233/1234", "bytes 42-1233/*", "bytes */1234", "bytes 0-0/1"] {
            let read = ContentRange::parse(text.as_bytes()).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(read.to_string(), text);
        }
        for bad in ["", "bytes", "bytes 1-0/5", "bytes 0-5/5", "bytes */*", "bytes 0-1", "lines 0-1/2", "bytes=0-1/2"] {
            assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn rfc9110_14_6_a_multipart_body_is_framed_exactly() {
        let content = b"0123456789";
        let content_type = b"text/plain";
        let multipart = Multipart::new(&[range(0, 1), range(8, 9)], 10, Some(content_type), "SEP").unwrap();
        let mut body = Vec::new();
        for (head, part) in multipart.parts() {
            body.extend_from_slice(head);
            body.extend_from_slice(&content[part.first() as usize..=part.last() as usize]);
        }
        body.extend_from_slice(multipart.end());
        assert_eq!(
            String::from_utf8(body.clone()).unwrap(),
            "\r\n--SEP\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--SEP\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--SEP--\r\n"
        );
        assert_eq!(multipart.content_length_bytes(), body.len() as u64);
        assert_eq!(multipart_type("SEP"), "multipart/byteranges; boundary=SEP");
    }

    #[test]
    fn a_frame_that_costs_more_than_a_kibibyte_is_not_built() {
        let long = "x".repeat(2000).into_bytes();
        assert_eq!(Multipart::new(&[range(0, 1), range(8, 9)], 10, Some(&long), "SEP"), None);
        for boundary in ["", "a\r\nb", "a b", "\u{e4}", &"x".repeat(71)] {
            assert_eq!(Multipart::new(&[range(0, 1)], 10, None, boundary), None, "{boundary}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_answered_within_bounds(value in "(bytes=)?[0-9, -]{0,60}", complete in 0u64..200) {
            let parts = match selected(&[&value], complete) {
                Selection::Whole | Selection::Unsatisfiable => vec![],
                Selection::Single(one) => vec![one],
                Selection::Several(parts) => parts,
            };
            prop_assert!(parts.len() <= PARTS_MAX);
            prop_assert!(parts.iter().all(|part| part.first() <= part.last() && part.last() < complete));
            prop_assert!(parts.iter().map(ByteRange::bytes).sum::<u64>() <= complete);
            if let Some(framed) = Multipart::new(&parts, complete, None, "boundary") {
                prop_assert!(framed.content_length_bytes() <= complete + OVERHEAD_BYTES_MAX);
            }
        }

        #[test]
        fn merged_ranges_hold_the_same_bytes(ends in proptest::collection::vec((0u64..40, 0u64..10), 0..12)) {
            let ranges: Vec<_> = ends.iter().map(|(first, more)| range(*first, first + more)).collect();
            let merged = merge(ranges.clone());
            for position in 0..60 {
                let inside = |all: &[ByteRange]| all.iter().filter(|r| (r.first..=r.last).contains(&position)).count();
                prop_assert_eq!(inside(&ranges) > 0, inside(&merged) == 1);
                prop_assert!(inside(&merged) <= 1);
            }
        }
    }
}
