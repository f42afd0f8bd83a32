//! IP networks in CIDR form, for lists of trusted addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP network: an address and a prefix length.
///
/// IPv4-mapped IPv6 addresses count as IPv4 addresses, here and in [`Network::contains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// The part before the slash is not an IP address.
    #[error("\"{0}\" is not an IP address; networks are written like 10.0.0.0/8 or fd00::/8")]
    Address(String),
    /// The part after the slash is not a valid prefix length.
    #[error("\"{given}\" is not a prefix length from 0 to {max}")]
    Bits {
        /// What was written.
        given: String,
        /// The address's length in bits.
        max: u8,
    },
    /// The address has bits set beyond the prefix length.
    #[error("{given} has bits set beyond the prefix length; did you mean {meant}?")]
    HostBits {
        /// What was written.
        given: String,
        /// The network that contains the address.
        meant: Network,
    },
}

impl Network {
    /// Whether the network holds this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(self.address) == width(address)
            && (value(self.address) ^ value(address)).checked_shr(self.shift()).unwrap_or(0) == 0
    }

    /// Whether it contains every address of its family.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.bits == 0
    }

    /// The number of host bits.
    fn shift(&self) -> u32 {
        u32::from(width(self.address).saturating_sub(self.bits))
    }

    /// The network with all host bits cleared.
    fn masked(self) -> Self {
        let shift = self.shift();
        let kept = value(self.address).checked_shr(shift).and_then(|v| v.checked_shl(shift)).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(kept).unwrap_or(0).into()),
            IpAddr::V6(_) => IpAddr::V6(kept.into()),
        };
        Self { address, bits: self.bits }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address_text, bits_text) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address_text.parse().map_err(|_| BadNetwork::Address(address_text.to_owned()))?;
        let max = width(address);
        let bits = match bits_text {
            None => max,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|bits| *bits <= max)
                .ok_or_else(|| BadNetwork::Bits { given: digits.to_owned(), max })?,
            Some(other) => return Err(BadNetwork::Bits { given: other.to_owned(), max }),
        };
        let written = Self { address, bits };
        let masked = written.masked();
        if masked != written {
            return Err(BadNetwork::HostBits { given: text.to_owned(), meant: masked });
        }
        Ok(match (address.to_canonical(), bits.checked_sub(96)) {
            (canonical @ IpAddr::V4(_), Some(bits)) if address.is_ipv6() => Self { address: canonical, bits },
            _ => written,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn value(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_own_addresses_only() {
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7"));
        assert!(!holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("::1", "::1"));
        assert!(holds("fd00::/8", "fdff::1"));
        assert!(!holds("fd00::/8", "fe80::1"));
    }

    #[test]
    fn the_network_of_all_addresses_keeps_to_its_family() {
        assert!(holds("0.0.0.0/0", "255.255.255.255"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(!holds("::/0", "127.0.0.1"));
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert_eq!("::ffff:10.0.0.0/104".parse::<Network>(), "10.0.0.0/8".parse());
    }

    #[test]
    fn set_host_bits_are_refused_with_the_network_that_was_meant() {
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert_eq!(error.to_string(), "10.1.2.3/8 has bits set beyond the prefix length; did you mean 10.0.0.0/8?");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "10.0.0/8", "example.com", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "::1/1/1", "/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_network_reads_back_as_it_is_written(address: u32, bits in 0u8..=32) {
            let network = Network { address: IpAddr::V4(address.into()), bits }.masked();
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
            prop_assert!(network.contains(IpAddr::V4(address.into())));
        }
    }
}
