//! How a name's owner shows an ACME authority (RFC 8555) that the name is theirs, and which names can be shown so.

/// A kind of challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A text at a URL, by HTTP on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate of its own kind, by TLS on port 443 (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    /// What the RFCs call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// The port that the authority connects to.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}

/// The challenge for the next try: the first of those that can be met and are offered; another one after each failure.
#[must_use]
pub fn choose(can_meet: &[Challenge], offered: &[Challenge], failures: u32) -> Option<Challenge> {
    let usable: Vec<Challenge> = can_meet.iter().copied().filter(|one| offered.contains(one)).collect();
    let turn = usize::try_from(failures).unwrap_or_default().checked_rem(usable.len())?;
    usable.get(turn).copied()
}

/// Why an authority can't be asked for a certificate for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has a wildcard.
    Wildcard,
    /// It is an IP address.
    Address,
    /// It is no host name.
    NoName,
}

/// A host name in lower case, if an authority can be shown by a [`Challenge`] that it is the asker's.
///
/// # Errors
/// Why not.
pub fn name(text: &str) -> Result<String, Unfit> {
    if text.contains('*') {
        return Err(Unfit::Wildcard);
    }
    if text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return Err(Unfit::Address);
    }
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(Unfit::NoName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Challenge::{Http01, TlsAlpn01};

    #[test]
    fn challenges_take_turns_among_those_that_are_offered_and_can_be_met() {
        for (can_meet, offered, failures, chosen) in [
            (&[Http01, TlsAlpn01][..], &[TlsAlpn01, Http01][..], 0, Some(Http01)),
            (&[Http01, TlsAlpn01], &[TlsAlpn01, Http01], 1, Some(TlsAlpn01)),
            (&[Http01, TlsAlpn01], &[TlsAlpn01, Http01], 2, Some(Http01)),
            (&[TlsAlpn01, Http01], &[TlsAlpn01, Http01], 0, Some(TlsAlpn01)),
            (&[Http01, TlsAlpn01], &[TlsAlpn01], 4, Some(TlsAlpn01)),
            (&[Http01], &[TlsAlpn01], 0, None),
            (&[], &[TlsAlpn01], 0, None),
            (&[Http01], &[], 3, None),
        ] {
            assert_eq!(choose(can_meet, offered, failures), chosen, "{can_meet:?} {offered:?} {failures}");
        }
    }

    #[test]
    fn names_are_host_names_without_wildcards() {
        for (text, expected) in [
            ("example.com", Ok("example.com")),
            ("WWW.Example.com", Ok("www.example.com")),
            ("localhost", Ok("localhost")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("*.example.com", Err(Unfit::Wildcard)),
            ("10.0.0.1", Err(Unfit::Address)),
            ("[::1]", Err(Unfit::Address)),
            ("", Err(Unfit::NoName)),
            ("a..b", Err(Unfit::NoName)),
            ("a_b.example", Err(Unfit::NoName)),
            ("example.com.", Err(Unfit::NoName)),
            ("bücher.example", Err(Unfit::NoName)),
            ("../etc", Err(Unfit::NoName)),
            ("-a.example", Err(Unfit::NoName)),
        ] {
            assert_eq!(name(text), expected.map(str::to_owned), "{text}");
        }
        assert_eq!(name(&"a".repeat(64)), Err(Unfit::NoName));
    }
}
