//! The name that a response is stored under (RFC 9111 §2: at least the method and the target URI).
//!
//! Which of the responses under one name fits a request is decided by `Vary`, in `message::vary`. HEAD is answered from
//! what GET has stored, so the method is not part of the key.

use std::borrow::Cow;
use std::fmt;

use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, Method};

use crate::message::host::Host;

/// How the content of a request travels to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As written in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written (RFC 9110 §4.2.1, §4.2.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Reads a scheme, in any case; `None` for one that is not HTTP's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

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
    /// Joins what has been read already: `path` must be in the form that `message::target::normal_path` gives.
    #[must_use]
    pub fn new(scheme: Scheme, host: &Host<'a>, path: Cow<'a, str>, query: Option<Cow<'a, str>>) -> Self {
        Self { scheme, name: host.normal(), port: host.port().unwrap_or(scheme.default_port()), path, query }
    }

    /// The same, owning its text.
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

    /// This origin with another path and query.
    pub(super) fn beside(&self, path: String, query: Option<String>) -> Target<'static> {
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

/// A parameter name as configured: one `*` stands for any text. Names are compared as written, escapes and all, so an
/// odd spelling costs a second entry and never a wrong answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    after: Option<String>,
}

impl Pattern {
    /// Reads `gclid` or `utm_*`; `None` if it is empty or holds more than one `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once('*').map_or((text, None), |(before, after)| (before, Some(after)));
        let sound = !text.is_empty() && !after.is_some_and(|after| after.contains('*'));
        sound.then(|| Self { before: before.to_owned(), after: after.map(str::to_owned) })
    }

    /// Whether a name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.after {
            None => name == self.before,
            Some(after) => name.strip_prefix(self.before.as_str()).is_some_and(|rest| rest.ends_with(after.as_str())),
        }
    }
}

/// What makes two requests one, as configured. The default takes the URI as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether the order of parameters does not matter; those of one name keep theirs.
    pub sort_query: bool,
    /// Parameters that do not matter.
    pub drop_query: Vec<Pattern>,
    /// Request fields whose values matter beside the URI.
    pub headers: Vec<HeaderName>,
    /// Cookies whose values matter beside the URI; names are case-sensitive.
    pub cookies: Vec<String>,
}

/// A full key. Every part carries its length, so no two requests share a key by the way their parts meet.
///
/// The bytes are as long as the request made them: put a keyed hash on them before they index a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    uri: Vec<u8>,
    chosen: Vec<u8>,
}

impl Key {
    /// The key of a request; `None` for a method that is not answered from a cache, and for a request with a body,
    /// which the key could not tell from one without (RFC 9110 §9.3.1: such a body has no meaning, but backends differ).
    #[must_use]
    pub fn of_request(
        rules: &Rules,
        method: &Method,
        target: &Target<'_>,
        headers: &HeaderMap,
        has_body: bool,
    ) -> Option<Self> {
        if has_body || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        Some(Self { uri: uri_bytes(rules, target), chosen: chosen_bytes(rules, headers) })
    }

    /// The part that the URI makes: all keys of one URI have it in common, as [`uri_bytes`] gives it.
    #[must_use]
    pub fn uri(&self) -> &[u8] {
        &self.uri
    }

    /// The part that chosen headers and cookies make.
    #[must_use]
    pub fn chosen(&self) -> &[u8] {
        &self.chosen
    }

    /// The whole key.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.uri.as_slice(), self.chosen.as_slice()].concat()
    }
}

/// The part of a key that the URI makes: enough to forget all that is stored for it.
#[must_use]
pub fn uri_bytes(rules: &Rules, target: &Target<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    push_part(&mut bytes, Some(target.scheme.as_str().as_bytes()));
    push_part(&mut bytes, Some(target.name.as_bytes()));
    bytes.extend_from_slice(&target.port.to_be_bytes());
    push_part(&mut bytes, Some(target.path.as_bytes()));
    let query = target.query.as_deref().and_then(|query| normal_query(rules, query));
    push_part(&mut bytes, query.as_deref().map(str::as_bytes));
    bytes
}

