//! Identifies clients for sticky splits: a key from the address, from a field, or from a signed cookie.
//!
//! [`super::split::Shares::keep`] maps a key to a side. The caller decides which of the three a route uses, and the
//! attributes of `Set-Cookie`.

mod verified;

use std::net::IpAddr;
use std::time::Duration;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub use self::verified::Verified;

/// The largest tolerated clock difference of another proxy that has signed a cookie.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// The prefix of a cookie's value. Cookies with another version are replaced like forged ones.
const VERSION: &str = "v1";

/// The longest cookie value in bytes: version, two numbers of 64 bits, tag, and the dots between.
const VALUE_BYTES_MAX: usize = VERSION.len() + 16 + 16 + TAG_DIGITS + 3;

/// Hexadecimal digits of a tag: 128 bits.
const TAG_DIGITS: usize = 32;

/// The part of a client's key that depends on the split's upstreams.
///
/// Splits of the same upstreams treat a client alike, in whatever order they name them; other splits are independent,
/// so that it is not always the same clients that get the new version first. Identical on all machines and in all
/// versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(u64);

impl Salt {
    /// From the names of the split's upstreams.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        let mut hash = md5::Context::new();
        for name in names {
            // The length prefix separates the names.
            hash.consume((name.len() as u64).to_be_bytes());
            hash.consume(name);
        }
        Self(first_half(hash))
    }

    /// The key of a client identified by bytes: a field's value, or a cookie's content.
    ///
    /// Not a secret, and no defence against a client that searches for a value that selects a side.
    #[must_use]
    pub fn key(self, bytes: &[u8]) -> u64 {
        let mut hash = md5::Context::new();
        hash.consume(self.0.to_be_bytes());
        hash.consume(bytes);
        first_half(hash)
    }

    /// The key of a client identified by address: all 4 bytes of an IPv4 address, also of an IPv4-mapped one (RFC 4291
    /// §2.5.5.2); the first 8 of an IPv6 address, because a subscriber has at least a /64 (RFC 6177 §2).
    #[must_use]
    pub fn address_key(self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(address) => self.key(&address.octets()),
            IpAddr::V6(address) => self.key(&((address.to_bits() >> 64) as u64).to_be_bytes()),
        }
    }
}

/// The first half of an MD5, which spreads short, similar texts well.
fn first_half(hash: md5::Context) -> u64 {
    (u128::from_be_bytes(hash.finalize().0) >> 64) as u64
}

/// Signs and verifies the cookie that identifies a client.
///
/// The value is `v1.KEY.ISSUED.TAG`: the client's number, the time of issue in seconds since 1970, and an HMAC-SHA-256
/// over the text before it, truncated to 128 bits (RFC 2104 §5); all in lower-case hexadecimal digits. A client can
/// keep or discard a value, but not forge one, so it cannot try numbers until it gets the side that it wants.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// With a secret of any length; its entropy limits the strength of the signature.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // Hashing makes it independent of the length, and domain-separates it from other uses of the secret.
        let hashed = Sha256::new().chain_update("forebay side v1:").chain_update(secret).finalize();
        let mut key = Key::<Hmac<Sha256>>::default();
        key.iter_mut().zip(hashed).for_each(|(to, from)| *to = from);
        Self(Hmac::new(&key))
    }

    /// The cookie's value for a client's number. `wall`: time since 1970.
    #[must_use]
    pub fn issue(&self, number: u64, wall: Duration) -> String {
        let signed = format!("{VERSION}.{number:016x}.{:x}", wall.as_secs());
        let hash = self.over(&signed).finalize().into_bytes();
        let tag = hash.into_iter().take(TAG_DIGITS / 2).fold(0, |tag: u128, byte| tag << 8 | u128::from(byte));
        format!("{signed}.{tag:0TAG_DIGITS$x}")
    }

    /// The number in a cookie's value. `None`: the signature is invalid, or the cookie is older than `max_age` or
    /// issued more than five minutes in the future. `wall`: time since 1970.
    #[must_use]
    pub fn read(&self, value: &str, wall: Duration, max_age: Duration) -> Option<u64> {
        self.verified(value).filter(|(_, issued)| is_current(*issued, wall, max_age)).map(|(number, _)| number)
    }

    /// The number in a cookie's value and its time of issue, if the signature is valid.
    fn verified(&self, value: &str) -> Option<(u64, Duration)> {
        if value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let (signed, tag) = value.rsplit_once('.')?;
        // Compared in constant time. An accepted value is exactly what `issue` writes.
        self.over(signed).verify_truncated_left(&tag_of(tag)?.to_be_bytes()).ok()?;
        let (number, issued) = signed.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let issued = Duration::from_secs(u64::from_str_radix(issued, 16).ok()?);
        Some((u64::from_str_radix(number, 16).ok()?, issued))
    }

    fn over(&self, signed: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(signed)
    }
}

