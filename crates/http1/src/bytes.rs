//! The search for the end of names, values and targets, sixteen bytes at a time.

use message::is_token_byte;
use wide::u8x16;

static TOKEN: [bool; 256] = token_bytes();

const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let (mut rest, mut byte): (&mut [bool], u8) = (&mut table, 0);
    while let Some((entry, others)) = rest.split_first_mut() {
        *entry = is_token_byte(byte);
        byte = byte.wrapping_add(1);
        rest = others;
    }
    table
}

/// Whether a byte may stand in a token.
pub(crate) fn is_token(byte: u8) -> bool {
    // Every byte lies in the table, so the compiler leaves the check out.
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The offset of the first control character other than a tab from `at` on, or the length of the bytes.
#[inline]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> usize {
    find(bytes, at, |block| (block.up_to(0x1f) & !block.equal(b'\t')) | block.equal(0x7f))
}

/// The offset of the first colon of a block.
#[inline]
pub(crate) fn first_colon(block: &[u8; Block::BYTES]) -> Option<usize> {
    let found = Block::of(block).equal(b':').to_bitmask();
    (found != 0).then(|| offset(found))
}

/// The bytes from the first control character on. `None`: there is none, or fewer bytes than a block.
#[inline]
pub(crate) fn from_control(bytes: &[u8]) -> Option<&[u8]> {
    let controls = |block| {
        let block = Block::of(block);
        (block.up_to(0x1f) | block.equal(0x7f)).to_bitmask()
    };
    let mut rest = bytes;
    while let Some((block, others)) = rest.split_first_chunk() {
        let found = controls(block);
        if found != 0 {
            return rest.get(offset(found)..);
        }
        rest = others;
    }
    // The last block again, without what was searched already.
    let found = controls(bytes.last_chunk()?) >> (Block::BYTES - rest.len());
    if found == 0 { None } else { rest.get(offset(found)..) }
}

/// The offset of the first byte of a block that is no letter, digit or hyphen; past its end if there is none.
#[inline]
pub(crate) fn first_unplain(block: &[u8; Block::BYTES]) -> usize {
    offset(Block::of(block).unplain().to_bitmask())
}

/// The offset of the first byte from `at` on that is no letter, digit or hyphen, or the length of the bytes.
#[inline]
pub(crate) fn plain_end(bytes: &[u8], at: usize) -> usize {
    find(bytes, at, Block::unplain)
}

/// The offset of the first byte from `at` on that is not printable ASCII or is a blank, or the length of the bytes.
#[inline]
pub(crate) fn graphic_end(bytes: &[u8], at: usize) -> usize {
    find(bytes, at, |block| !block.between(b'!', b'~'))
}

/// The offset of the first byte from `at` on that stops the search, or the length of the bytes.
#[inline]
fn find(bytes: &[u8], at: usize, stops: impl Fn(Block) -> u8x16) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((block, others)) = rest.split_first_chunk() {
        let found = stops(Block::of(block)).to_bitmask();
        if found != 0 {
            return bytes.len() - rest.len() + offset(found);
        }
        rest = others;
    }
    let found = match bytes.last_chunk() {
        // The last block again, without what was searched already.
        Some(last) => stops(Block::of(last)).to_bitmask() >> (Block::BYTES - rest.len()),
        None => stops(Block::of(&padded(rest))).to_bitmask(),
    };
    bytes.len() - rest.len() + offset(found).min(rest.len())
}

/// The place of the first bit that is set.
pub(crate) fn offset(bits: u32) -> usize {
    usize::try_from(bits.trailing_zeros()).unwrap_or(usize::MAX)
}

/// Sixteen bytes, compared at once.
#[derive(Clone, Copy)]
pub(crate) struct Block(u8x16);

impl Block {
    pub(crate) const BYTES: usize = 16;

    /// The bytes from an offset on, with NUL in place of those that are missing.
    #[inline]
    pub(crate) fn at(bytes: &[u8], at: usize) -> Self {
        let rest = bytes.get(at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(block) => Self::of(block),
            None => Self::of(&padded(rest)),
        }
    }

    #[inline]
    fn of(bytes: &[u8; Self::BYTES]) -> Self {
        Self(u8x16::new(*bytes))
    }

    #[inline]
    fn equal(self, byte: u8) -> u8x16 {
        self.0.simd_eq(u8x16::splat(byte))
    }

    #[inline]
    fn up_to(self, byte: u8) -> u8x16 {
        self.0.min(u8x16::splat(byte)).simd_eq(self.0)
    }

    #[inline]
    fn between(self, first: u8, last: u8) -> u8x16 {
        Self(self.0 - u8x16::splat(first)).up_to(last - first)
    }

    /// What is no letter, digit or hyphen.
    #[inline]
    fn unplain(self) -> u8x16 {
        let letters = Self(self.0 | u8x16::splat(0x20)).between(b'a', b'z');
        !(letters | self.between(b'0', b'9') | self.equal(b'-'))
    }

    /// One bit for each byte that is equal to one of these, the lowest for the first byte.
    #[inline]
    pub(crate) fn bits<const N: usize>(self, bytes: [u8; N]) -> u32 {
        bytes.iter().fold(u8x16::splat(0), |found, byte| found | self.equal(*byte)).to_bitmask()
    }
}

/// Fewer bytes than a block has, with NUL behind them.
#[cold]
fn padded(bytes: &[u8]) -> [u8; Block::BYTES] {
    let mut block = [0; Block::BYTES];
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a search for each byte at each place of texts of each length, and from each offset.
    fn check(search: impl Fn(&[u8], usize) -> usize, stops: impl Fn(u8) -> bool) {
        for byte in 0..=255_u8 {
            for length in 1..40 {
                for place in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let expected = if stops(byte) { place } else { length };
                    assert_eq!(search(&bytes, 0), expected, "{byte:#x} at {place} of {length}");
                    assert_eq!(search(&bytes, place), expected, "{byte:#x} from {place} of {length}");
                    assert_eq!(search(&bytes, place + 1), length, "{byte:#x} behind {place} of {length}");
                }
            }
        }
        assert_eq!(search(b"abc", 3), 3);
        assert_eq!(search(b"", 0), 0);
    }

    #[test]
    fn every_control_character_but_the_tab_ends_text_wherever_it_stands() {
        check(text_end, |byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f);
    }

    #[test]
    fn letters_digits_and_hyphens_are_plain() {
        check(plain_end, |byte| !byte.is_ascii_alphanumeric() && byte != b'-');
    }

    #[test]
    fn printable_ascii_without_the_blank_is_graphic() {
        check(graphic_end, |byte| !byte.is_ascii_graphic());
    }

    #[test]
    fn tokens_are_those_of_the_grammar() {
        for byte in 0..=255_u8 {
            assert_eq!(is_token(byte), is_token_byte(byte));
        }
    }

    #[test]
    fn a_block_says_where_bytes_are() {
        assert_eq!(Block::at(b"xa/b//", 1).bits([b'/']), 0b1_1010);
        assert_eq!(Block::at(b"0123456789abcdef0", 0).bits([b'0', b'f', 0]), 0x8001);
        assert_eq!(Block::at(b"ab", 2).bits([0]), 0xffff);
        assert_eq!(Block::at(b"ab", 7).bits([0]), 0xffff);
        assert_eq!(Block::at(b"0123456789abcdefg", 17).bits([0]), 0xffff);
    }
}
