//! Selects the resolved addresses of a host name that become endpoints.
//!
//! Resolving the name, and what an endpoint is used for, are decided elsewhere.

use std::net::SocketAddr;

/// The most endpoints of one name.
pub const ADDRESSES_MAX: usize = 64;

/// The address family to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The IPv4 addresses if there are any, else the IPv6 addresses.
    #[default]
    Auto,
    /// IPv4 addresses only.
    V4,
    /// IPv6 addresses only.
    V6,
    /// All addresses.
    Both,
}

/// The addresses of a name that become endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Sorted and without duplicates, at most [`ADDRESSES_MAX`]. Sorted because the order in a DNS response carries no
    /// meaning and changes from one response to the next.
    pub addresses: Vec<SocketAddr>,
    /// The number of addresses beyond [`ADDRESSES_MAX`], which are not used.
    pub left_out: usize,
}

/// Selects among the addresses that a name resolves to.
///
/// An IPv4-mapped IPv6 address counts as the IPv4 address that it maps (RFC 4291 §2.5.5.2).
#[must_use]
pub fn choose(found: &[SocketAddr], family: Family) -> Chosen {
    let mut addresses: Vec<SocketAddr> = found.iter().copied().map(canonical).collect();
    match family {
        Family::Auto if addresses.iter().any(SocketAddr::is_ipv4) => addresses.retain(SocketAddr::is_ipv4),
        Family::Auto | Family::Both => {}
        Family::V4 => addresses.retain(SocketAddr::is_ipv4),
        Family::V6 => addresses.retain(SocketAddr::is_ipv6),
    }
    addresses.sort_unstable();
    addresses.dedup();
    let left_out = addresses.len().saturating_sub(ADDRESSES_MAX);
    addresses.truncate(ADDRESSES_MAX);
    Chosen { addresses, left_out }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip.is_ipv4() => SocketAddr::new(ip, address.port()),
        // Unchanged: an IPv6 address may carry a scope.
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(found: &[&str], family: Family) -> Vec<String> {
        let found: Vec<SocketAddr> = found.iter().map(|text| text.parse().expect("an address")).collect();
        choose(&found, family).addresses.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn auto_prefers_ipv4_and_falls_back_to_ipv6() {
        assert_eq!(chosen(&["[2001:db8::1]:80", "10.0.0.2:80"], Family::Auto), ["10.0.0.2:80"]);
        assert_eq!(chosen(&["[2001:db8::1]:80"], Family::Auto), ["[2001:db8::1]:80"]);
    }

    #[test]
    fn a_family_excludes_the_other() {
        let found = ["[2001:db8::1]:80", "10.0.0.2:80"];
        assert_eq!(chosen(&found, Family::V4), ["10.0.0.2:80"]);
        assert_eq!(chosen(&found, Family::V6), ["[2001:db8::1]:80"]);
        assert_eq!(chosen(&found, Family::Both), ["10.0.0.2:80", "[2001:db8::1]:80"]);
        assert!(chosen(&["10.0.0.2:80"], Family::V6).is_empty());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(chosen(&["[::ffff:10.0.0.1]:80", "10.0.0.1:80"], Family::Both), ["10.0.0.1:80"]);
        assert!(chosen(&["[::ffff:10.0.0.1]:80"], Family::V6).is_empty());
    }

    #[test]
    fn the_first_sixty_four_are_used() {
        let found: Vec<SocketAddr> = (0..100_u8).rev().map(|last| SocketAddr::from(([10, 0, 0, last], 80))).collect();
        let Chosen { addresses, left_out } = choose(&found, Family::Auto);
        assert_eq!((addresses.len(), left_out), (64, 36));
        assert_eq!(addresses.last(), Some(&SocketAddr::from(([10, 0, 0, 63], 80))));
    }

    proptest! {
        #[test]
        fn the_order_of_an_answer_and_repeats_change_nothing(
            mut found in prop::collection::vec((any::<bool>(), 0_u8..40), 0..90).prop_shuffle(),
        ) {
            let address = |&(six, last): &(bool, u8)| match six {
                true => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)], 80)),
                false => SocketAddr::from(([10, 0, 0, last], 80)),
            };
            let one: Vec<SocketAddr> = found.iter().map(address).collect();
            found.extend(found.clone().into_iter().rev());
            let two: Vec<SocketAddr> = found.iter().rev().map(address).collect();
            for family in [Family::Auto, Family::V4, Family::V6, Family::Both] {
                prop_assert_eq!(choose(&one, family), choose(&two, family));
            }
        }
    }
}
