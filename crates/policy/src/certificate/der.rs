//! Reads a sequence of DER values (X.690 §8, §10): single-byte tags, definite lengths.

/// A DER value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The tag byte, which includes the class.
    pub tag: u8,
    /// The content.
    pub content: &'a [u8],
}

/// Reads a sequence of values.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the content of a constructed value.
    #[must_use]
    pub const fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// Whether all values have been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value; `None` at the end, or if the bytes are malformed.
    pub fn next_value(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.0.split_first()?;
        // Certificates contain no tags of more than one byte.
        let is_long = tag & 0x1F == 0x1F;
        let (first, rest) = rest.split_first().filter(|_| !is_long)?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Value { tag: *tag, content })
    }

    /// The content of the next value; `None` unless it has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next_value().filter(|value| value.tag == tag).map(|value| value.content)
    }

    /// The content of the next value if it has this tag; otherwise the reader does not advance.
    pub fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.expect(tag)?;
        *self = ahead;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_with_short_and_long_lengths() {
        let mut bytes = vec![0x02, 0x01, 0x05, 0x04, 0x81, 0x80];
        bytes.extend([7; 128]);
        bytes.extend([0x05, 0x00]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.optional(0x04), None);
        assert_eq!(reader.expect(0x02), Some(&[5][..]));
        assert_eq!(reader.optional(0x04), Some(&[7; 128][..]));
        assert_eq!(reader.next_value(), Some(Value { tag: 5, content: &[] }));
        assert!(reader.is_empty() && reader.next_value().is_none());
    }

    #[test]
    fn lengths_that_are_indefinite_or_beyond_the_end_are_malformed() {
        for bytes in [&[0x30, 0x80, 0, 0][..], &[0x04, 3, 1, 2], &[0x04, 0x84, 255, 255, 255, 255], &[0x1F, 1, 1], &[4]]
        {
            assert_eq!(Reader::new(bytes).next_value(), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let count = std::iter::from_fn(|| reader.next_value()).count();
            prop_assert!(count <= bytes.len());
        }
    }
}
