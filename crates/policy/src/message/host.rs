//! Parses a `Host` field or an authority (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! The caller decides whether it is required, and which of several values applies.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::scheme::Scheme;

/// The longest host name in bytes (RFC 1035 §2.3.4: 253, and a final dot).
const NAME_BYTES_MAX: usize = 255;

/// A host name or address, with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    text: &'a str,
    name: &'a str,
    port: Option<u16>,
}

/// Why a text is not a host: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// The name is empty, or its last label is.
    #[error("host is empty")]
    Empty,
    /// The name is too long.
    #[error("host is longer than 255 bytes")]
    TooLong,
    /// A byte or escape that is not allowed in a name, which includes user information.
    #[error("host holds a character that no host name holds")]
    Character,
    /// The brackets do not contain an IPv6 address.
    #[error("host is not an IPv6 address, though in brackets")]
    Address,
    /// The colon is not followed by a port.
    #[error("port of host is not a number up to 65535")]
    Port,
}

impl<'a> Host<'a> {
    /// Parses `uri-host [ ":" port ]`. An empty port counts as none (RFC 3986 §3.2.3).
    ///
    /// # Errors
    /// [`BadHost`] → 400.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadHost> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadHost::Character)?;
        let (name, port) = if text.starts_with('[') {
            let end = text.find(']').ok_or(BadHost::Address)?;
            let (name, rest) = text.split_at_checked(end.saturating_add(1)).ok_or(BadHost::Address)?;
            (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(BadHost::Character)?) })
        } else {
            text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
        };
        check_name(name)?;
        Ok(Self { text, name, port: port.map_or(Ok(None), parse_port)? })
    }

    /// Name and port, as written.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The name without the port, as written; an IPv6 address keeps its brackets.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The port, if there is one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name for route look-ups: lower case, without a final dot. Borrowed if unchanged.
    #[must_use]
    pub fn normal(&self) -> Cow<'a, str> {
        let name = self.name.strip_suffix('.').unwrap_or(self.name);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }
    }

    /// Whether the name ends in a dot. The dot has no meaning in DNS, but URIs with and without it are not equivalent:
    /// a backend may respond differently (RFC 9110 §4.2.3).
    #[must_use]
    pub fn has_final_dot(&self) -> bool {
        self.name.ends_with('.')
    }

    /// Name and port in the normal form of `Host`: the name in lower case with its final dot; the port without leading
    /// zeros, omitted if it is the scheme's default (RFC 9110 §4.2.3). Borrowed if unchanged.
    #[must_use]
    pub fn authority(&self, scheme: Scheme) -> Cow<'a, str> {
        let port = self.port.filter(|port| *port != scheme.default_port());
        let rest = self.text.get(self.name.len()..).unwrap_or_default();
        let is_normal = match port {
            None => rest.is_empty(),
            // The rest are digits without a leading zero (except 0 itself, which no client connects to).
            Some(_) => rest.len() > 1 && !rest.starts_with(":0"),
        };
        if is_normal && !self.name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Borrowed(self.text);
        }
        let mut authority = self.name.to_ascii_lowercase();
        if let Some(port) = port {
            authority.extend([":", &port.to_string()]);
        }
        Cow::Owned(authority)
    }
}