/// The query without what does not matter; `None` if nothing is left of it.
fn normal_query<'q>(rules: &Rules, query: &'q str) -> Option<Cow<'q, str>> {
    if !rules.sort_query && rules.drop_query.is_empty() {
        return Some(Cow::Borrowed(query));
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.retain(|pair| !rules.drop_query.iter().any(|pattern| pattern.matches(parameter_name(pair))));
    if pairs.is_empty() {
        return None;
    }
    if rules.sort_query {
        pairs.sort_by_key(|pair| parameter_name(pair));
    }
    Some(Cow::Owned(pairs.join("&")))
}

fn parameter_name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn chosen_bytes(rules: &Rules, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in &rules.headers {
        let lines = headers.get_all(name);
        push_count(&mut bytes, lines.iter().count());
        lines.iter().for_each(|line| push_part(&mut bytes, Some(line.as_bytes().trim_ascii())));
    }
    for name in &rules.cookies {
        // All of that name: which one a backend goes by can't be known.
        let values: Vec<&[u8]> = cookie_values(headers, name).collect();
        push_count(&mut bytes, values.len());
        values.into_iter().for_each(|value| push_part(&mut bytes, Some(value)));
    }
    bytes
}

/// The values of all cookies with this name, as written, be they text or not.
fn cookie_values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start();
        // `c` alone is a cookie without a value to some and none at all to others, so it counts as something of its own.
        if rest.is_empty() { Some(pair) } else { rest.strip_prefix(b"=").map(<[u8]>::trim_ascii) }
    })
}

/// A part and its length, or that there is none.
fn push_part(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    bytes.push(u8::from(part.is_some()));
    if let Some(part) = part {
        push_count(bytes, part.len());
        bytes.extend_from_slice(part);
    }
}