impl std::fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Whether a cookie issued then is valid now.
fn is_current(issued: Duration, wall: Duration, max_age: Duration) -> bool {
    wall <= issued.saturating_add(max_age) && issued <= wall.saturating_add(AHEAD_MAX)
}

/// A tag from its digits, in the only form that `issue` writes.
fn tag_of(digits: &str) -> Option<u128> {
    let is_ours = digits.len() == TAG_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_ours { u128::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::split::{Order, Share, Shares};
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn signer() -> Signer {
        Signer::new(b"a secret of the test")
    }

    fn salt() -> Salt {
        Salt::of(["users-v2", "legacy"])
    }

    fn key_of(address: &str) -> u64 {
        salt().address_key(address.parse().expect("an address"))
    }

    #[test]
    fn a_salt_knows_the_names_and_not_their_order() {
        assert_eq!(salt(), Salt::of(["legacy", "users-v2"]));
        for others in [vec!["legacy"], vec!["legacy", "users-v3"], vec!["legacy", "users-v2", "x"], vec![]] {
            assert_ne!(salt(), Salt::of(others));
        }
    }

    #[test]
    fn names_do_not_run_into_each_other() {
        assert_ne!(Salt::of(["ab", "c"]), Salt::of(["a", "bc"]));
        assert_ne!(Salt::of(["ab"]), Salt::of(["a", "b"]));
    }

    /// Another version must not move clients to another side.
    #[test]
    fn keys_are_what_they_have_always_been() {
        assert_eq!(salt().key(b"alice"), 0x6aeb_1879_e39f_8419);
        assert_eq!(key_of("192.0.2.1"), 0x0ce2_f649_2db9_cdcb);
        assert_eq!(key_of("2001:db8:1:2::3"), 0xe85f_cb8f_74db_a7ce);
        assert_eq!(signer().issue(7, NOW), "v1.0000000000000007.6ab13b80.1c288ee032236f9427e7adf88eb35d65");
    }

    #[test]
    fn a_client_is_known_by_its_address() {
        assert_ne!(key_of("192.0.2.1"), key_of("192.0.2.2"));
        assert_eq!(key_of("192.0.2.1"), key_of("::ffff:192.0.2.1"));
        assert_eq!(key_of("192.0.2.1"), salt().key(&[192, 0, 2, 1]));
    }

    #[test]
    fn of_ipv6_the_first_64_bits_count() {
        assert_eq!(key_of("2001:db8:1:2::3"), key_of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key_of("2001:db8:1:2::3"), key_of("2001:db8:1:3::3"));
        assert_eq!(key_of("2001:db8:1:2::3"), salt().key(&[0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]));
    }

    #[test]
    fn different_splits_begin_with_different_clients() {
        let shares = Shares::new([10.0, 90.0].map(|percent| Share::from_percent(percent).expect("a share")).into());
        let shares = shares.expect("the whole");
        let (one, other) = (["a", "b"], ["a", "c"]);
        let is_first = |names: [&str; 2], client: u64| {
            shares.keep(Salt::of(names).key(&client.to_be_bytes()), &Order::of(names)) == 0
        };
        let both = (0..10_000).filter(|client| is_first(one, *client) && is_first(other, *client)).count();
        crate::balance::scripted::assert_binomial(both as u64, 10_000, 0.01);
    }

    #[test]
    fn a_value_is_as_documented() {
        let value = signer().issue(0xab, NOW);
        let parts: Vec<&str> = value.split('.').collect();
        assert_eq!(parts[..3], ["v1", "00000000000000ab", "6ab13b80"]);
        assert_eq!(parts[3].len(), TAG_DIGITS);
        assert!(signer().issue(u64::MAX, Duration::MAX).len() <= VALUE_BYTES_MAX);
    }

    #[test]
    fn the_tag_is_an_hmac_over_the_text_before_it() {
        let hashed = Sha256::digest(b"forebay side v1:a secret of the test");
        let mut block = [0x36_u8; 64];
        block.iter_mut().zip(hashed).for_each(|(to, from)| *to ^= from);
        let inner = Sha256::new().chain_update(block).chain_update("v1.00000000000000ab.6ab13b80").finalize();
        let block = block.map(|byte| byte ^ 0x36 ^ 0x5c);
        let outer = Sha256::new().chain_update(block).chain_update(inner).finalize();
        let tag: String = outer.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signer().issue(0xab, NOW), format!("v1.00000000000000ab.6ab13b80.{tag}"));
    }

    #[test]
    fn a_cookie_is_good_until_its_age_is_over() {
        let value = signer().issue(7, NOW);
        for (wall, expected) in [
            (NOW, Some(7)),
            (NOW + DAY, Some(7)),
            (NOW + DAY + Duration::from_nanos(1), None),
            (NOW - AHEAD_MAX, Some(7)),
            (NOW - AHEAD_MAX - Duration::from_nanos(1), None),
            (Duration::ZERO, None),
            (Duration::MAX, None),
        ] {
            assert_eq!(signer().read(&value, wall, DAY), expected, "{wall:?}");
        }
    }

    #[test]
    fn extremes_of_time_do_no_harm() {
        let value = signer().issue(7, Duration::MAX);
        assert_eq!(signer().read(&value, Duration::MAX, Duration::MAX), Some(7));
        assert_eq!(signer().read(&value, NOW, Duration::MAX), None);
        assert_eq!(signer().read(&signer().issue(7, NOW), NOW, Duration::ZERO), Some(7));
    }

    #[test]
    fn another_version_is_refused_even_if_signed() {
        for signed in ["v2.0000000000000007.6ab13b80", "v1.7", "v1", "", "v1.x.6ab13b80", "v1.7.", "v1.7.6ab13b80.1"] {
            let hash = signer().over(signed).finalize().into_bytes();
            let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(signer().read(&format!("{signed}.{tag}"), NOW, DAY), None, "{signed}");
        }
    }

    #[test]
    fn a_cookie_of_another_secret_is_refused() {
        let value = signer().issue(7, NOW);
        for secret in [&b""[..], b"a secret of the tesu", b"a secret of the test\0", &[b'a'; 1000]] {
            assert_eq!(Signer::new(secret).read(&value, NOW, DAY), None);
            let own = Signer::new(secret);
            assert_eq!(own.read(&own.issue(7, NOW), NOW, DAY), Some(7));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", signer()), "Signer { .. }");
    }

    #[test]
    fn capitals_and_signs_are_not_our_hand() {
        let value = signer().issue(0xab, NOW);
        assert_eq!(signer().read(&value.to_ascii_uppercase(), NOW, DAY), None);
        let (signed, tag) = value.rsplit_once('.').expect("points");
        assert_eq!(signer().read(&format!("{signed}.{}", tag.to_ascii_uppercase()), NOW, DAY), None);
        assert_eq!(signer().read(&format!("{signed}.+{}", tag.get(1..).expect("a tag")), NOW, DAY), None);
        assert_eq!(signer().read(&format!(" {value}"), NOW, DAY), None);
        assert_eq!(signer().read(&format!("{value} "), NOW, DAY), None);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let value = signer().issue(0x0123_4567_89ab_cdef, NOW).into_bytes();
        for place in 0..value.len() {
            for bit in 0..8 {
                let mut forged = value.clone();
                forged[place] ^= 1 << bit;
                if let Ok(forged) = String::from_utf8(forged) {
                    assert_eq!(signer().read(&forged, NOW, DAY), None, "{forged}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_issued_is_read(number: u64, secret: Vec<u8>, wall in 0..1_u64 << 40) {
            let (signer, wall) = (Signer::new(&secret), Duration::from_secs(wall));
            prop_assert_eq!(signer.read(&signer.issue(number, wall), wall, DAY), Some(number));
        }

        #[test]
        fn a_changed_letter_is_seen(number: u64, place: prop::sample::Index, letter: char) {
            let mut letters: Vec<char> = signer().issue(number, NOW).chars().collect();
            let place = place.index(letters.len());
            prop_assume!(letters[place] != letter);
            letters[place] = letter;
            prop_assert_eq!(signer().read(&String::from_iter(letters), NOW, DAY), None);
        }

        #[test]
        fn a_letter_more_or_less_is_seen(number: u64, place: prop::sample::Index, letter: char) {
            let value: Vec<char> = signer().issue(number, NOW).chars().collect();
            let place = place.index(value.len());
            let (mut more, mut less) = (value.clone(), value);
            more.insert(place, letter);
            less.remove(place);
            prop_assert_eq!(signer().read(&String::from_iter(more), NOW, DAY), None);
            prop_assert_eq!(signer().read(&String::from_iter(less), NOW, DAY), None);
        }

        #[test]
        fn nothing_else_passes(value in any::<String>(), wall: u64, max_age: u64) {
            let wall = Duration::from_secs(wall);
            prop_assert_eq!(signer().read(&value, wall, Duration::from_secs(max_age)), None);
        }

        #[test]
        fn nothing_alike_passes(value in "v1\\.[0-9a-f]{0,17}\\.[0-9a-f]{0,17}\\.[0-9a-f]{31,33}", wall: u64) {
            prop_assert_eq!(signer().read(&value, Duration::from_secs(wall), Duration::MAX), None);
        }

        #[test]
        fn any_bytes_make_a_key(bytes: Vec<u8>, names: Vec<String>) {
            let salt = Salt::of(names.iter().map(String::as_str));
            prop_assert_eq!(salt.key(&bytes), salt.key(&bytes));
        }
    }
}
