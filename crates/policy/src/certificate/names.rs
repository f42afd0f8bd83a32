//! Selects the certificate for a server name (SNI).

use std::collections::HashMap;

/// Maps server names to certificates. A certificate is identified by its index in the configured list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// Keyed by the part after `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// Whether the first certificate is used for a name that no certificate has.
    has_default: bool,
}

impl ServerNames {
    /// An empty map. `has_default`: the first certificate is used for a name that no certificate has.
    #[must_use]
    pub fn new(has_default: bool) -> Self {
        Self { has_default, ..Self::default() }
    }

    /// Adds a name of a certificate, which may begin with `*.`. If several certificates have a name, the first one that
    /// the client supports is used.
    pub fn add(&mut self, name: &str, certificate: usize) {
        let name = name.to_ascii_lowercase();
        let (map, name) = match name.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, &*name),
        };
        let known = map.entry(name.into()).or_default();
        if !known.contains(&certificate) {
            known.push(certificate);
        }
    }

    /// The certificates for a lower-case name, the preferred one first: those with exactly this name, else those with a
    /// wildcard for its first label (RFC 9525 §6.3), else the default.
    #[must_use]
    pub fn find(&self, name: &str) -> &[usize] {
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        let found = self.exact.get(name).or_else(wildcard);
        found.map_or(self.fallback(), Vec::as_slice)
    }

    /// The certificates for a client that sends no server name.
    #[must_use]
    pub const fn fallback(&self) -> &[usize] {
        if self.has_default { &[0] } else { &[] }
    }

    /// Whether a connection made for `server_name` must not serve `host` (lower case), because `host` has another
    /// certificate (421, RFC 9110 §15.5.20).
    #[must_use]
    pub fn is_misdirected(&self, host: &str, server_name: Option<&str>) -> bool {
        server_name.is_some_and(|name| name != host && self.find(name) != self.find(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(has_default: bool) -> ServerNames {
        let mut names = ServerNames::new(has_default);
        for (index, own) in
            [&["a.example", "A.example"][..], &["*.example"], &["b.example"], &["b.example"]].iter().enumerate()
        {
            own.iter().for_each(|name| names.add(name, index));
        }
        names
    }

    #[test]
    fn the_exact_name_comes_before_the_wildcard_and_that_before_the_default() {
        for (name, found) in [
            ("a.example", &[0][..]),
            ("b.example", &[2, 3]),
            ("c.example", &[1]),
            ("d.c.example", &[0]),
            ("example", &[0]),
            ("*.example", &[1]),
            ("", &[0]),
        ] {
            assert_eq!(names(true).find(name), found, "{name}");
        }
        assert!(names(false).find("example").is_empty() && names(false).fallback().is_empty());
    }

    #[test]
    fn a_host_with_another_certificate_is_misdirected() {
        for (host, server_name, is_misdirected) in [
            ("a.example", Some("a.example"), false),
            ("a.example", None, false),
            ("c.example", Some("d.example"), false),
            ("b.example", Some("a.example"), true),
            ("c.example", Some("a.example"), true),
            ("unknown", Some("a.example"), false),
            ("unknown", Some("b.example"), true),
        ] {
            assert_eq!(names(true).is_misdirected(host, server_name), is_misdirected, "{host} {server_name:?}");
        }
        assert!(names(false).is_misdirected("unknown", Some("a.example")));
    }
}