fn push_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::scripted::headers;
    use super::*;
    use proptest::prelude::*;

    fn target<'a>(scheme: Scheme, host: &'a str, path: &'a str, query: Option<&'a str>) -> Target<'a> {
        let host = Host::parse(host.as_bytes()).unwrap();
        Target::new(scheme, &host, Cow::Borrowed(path), query.map(Cow::Borrowed))
    }

    fn keyed(rules: &Rules, query: Option<&str>, fields: &[(&'static str, &'static str)]) -> Key {
        let target = target(Scheme::Https, "a", "/", query);
        Key::of_request(rules, &Method::GET, &target, &headers(fields), false).unwrap()
    }

    fn drops(patterns: &[&str], sort_query: bool) -> Rules {
        let drop_query = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Rules { sort_query, drop_query, ..Rules::default() }
    }

    #[test]
    fn rfc9110_4_2_3_one_origin_written_in_several_ways_has_one_key() {
        let rules = Rules::default();
        let plain = uri_bytes(&rules, &target(Scheme::Https, "shop.example", "/", None));
        for host in ["SHOP.example", "shop.example:443", "shop.example.", "shop.example:"] {
            assert_eq!(uri_bytes(&rules, &target(Scheme::Https, host, "/", None)), plain, "{host}");
        }
        for host in ["shop.example:80", "shop.example:8443", "xshop.example"] {
            assert_ne!(uri_bytes(&rules, &target(Scheme::Https, host, "/", None)), plain, "{host}");
        }
        assert_ne!(uri_bytes(&rules, &target(Scheme::Http, "shop.example", "/", None)), plain);
        assert_ne!(uri_bytes(&rules, &target(Scheme::Http, "shop.example:443", "/", None)), plain);
        assert_ne!(uri_bytes(&rules, &target(Scheme::Https, "shop.example", "/A", None)), plain);
        assert_ne!(uri_bytes(&rules, &target(Scheme::Https, "shop.example", "/", Some(""))), plain);
    }

    #[test]
    fn a_request_with_a_body_or_another_method_has_no_key() {
        let target = target(Scheme::Http, "a", "/", None);
        let of = |method: &Method, body| Key::of_request(&Rules::default(), method, &target, &HeaderMap::new(), body);
        assert_eq!(of(&Method::GET, true), None);
        for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::from_bytes(b"QUERY").unwrap()] {
            assert_eq!(of(&method, false), None);
        }
        assert_eq!(of(&Method::GET, false), of(&Method::HEAD, false));
        assert!(of(&Method::GET, false).is_some());
    }

    #[test]
    fn without_rules_the_query_is_taken_as_written() {
        let rules = Rules::default();
        assert_ne!(keyed(&rules, Some("a=1&b=2"), &[]), keyed(&rules, Some("b=2&a=1"), &[]));
        assert_ne!(keyed(&rules, Some("a=1"), &[]), keyed(&rules, Some("a=1&"), &[]));
    }

    #[test]
    fn sorted_parameters_of_one_name_keep_their_order() {
        let rules = drops(&[], true);
        assert_eq!(keyed(&rules, Some("b=2&a=1&c"), &[]), keyed(&rules, Some("c&a=1&b=2"), &[]));
        assert_ne!(keyed(&rules, Some("a=1&a=2"), &[]), keyed(&rules, Some("a=2&a=1"), &[]));
    }

    #[test]
    fn dropped_parameters_leave_no_trace() {
        let rules = drops(&["utm_*", "gclid"], false);
        let plain = keyed(&rules, None, &[]);
        for query in ["utm_source=x", "gclid", "gclid=1&utm_=2", "utm_a&utm_b=&gclid="] {
            assert_eq!(keyed(&rules, Some(query), &[]), plain, "{query}");
        }
        assert_eq!(keyed(&rules, Some("a=1&gclid=2&b=3"), &[]), keyed(&rules, Some("a=1&b=3"), &[]));
        for query in ["utm=1", "xgclid=1", "gclid2=1", "UTM_source=x", "a=utm_source"] {
            assert_ne!(keyed(&rules, Some(query), &[]), plain, "{query}");
        }
    }

    #[test]
    fn a_pattern_holds_one_asterisk_at_most() {
        assert!(Pattern::parse("").is_none() && Pattern::parse("a**").is_none());
        let both = Pattern::parse("ab*ba").unwrap();
        assert!(both.matches("abba") && both.matches("ab-ba"));
        assert!(!both.matches("aba"), "the ends may not share bytes");
        assert!(Pattern::parse("*").unwrap().matches(""));
    }

    #[test]
    fn chosen_headers_and_cookies_are_told_apart_also_when_absent() {
        let names = vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
        let rules = Rules { headers: names, cookies: vec!["c".to_owned()], ..Rules::default() };
        let all = [
            keyed(&rules, None, &[]),
            keyed(&rules, None, &[("x-a", "1")]),
            keyed(&rules, None, &[("x-b", "1")]),
            keyed(&rules, None, &[("x-a", "")]),
            keyed(&rules, None, &[("x-a", "1"), ("x-a", "2")]),
            keyed(&rules, None, &[("x-a", "1, 2")]),
            keyed(&rules, None, &[("x-a", "1"), ("x-b", "2")]),
            keyed(&rules, None, &[("cookie", "c=1")]),
            keyed(&rules, None, &[("cookie", "c=")]),
            keyed(&rules, None, &[("cookie", "c")]),
            keyed(&rules, None, &[("cookie", "c=1; c=2")]),
            keyed(&rules, None, &[("cookie", "c=2; c=1")]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{one:?}");
            assert_eq!(one.uri(), all[0].uri());
            assert_eq!(one.bytes(), [one.uri(), one.chosen()].concat());
        }
        assert_eq!(keyed(&rules, None, &[("cookie", "d=1"), ("x-c", "1")]), all[0]);
    }

    #[test]
    fn a_target_is_written_without_its_default_port() {
        assert_eq!(target(Scheme::Https, "A:443", "/b", Some("c")).to_string(), "https://a/b?c");
        assert_eq!(target(Scheme::Http, "[::1]:443", "/", None).to_string(), "http://[::1]:443/");
    }

    proptest! {
        #[test]
        fn different_uris_have_different_keys(one in ("[ab]{1,3}", "/[ab/]{0,3}", proptest::option::of("[ab&=]{0,3}")),
                                              two in ("[ab]{1,3}", "/[ab/]{0,3}", proptest::option::of("[ab&=]{0,3}"))) {
            let bytes = |(host, path, query): &(String, String, Option<String>)| {
                uri_bytes(&Rules::default(), &target(Scheme::Http, host, path, query.as_deref()))
            };
            prop_assert_eq!(bytes(&one) == bytes(&two), one == two);
        }
    }
}
