//! The hash keys of requests: 64 bits from a client's address or from any bytes of the request.
//!
//! Identical on all machines and in all versions, so that several proxies in a row agree. Not a secret, and no defence
//! against chosen collisions.

use std::net::IpAddr;

use super::prng::splitmix64;

/// The key of a client's complete address. An IPv4-mapped IPv6 address counts as IPv4 (RFC 4291 §2.5.5.2).
#[must_use]
pub fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => splitmix64(u64::from(address.to_bits())),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            splitmix64(splitmix64((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// The key of any bytes: mixes in eight bytes at a time.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> u64 {
    // The length comes first, because the last word is padded with zeros.
    let mut key = splitmix64(bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        key = splitmix64(key ^ u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        key = splitmix64(key ^ last);
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::scripted::assert_binomial;
    use super::*;

    fn address(text: &str) -> u64 {
        of_address(text.parse().expect("an address"))
    }

    /// Keys of neighbouring inputs fall evenly into 64 parts, by their highest bits and by their lowest.
    fn check_spread(keys: impl Fn(u64) -> u64) {
        let (mut high, mut low) = ([0; 64], [0; 64]);
        for nth in 0..64_000 {
            let key = keys(nth);
            high[(key >> 58) as usize] += 1;
            low[(key & 63) as usize] += 1;
        }
        for count in high.into_iter().chain(low) {
            assert_binomial(count, 64_000, 1.0 / 64.0);
        }
    }

    #[test]
    fn keys_stay_what_they_are() {
        assert_eq!(address("192.0.2.17"), 0x95f2_f679_f21e_aef1);
        assert_eq!(address("2001:db8::17"), 0x6db8_83fb_b6a1_54cb);
        assert_eq!(of_bytes(b""), 0xe220_a839_7b1d_cdaf);
        assert_eq!(of_bytes(b"8f1c2b7e90aa41d3-x"), 0xac65_4393_091e_db2c);
    }

    #[test]
    fn a_mapped_address_has_the_key_of_the_ipv4_address() {
        assert_eq!(address("::ffff:192.0.2.17"), address("192.0.2.17"));
        assert_ne!(address("::192.0.2.17"), address("192.0.2.17"));
    }

    #[test]
    fn both_halves_of_an_ipv6_address_count() {
        let keys = ["2001:db8::1", "2001:db8::2", "2001:db9::1", "::2001:db8:0:1", "1:0:0:0:2001:db8::"].map(address);
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn bytes_of_each_length_have_keys_of_their_own_also_with_zeros_at_the_end() {
        let keys: HashSet<u64> = (0..100).map(|length| of_bytes(&vec![0; length])).collect();
        assert_eq!(keys.len(), 100);
        assert_ne!(of_bytes(b"ab"), of_bytes(b"ba"));
        assert_ne!(of_bytes(b"12345678abcdefgh"), of_bytes(b"abcdefgh12345678"));
    }

    #[test]
    fn keys_of_neighbours_spread_evenly() {
        check_spread(|nth| of_address(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + nth as u32))));
        check_spread(|nth| of_address(IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(nth) << 64 | 1))));
        check_spread(|nth| of_bytes(format!("user-{nth}").as_bytes()));
    }
}
