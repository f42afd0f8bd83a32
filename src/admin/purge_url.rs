//! The URL of a purge, in the normal form that cache keys are built from.
//!
//! The cache keys of a URL depend on its routes; `proxy` builds them.

use policy::cache::key::Scheme;
use policy::message::host::{BadHost, Host};
use policy::message::target::{self, BadTarget};

/// A URL in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeUrl {
    /// The scheme; `None` (the URL begins with `//`): `http` and `https`.
    pub scheme: Option<Scheme>,
    /// The host, in the form of [`Host::normal`].
    pub host: Box<str>,
    /// The port; `None`: the default of the scheme.
    pub port: Option<u16>,
    /// The path, in the form of [`target::normal_path`].
    pub path: Box<str>,
    /// The query, without its `?`.
    pub query: Option<Box<str>>,
}

/// Why a text is not a URL that can be purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPurgeUrl {
    /// It has no host.
    #[error("a URL begins with http://HOST, https://HOST or //HOST")]
    NoHost,
    /// It has a fragment.
    #[error("a URL that is stored has no fragment")]
    Fragment,
    /// The host is malformed.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// The path or the query is malformed.
    #[error(transparent)]
    Target(#[from] BadTarget),
}

impl PurgeUrl {
    /// Parses `http://HOST/PATH?QUERY`, the same with `https:`, or without a scheme before `//`. A missing path means
    /// `/`.
    ///
    /// # Errors
    /// When the text has no host or a fragment, or a part of it is malformed.
    pub fn parse(text: &str) -> Result<Self, BadPurgeUrl> {
        if text.contains('#') {
            return Err(BadPurgeUrl::Fragment);
        }
        let (scheme, rest) = text.split_once("//").ok_or(BadPurgeUrl::NoHost)?;
        let scheme = match scheme {
            "" => None,
            scheme if scheme.eq_ignore_ascii_case("http:") => Some(Scheme::Http),
            scheme if scheme.eq_ignore_ascii_case("https:") => Some(Scheme::Https),
            _ => return Err(BadPurgeUrl::NoHost),
        };
        let (hierarchy, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
        let split = hierarchy.find('/').unwrap_or(hierarchy.len());
        let (authority, path) = hierarchy.split_at_checked(split).ok_or(BadPurgeUrl::NoHost)?;
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
        let url = PurgeUrl::parse("HTTP://Shop.Example.com.:8080/%61/../b%2fc?q=/x//y").unwrap();
        assert_eq!((url.scheme, &*url.host, url.port), (Some(Scheme::Http), "shop.example.com", Some(8080)));
        assert_eq!((&*url.path, url.query.as_deref()), ("/b%2Fc", Some("q=/x//y")));
        let url = PurgeUrl::parse("//a").unwrap();
        assert_eq!((url.scheme, &*url.path, url.query), (None, "/", None));
        assert_eq!(&*PurgeUrl::parse("https://[::1]/").unwrap().host, "[::1]");
    }

    #[test]
    fn what_names_no_host_or_no_path_is_refused() {
        for text in ["", "/a", "a.example/b", "ftp://a/b", "http:///b", "http://u@a/b", "http://a/#f", "http://a/../b"]
        {
            assert!(PurgeUrl::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(https?:)?//.{0,40}") {
            if let Ok(url) = PurgeUrl::parse(&text) {
                proptest::prop_assert!(url.path.starts_with('/'));
            }
        }
    }
}
