//! A target URI in normal form, from which keys are made (RFC 9110 §4.2.3).
//!
//! `rules` decides which parts count; `invalidation` resolves relative references.

use std::borrow::Cow;
use std::fmt;

use crate::message::host::Host;
use crate::message::scheme::Scheme;

/// A target URI in normal form (RFC 9110 §4.2.3). `Display` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target<'a> {
    scheme: Scheme,
    name: Cow<'a, str>,
    port: u16,
    path: Cow<'a, str>,
    query: Option<Cow<'a, str>>,
}

impl<'a> Target<'a> {
    /// From parsed parts: `path` must be in the form of `message::target::normal_path`.
    #[must_use]
    pub fn new(scheme: Scheme, host: &Host<'a>, path: Cow<'a, str>, query: Option<Cow<'a, str>>) -> Self {
        Self { scheme, name: host.normal(), port: host.port().unwrap_or(scheme.default_port()), path, query }
    }

    /// From parts in normal form, without checks: a name from [`Host::normal`], a path from
    /// `message::target::normal_path`. `port`: `None` for the scheme's default. Does not allocate.
    #[must_use]
    pub fn of_normal(scheme: Scheme, name: &'a str, port: Option<u16>, path: &'a str, query: Option<&'a str>) -> Self {
        Self {
            scheme,
            name: Cow::Borrowed(name),
            port: port.unwrap_or(scheme.default_port()),
            path: Cow::Borrowed(path),
            query: query.map(Cow::Borrowed),
        }
    }

    /// The same with owned text.
    #[must_use]
    pub fn into_owned(self) -> Target<'static> {
        Target {
            scheme: self.scheme,
            name: Cow::Owned(self.name.into_owned()),
            port: self.port,
            path: Cow::Owned(self.path.into_owned()),
            query: self.query.map(|query| Cow::Owned(query.into_owned())),
        }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name in normal form; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, explicit or default.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path, which begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether scheme, name and port are the same (RFC 9110 §4.3.1).
    #[must_use]
    pub fn has_same_origin(&self, other: &Target<'_>) -> bool {
        self.scheme == other.scheme && self.name == other.name && self.port == other.port
    }

    /// The same origin and query with another path in normal form.
    #[must_use]
    pub fn on_path<'b>(&'b self, path: Cow<'b, str>) -> Target<'b> {
        let query = self.query.as_deref().map(Cow::Borrowed);
        Target { scheme: self.scheme, name: Cow::Borrowed(&self.name), port: self.port, path, query }
    }

    /// The same origin with another path and query.
    pub(in crate::cache) fn beside(&self, path: String, query: Option<String>) -> Target<'static> {
        let name = Cow::Owned(self.name.as_ref().to_owned());
        Target { scheme: self.scheme, name, port: self.port, path: Cow::Owned(path), query: query.map(Cow::Owned) }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.as_str(), self.name)?;
        if self.port != self.scheme.default_port() {
            write!(out, ":{}", self.port)?;
        }
        out.write_str(&self.path)?;
        self.query.as_deref().map_or(Ok(()), |query| write!(out, "?{query}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(scheme: Scheme, host: &'a str, path: &'a str, query: Option<&'a str>) -> Target<'a> {
        let host = Host::parse(host.as_bytes()).unwrap();
        Target::new(scheme, &host, Cow::Borrowed(path), query.map(Cow::Borrowed))
    }

    #[test]
    fn a_target_is_written_without_its_default_port() {
        assert_eq!(target(Scheme::Https, "A:443", "/b", Some("c")).to_string(), "https://a/b?c");
        assert_eq!(target(Scheme::Http, "[::1]:443", "/", None).to_string(), "http://[::1]:443/");
    }

    #[test]
    fn what_is_normal_already_makes_the_same_target() {
        for (host, name, port) in [("a.example", "a.example", None), ("[::1]:8080", "[::1]", Some(8080))] {
            let parsed = target(Scheme::Http, host, "/b", Some("c"));
            assert_eq!(Target::of_normal(Scheme::Http, name, port, "/b", Some("c")), parsed, "{host}");
        }
    }
}