fn check_name(name: &str) -> Result<(), BadHost> {
    // Removing one of two final dots would leave a name with a final dot, which is another host.
    if name.is_empty() || name == "." || name.ends_with("..") {
        return Err(BadHost::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(BadHost::TooLong);
    }
    if let Some(rest) = name.strip_prefix('[') {
        let address = rest.strip_suffix(']').ok_or(BadHost::Address)?;
        return address.parse::<Ipv6Addr>().map(drop).map_err(|_| BadHost::Address);
    }
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                [bytes.next(), bytes.next()].iter().flatten().filter(|digit| digit.is_ascii_hexdigit()).count() == 2
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !fits {
            return Err(BadHost::Character);
        }
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<Option<u16>, BadHost> {
    if text.is_empty() {
        return Ok(None);
    }
    // `parse` alone would accept a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHost::Port);
    }
    text.parse().map(Some).map_err(|_| BadHost::Port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_are_hosts_with_or_without_a_port() {
        let cases = [
            ("example.com", "example.com", None),
            ("Example.com:8080", "Example.com", Some(8080)),
            ("example.com:", "example.com", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::7]:443", "[2001:db8::7]", Some(443)),
            ("a_b.example", "a_b.example", None),
            ("ex%41mple", "ex%41mple", None),
        ];
        for (text, name, port) in cases {
            assert_eq!(Host::parse(text.as_bytes()), Ok(Host { text, name, port }), "{text}");
        }
    }

    #[test]
    fn a_host_with_user_information_spaces_or_a_path_is_refused() {
        for text in ["a@b", "a@b/x", "u:p@b", "a b", "a/", "a?b", "a#b", "a\\b", "a\"", "<a>", "a|b", "\u{e4}", "a\t"] {
            assert!(matches!(Host::parse(text.as_bytes()), Err(BadHost::Character | BadHost::Port)), "{text}");
        }
        assert_eq!(Host::parse(b"\xff"), Err(BadHost::Character));
    }

    #[test]
    fn an_empty_host_is_refused() {
        for text in ["", ".", ":80", "..", "a..", "a..:80"] {
            assert_eq!(Host::parse(text.as_bytes()), Err(BadHost::Empty), "{text}");
        }
    }

    #[test]
    fn a_bad_port_escape_or_address_is_refused() {
        for text in ["a:65536", "a:+80", "a:8o", "a:80:80", "::1", "a:-1"] {
            assert!(matches!(Host::parse(text.as_bytes()), Err(BadHost::Port | BadHost::Empty)), "{text}");
        }
        for text in ["[::1", "[]", "[1.2.3.4]", "[fe80::1%25eth0]", "[v1.x]"] {
            assert_eq!(Host::parse(text.as_bytes()), Err(BadHost::Address), "{text}");
        }
        for text in ["a%", "a%4", "a%zz", "[::1]a"] {
            assert_eq!(Host::parse(text.as_bytes()), Err(BadHost::Character), "{text}");
        }
    }

    #[test]
    fn a_host_of_endless_length_is_refused() {
        assert_eq!(Host::parse("a".repeat(256).as_bytes()), Err(BadHost::TooLong));
    }

    #[test]
    fn the_normal_form_is_lower_case_without_the_final_dot() {
        assert_eq!(Host::parse(b"Shop.Example.COM.:80").unwrap().normal(), "shop.example.com");
        assert!(matches!(Host::parse(b"shop.example.com.").unwrap().normal(), Cow::Borrowed("shop.example.com")));
    }

    #[test]
    fn an_authority_has_one_form_for_each_scheme() {
        let written = |text: &str, scheme| Host::parse(text.as_bytes()).unwrap().authority(scheme).into_owned();
        for text in ["shop.example", "SHOP.example", "shop.example:", "shop.example:80", "Shop.Example:0080"] {
            assert_eq!(written(text, Scheme::Http), "shop.example", "{text}");
        }
        for (text, http, https) in [
            ("a:443", "a:443", "a"),
            ("a:80", "a", "a:80"),
            ("a:080", "a", "a:80"),
            ("a.:8080", "a.:8080", "a.:8080"),
            ("A.:08080", "a.:8080", "a.:8080"),
            ("[::A]:80", "[::a]", "[::a]:80"),
            ("a:0", "a:0", "a:0"),
        ] {
            assert_eq!(written(text, Scheme::Http), http, "{text}");
            assert_eq!(written(text, Scheme::Https), https, "{text}");
        }
        let host = Host::parse(b"shop.example:8080").unwrap();
        assert!(matches!(host.authority(Scheme::Http), Cow::Borrowed("shop.example:8080")));
    }

    proptest! {
        #[test]
        fn a_normal_authority_names_the_same_host_and_stays_as_it_is(
            text in "[A-Za-c]{1,3}(\\.[a-cA-C]{1,2})?\\.?(:0{0,2}(80|443|8080|0)?)?",
            scheme in prop_oneof![Just(Scheme::Http), Just(Scheme::Https)],
        ) {
            let host = Host::parse(text.as_bytes()).unwrap();
            let authority = host.authority(scheme).into_owned();
            let again = Host::parse(authority.as_bytes()).unwrap();
            prop_assert_eq!(again.authority(scheme), authority.as_str());
            prop_assert_eq!((again.normal(), again.has_final_dot()), (host.normal(), host.has_final_dot()));
            let port = |host: Host<'_>| host.port().unwrap_or(scheme.default_port());
            prop_assert_eq!(port(again), port(host));
        }

        #[test]
        fn nothing_that_is_no_host_name_gets_through(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(host) = Host::parse(&bytes) {
                prop_assert!(!host.name().is_empty());
                prop_assert!(!host.name().contains(['/', '@', ' ', '\\', '?', '#']));
            }
        }
    }
}
