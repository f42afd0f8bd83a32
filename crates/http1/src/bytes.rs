//! Classes of bytes, and the search for the end of text.

use message::is_token_byte;

/// May stand in a token.
pub(crate) const TOKEN: u8 = 1;
/// Ends a target: a blank, a control character or not ASCII.
pub(crate) const TARGET_END: u8 = 2;
/// `/`.
pub(crate) const SLASH: u8 = 4;
/// A dot.
pub(crate) const DOT: u8 = 8;
/// An escape, or what should be one: `%`, `#`, a backslash.
pub(crate) const ESCAPE: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let (mut rest, mut byte): (&mut [u8], u8) = (&mut table, 0);
    while let Some((entry, others)) = rest.split_first_mut() {
        *entry = if is_token_byte(byte) { TOKEN } else { 0 }
            | match byte {
                0..=0x20 | 0x7f.. => TARGET_END,
                b'/' => SLASH,
                b'.' => DOT,
                b'%' | b'#' | b'\\' => ESCAPE,
                _ => 0,
            };
        byte = byte.wrapping_add(1);
        rest = others;
    }
    table
}

/// The classes of a byte.
pub(crate) fn class(byte: u8) -> u8 {
    // Every byte lies in the table, so the compiler leaves the check out.
    CLASSES.get(usize::from(byte)).copied().unwrap_or(TARGET_END)
}

/// The offset of the first control character other than a tab from `at` on, or the length of the bytes.
pub(crate) fn skip_text(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    loop {
        // A block is compared at once, in vector registers where there are some.
        while let Some((block, others)) = rest.split_first_chunk::<16>() {
            if block.iter().fold(false, |found, byte| found | is_control(*byte)) {
                break;
            }
            rest = others;
        }
        rest = rest.get(find(rest, mark_controls, is_control)..).unwrap_or_default();
        match rest.split_first() {
            Some((b'\t', others)) => rest = others,
            _ => return bytes.len() - rest.len(),
        }
    }
}

/// The offset of the first colon, or the length of the bytes.
pub(crate) fn find_colon(bytes: &[u8]) -> usize {
    find(bytes, |word| mark(word, b':'), |byte| byte == b':')
}

/// Looks at eight bytes at a time: `mark` sets the high bit of those that count. A borrow in its arithmetic may mark a
/// byte behind the first that counts, never one before it.
fn find(bytes: &[u8], mark: impl Fn(u64) -> u64, counts: impl Fn(u8) -> bool) -> usize {
    let mut rest = bytes;
    while let Some((word, others)) = rest.split_first_chunk::<8>() {
        let marks = mark(u64::from_le_bytes(*word));
        if marks != 0 {
            let before = usize::try_from(marks.trailing_zeros() / 8).unwrap_or(0);
            return bytes.len() - rest.len() + before;
        }
        rest = others;
    }
    let before = rest.iter().position(|byte| counts(*byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + before
}

const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES * 0x80;

/// Marks the bytes of a word that are equal to one.
const fn mark(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * byte as u64);
    difference.wrapping_sub(ONES) & !difference & HIGH_BITS
}

/// Marks the control characters of a word.
const fn mark_controls(word: u64) -> u64 {
    let low = word.wrapping_sub(ONES * 0x20) & !word & HIGH_BITS;
    low | mark(word, 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_but_the_tab_ends_text_wherever_it_stands() {
        for byte in 0..=255_u8 {
            let ends = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
            for length in 1..40 {
                for place in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let expected = if ends { place } else { length };
                    assert_eq!(skip_text(&bytes, 0), expected, "{byte:#x} at {place} of {length}");
                    assert_eq!(skip_text(&bytes, place), expected);
                }
            }
        }
        assert_eq!(skip_text(b"abc", 7), 3);
    }

    #[test]
    fn the_first_colon_is_found_wherever_it_stands() {
        for length in 1..20 {
            for place in 0..length {
                for other in [b'a', b';', 0xba, b'9', 0] {
                    let mut bytes = vec![other; length];
                    assert_eq!(find_colon(&bytes), length);
                    bytes[place] = b':';
                    assert_eq!(find_colon(&bytes), place, "{other:#x} {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_classes_of_bytes_are_those_of_the_grammar() {
        for byte in 0..=255_u8 {
            assert_eq!(class(byte) & TOKEN != 0, is_token_byte(byte));
            assert_eq!(class(byte) & TARGET_END != 0, !byte.is_ascii_graphic());
            assert_eq!(class(byte) & ESCAPE != 0, b"%#\\".contains(&byte));
        }
        assert_eq!([b'/', b'.'].map(class), [SLASH, DOT | TOKEN]);
    }
}
