//! Caches recently verified cookies, because a client sends the same one with every request.

use std::time::Duration;

use super::{Salt, Signer, VALUE_BYTES_MAX, is_current};

/// The most cached cookies.
const COOKIES_MAX: usize = 512;

/// The recently verified cookies of one split, with the resulting keys. Allocates with the first cookie.
#[derive(Debug)]
pub struct Verified {
    signer: Signer,
    salt: Salt,
    /// A direct-mapped cache: the bytes of a cookie determine its place, where it replaces another one.
    cookies: Vec<Option<Cookie>>,
}

#[derive(Clone, Debug)]
struct Cookie {
    value: Value,
    issued: Duration,
    key: u64,
}

/// A cookie's value, padded with zeros.
#[derive(Clone, Debug)]
struct Value {
    bytes: [u8; VALUE_BYTES_MAX],
    length: usize,
}

impl Verified {
    /// An empty cache. `salt` turns the number in a cookie into a client's key.
    #[must_use]
    pub const fn new(signer: Signer, salt: Salt) -> Self {
        Self { signer, salt, cookies: Vec::new() }
    }

    /// The key of the client with this cookie. `None` as for [`Signer::read`].
    pub fn key(&mut self, text: &[u8], wall: Duration, max_age: Duration) -> Option<u64> {
        let value = Value::new(text)?;
        let place = value.place();
        let known = self.cookies.get(place).and_then(Option::as_ref).filter(|cookie| cookie.value.is(&value));
        let (issued, key) = match known {
            Some(cookie) => (cookie.issued, cookie.key),
            None => {
                let (number, issued) = self.signer.verified(std::str::from_utf8(text).ok()?)?;
                let key = self.salt.key(&number.to_be_bytes());
                self.keep(place, Cookie { value, issued, key });
                (issued, key)
            }
        };
        is_current(issued, wall, max_age).then_some(key)
    }

    fn keep(&mut self, place: usize, cookie: Cookie) {
        if self.cookies.is_empty() {
            self.cookies.resize(COOKIES_MAX, None);
        }
        if let Some(kept) = self.cookies.get_mut(place) {
            *kept = Some(cookie);
        }
    }
}

impl Value {
    /// `None`: longer than any valid value.
    fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; VALUE_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: text.len() })
    }

    /// The place of a value: its last bytes are digits of the tag, which is as good as random.
    fn place(&self) -> usize {
        let last = self.bytes.get(..self.length).and_then(<[u8]>::last_chunk::<8>).copied().unwrap_or_default();
        let mixed = u64::from_le_bytes(last).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % COOKIES_MAX
    }

    /// Compared in constant time, because it contains a tag.
    fn is(&self, other: &Self) -> bool {
        let differences = self.bytes.iter().zip(&other.bytes).fold(0, |found, (one, other)| found | (one ^ other));
        differences == 0 && self.length == other.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn signer() -> Signer {
        Signer::new(b"a secret of the test")
    }

    fn salt() -> Salt {
        Salt::of(["users-v2", "legacy"])
    }

    fn key(verified: &mut Verified, text: &str, wall: Duration) -> Option<u64> {
        verified.key(text.as_bytes(), wall, DAY)
    }

    #[test]
    fn a_cookie_that_is_kept_says_the_same_as_one_that_is_read() {
        let mut verified = Verified::new(signer(), salt());
        for number in (0..2_000).chain(0..2_000) {
            let text = signer().issue(number, NOW);
            let expected = signer().read(&text, NOW, DAY).map(|number| salt().key(&number.to_be_bytes()));
            assert_eq!(key(&mut verified, &text, NOW), expected);
            assert_eq!(key(&mut verified, &text, NOW), expected);
        }
        assert!(verified.cookies.iter().flatten().count() > COOKIES_MAX / 2);
        assert_eq!(verified.cookies.len(), COOKIES_MAX);
    }

    #[test]
    fn a_cookie_that_is_kept_is_good_no_longer_than_others() {
        let (mut verified, text) = (Verified::new(signer(), salt()), signer().issue(7, NOW));
        assert!(key(&mut verified, &text, NOW).is_some());
        assert!(key(&mut verified, &text, NOW + DAY).is_some());
        assert_eq!(key(&mut verified, &text, NOW + DAY + Duration::from_nanos(1)), None);
        assert_eq!(key(&mut verified, &text, Duration::ZERO), None);
        assert!(key(&mut verified, &text, NOW).is_some());
    }

    #[test]
    fn what_is_like_a_cookie_that_is_kept_is_not_taken_for_it() {
        let (mut verified, text) = (Verified::new(signer(), salt()), signer().issue(7, NOW));
        assert!(key(&mut verified, &text, NOW).is_some());
        for place in 0..text.len() {
            for bit in 0..7 {
                let mut forged = text.clone().into_bytes();
                forged[place] ^= 1 << bit;
                let forged = String::from_utf8(forged).expect("ASCII");
                assert_eq!(key(&mut verified, &forged, NOW), None, "{forged:?}");
            }
        }
        let longer = [format!("{text}\0"), format!("\0{text}"), format!("{text} "), String::new()];
        for forged in longer {
            assert_eq!(key(&mut verified, &forged, NOW), None, "{forged:?}");
        }
        assert_eq!(verified.cookies.iter().flatten().count(), 1);
    }

    #[test]
    fn nothing_is_held_before_a_cookie_is_good() {
        let mut verified = Verified::new(signer(), salt());
        assert_eq!(key(&mut verified, "v1.7.7.7", NOW), None);
        assert_eq!(key(&mut verified, &"x".repeat(10_000), NOW), None);
        assert_eq!(verified.cookies.capacity(), 0);
    }
}
