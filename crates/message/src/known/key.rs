//! Names of at most sixteen bytes as two words, and the table in which their tags are found by them.

use super::{Known, NAMES, ONES};

/// The longest name that has a [`Key`]. Few names that are known are longer.
pub(super) const NAME_BYTES: usize = 16;

/// A name of at most 16 bytes in lower case, with NUL behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    first: u64,
    rest: u64,
    length: usize,
}

impl Key {
    #[inline]
    pub(super) const fn of(name: &[u8]) -> Option<Self> {
        // Where the first and the last bytes overlap they are the same.
        let (first, rest) = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let beyond = (NAME_BYTES as u32).checked_sub(name.len() as u32);
            let Some(beyond) = beyond else { return None };
            let rest = u64::from_le_bytes(*last).checked_shr(beyond * u8::BITS);
            (u64::from_le_bytes(*first), if let Some(rest) = rest { rest } else { 0 })
        } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let last = (u32::from_le_bytes(*last) as u64) << ((name.len() - 4) as u32 * u8::BITS);
            (u32::from_le_bytes(*first) as u64 | last, 0)
        } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let last = (u16::from_le_bytes(*last) as u64) << ((name.len() - 2) as u32 * u8::BITS);
            (u16::from_le_bytes(*first) as u64 | last, 0)
        } else if let [byte] = name {
            (*byte as u64, 0)
        } else {
            (0, 0)
        };
        Some(Self { first: lower(first), rest: lower(rest), length: name.len() })
    }

    #[inline]
    pub(super) const fn in_front(bytes: &[u8; NAME_BYTES], length: usize) -> Option<Self> {
        let (Some(first), Some(rest)) = (bytes.first_chunk(), bytes.last_chunk()) else { return None };
        let Some(kept) = at(&KEPT, length) else { return None };
        let (first, rest) = (lower(u64::from_le_bytes(*first)), lower(u64::from_le_bytes(*rest)));
        Some(Self { first: first & kept.first, rest: rest & kept.rest, length })
    }

    /// The place in [`SLOTS`].
    #[inline]
    const fn slot(self, multiplier: u64) -> usize {
        ((self.first ^ self.rest.rotate_left(32)).wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
    }

    #[inline]
    pub(super) fn known(self) -> Known {
        match SLOTS.get(self.slot(MULTIPLIER)) {
            Some(slot) if slot.key == self => slot.known,
            _ => Known::Other,
        }
    }
}

/// Makes the letters of a word lower-case. Bytes below 0x40 stay, so that no control character becomes a hyphen.
const fn lower(word: u64) -> u64 {
    word | (word & (ONES * 0x40)) >> 1
}

/// The item of a slice at this index.
const fn at<T>(items: &[T], index: usize) -> Option<&T> {
    match items.split_at_checked(index) {
        Some((_, [item, ..])) => Some(item),
        _ => None,
    }
}

/// The bits of a key that are a name's own.
#[derive(Clone, Copy)]
struct Kept {
    first: u64,
    rest: u64,
}

/// The same for each length of a name.
static KEPT: [Kept; NAME_BYTES + 1] = {
    let mut kept = [Kept { first: 0, rest: 0 }; NAME_BYTES + 1];
    let (mut left, mut bits): (&mut [Kept], u32) = (&mut kept, 0);
    while let Some((key, others)) = left.split_first_mut() {
        let ones = match 1_u128.checked_shl(bits) {
            Some(next) => next - 1,
            None => u128::MAX,
        };
        *key = Kept { first: ones as u64, rest: (ones >> u64::BITS) as u64 };
        (left, bits) = (others, bits + u8::BITS);
    }
    kept
};

/// A name that has a tag for itself alone, and a key.
#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    known: Known,
}

/// For each value that [`Key::slot`] can have, the only name that can be it.
static SLOTS: [Slot; 1 << SLOT_BITS] = slots(MULTIPLIER).0;

const SLOT_BITS: u32 = 8;

/// Gives all names slots of their own. Found by trying.
const MULTIPLIER: u64 = {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
    while !slots(multiplier).1 {
        multiplier = multiplier.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
    }
    multiplier
};

/// The key of the empty name, for slots that are free.
const NOTHING: Key = Key { first: 0, rest: 0, length: 0 };

/// The slots with this multiplier, and whether no two names share one.
const fn slots(multiplier: u64) -> ([Slot; 1 << SLOT_BITS], bool) {
    let mut slots = [Slot { key: NOTHING, known: Known::Other }; 1 << SLOT_BITS];
    let (mut names, mut are_apart) = (NAMES, true);
    while let [(known, name), others @ ..] = names {
        if let Some(key) = Key::of(name.as_bytes())
            && let Some((_, rest)) = slots.split_at_mut_checked(key.slot(multiplier))
            && let Some((slot, _)) = rest.split_first_mut()
        {
            are_apart &= matches!(slot.known, Known::Other);
            *slot = Slot { key, known: *known };
        }
        names = others;
    }
    (slots, are_apart)
}
