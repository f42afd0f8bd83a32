//! A range of bytes in a head, in 16-bit offsets: a head is shorter than 64 KiB.

use std::ops::Range;

/// Where some bytes lie in a head. It never ends before it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The span from `start` to before `end`; `None` if it ends before it starts or past 65,535.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Option<Self> {
        let bound = u16::try_from(end).ok()?;
        // Never past the bound, so the compiler leaves one check out.
        (start <= end).then(|| Self { start: u16::try_from(start).unwrap_or(bound), end: bound })
    }

    /// The span of a range that was found within 65,535 bytes, in ascending order.
    #[inline]
    pub(crate) const fn found(range: Range<usize>) -> Self {
        Self { start: range.start as u16, end: range.end as u16 }
    }

    /// The span so far behind, modulo 65,536.
    #[inline]
    pub(crate) const fn moved_by(self, by: u16) -> Self {
        Self { start: self.start.wrapping_add(by), end: self.end.wrapping_add(by) }
    }

    /// These bytes of `head`, the head that the span was made for; empty if `head` is shorter.
    #[must_use]
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.start()..self.end()).unwrap_or_default()
    }

    /// The offset of the first byte.
    #[must_use]
    pub fn start(self) -> usize {
        usize::from(self.start)
    }

    /// The offset behind the last byte.
    #[must_use]
    pub fn end(self) -> usize {
        usize::from(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_fits_into_16_bits_and_ends_behind_its_start() {
        assert_eq!(Span::new(2, 5).map(|span| span.of(b"abcdefg")), Some(&b"cde"[..]));
        assert_eq!(Span::new(3, 3).map(|span| span.of(b"abcdefg")), Some(&b""[..]));
        assert_eq!(Span::new(3, 2), None);
        assert_eq!(Span::new(0, 65_536), None);
        assert!(Span::new(0, 65_535).is_some());
    }

    #[test]
    fn a_span_of_another_head_is_empty() {
        assert_eq!(Span::new(2, 5).map(|span| span.of(b"abc")), Some(&b""[..]));
    }
}
