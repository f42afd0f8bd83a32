//! The rules as they were, on a map of names in lower case.

use http::HeaderMap;
use http::HeaderValue;
use http::header::{ETAG, GetAll};
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Strong,
    Weak,
}

impl<'a> EntityTag<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::read(bytes.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }
    pub(crate) fn of(response: &'a HeaderMap) -> Option<Self> {
        let mut lines = response.get_all(ETAG).into_iter();
        let tag = Self::parse(lines.next()?.as_bytes())?;
        lines.next().is_none().then_some(tag)
    }
    pub(crate) const fn is_weak(&self) -> bool {
        self.weak
    }
    pub(crate) fn matches(&self, other: &EntityTag<'_>, comparison: Comparison) -> bool {
        let fits = match comparison {
            Comparison::Strong => !self.weak && !other.weak,
            Comparison::Weak => true,
        };
        fits && self.opaque == other.opaque
    }
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = bytes.strip_prefix(b"W/").map_or((false, bytes), |quoted| (true, quoted));
        let inner = quoted.strip_prefix(b"\"")?;
        let (opaque, rest) = inner.split_at_checked(inner.iter().position(|byte| *byte == b'"')?)?;
        let rest = rest.strip_prefix(b"\"")?;
        opaque.iter().all(|byte| is_tag_byte(*byte)).then_some((Self { weak, opaque }, rest))
    }
}
pub(crate) fn named(lines: &GetAll<'_, HeaderValue>, tag: Option<&EntityTag<'_>>, comparison: Comparison) -> bool {
    let mut iter = lines.iter();
    if iter.next().is_some_and(|line| line.as_bytes().trim_ascii() == b"*") && iter.next().is_none() {
        return true;
    }
    let Some(tag) = tag else { return false };
    lines.iter().flat_map(|line| Tags { rest: line.as_bytes() }).any(|named| named.matches(tag, comparison))
}
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.is_empty() {
                return None;
            }
            let read = EntityTag::read(self.rest);
            let after = read.map_or(self.rest, |(_, after)| after).trim_ascii_start();
            let ends_here = after.first().is_none_or(|byte| *byte == b',');
            self.rest = after_comma(after);
            if let (Some((tag, _)), true) = (read, ends_here) {
                return Some(tag);
            }
        }
    }
}
fn after_comma(bytes: &[u8]) -> &[u8] {
    let comma = bytes.iter().position(|byte| *byte == b',').unwrap_or(bytes.len());
    bytes.get(comma.saturating_add(1)..).unwrap_or_default()
}
const fn is_tag_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}
