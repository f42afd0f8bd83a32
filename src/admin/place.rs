//! A URL as a purge names it, in the one form that keys of the cache are made of.
//!
//! Which routes' keys are meant is found out by those who know the routes.

use policy::cache::key::Scheme;
use policy::message::host::{BadHost, Host};
use policy::message::target::{self, BadTarget};

/// A host and what is asked of it, each in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The scheme; `None` (the URL begins with `//`): either.
    pub scheme: Option<Scheme>,
    /// The host's name, as [`Host::normal`] gives it.
    pub host: Box<str>,
    /// The port; `None`: the scheme's own.
    pub port: Option<u16>,
    /// The path, as [`target::normal_path`] gives it.
    pub path: Box<str>,
    /// The query, without its `?`.
    pub query: Option<Box<str>>,
}

/// Why a text is no URL that can be purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// It names no host.
    #[error("a URL begins with http://HOST, https://HOST or //HOST")]
    NoHost,
    /// It holds a `#`.
    #[error("a URL that is stored has no fragment")]
    Fragment,
    /// The host is none.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// The path or the query is none.
    #[error(transparent)]
    Target(#[from] BadTarget),
}

impl Place {
    /// Reads `http://HOST/PATH?QUERY`; `https:` or no scheme before `//` are fine too. No path means `/`.
    ///
    /// # Errors
    /// [`BadPlace`] says what it is not.
    pub fn parse(text: &str) -> Result<Self, BadPlace> {
        if text.contains('#') {
            return Err(BadPlace::Fragment);
        }
        let (scheme, rest) = text.split_once("//").ok_or(BadPlace::NoHost)?;
        let scheme = match scheme {
            "" => None,
            scheme if scheme.eq_ignore_ascii_case("http:") => Some(Scheme::Http),
            scheme if scheme.eq_ignore_ascii_case("https:") => Some(Scheme::Https),
            _ => return Err(BadPlace::NoHost),
        };
        let (hierarchy, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
        let split = hierarchy.find('/').unwrap_or(hierarchy.len());
        let (authority, path) = hierarchy.split_at_checked(split).ok_or(BadPlace::NoHost)?;
        let host = Host::parse(authority.as_bytes())?;
        query.map_or(Ok(()), target::check_query)?;
        let path = target::normal_path(if path.is_empty() { "/" } else { path })?;
        Ok(Self {
            scheme,
            host: host.normal().into(),
            port: host.port(),
            path: path.into(),
            query: query.map(Box::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_in_the_form_of_keys() {
        let place = Place::parse("HTTP://Shop.Example.com.:8080/%61/../b%2fc?q=/x//y").unwrap();
        assert_eq!((place.scheme, &*place.host, place.port), (Some(Scheme::Http), "shop.example.com", Some(8080)));
        assert_eq!((&*place.path, place.query.as_deref()), ("/b%2Fc", Some("q=/x//y")));
        let place = Place::parse("//a").unwrap();
        assert_eq!((place.scheme, &*place.path, place.query), (None, "/", None));
        assert_eq!(&*Place::parse("https://[::1]/").unwrap().host, "[::1]");
    }

    #[test]
    fn what_names_no_host_or_no_path_is_refused() {
        for text in ["", "/a", "a.example/b", "ftp://a/b", "http:///b", "http://u@a/b", "http://a/#f", "http://a/../b"]
        {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(https?:)?//.{0,40}") {
            if let Ok(place) = Place::parse(&text) {
                proptest::prop_assert!(place.path.starts_with('/'));
            }
        }
    }
}
