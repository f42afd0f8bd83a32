//! The cache key of a response (RFC 9111 §2: at least the method and the target URI).
//!
//! `Vary` selects among the responses under one key, see `message::vary`. HEAD is answered from the response to GET, so
//! the method is not part of the key.

mod lookup_key;
mod rules;
mod target;
pub mod target_fields;

use std::borrow::Cow;
use std::sync::Arc;
use std::{fmt, iter};

use http::Method;
use message::{Field, Fields, Known, Name};

pub use crate::message::scheme::Scheme;
pub use lookup_key::{KeyBuffer, LookupKey};
pub use rules::{KeyRules, Pattern};
pub use target::Target;

/// Flag in the first byte of a key: the scheme is `https`.
const HTTPS: u8 = 1;
/// Flag in the same byte: there is a query, which may be empty.
const QUERY: u8 = 2;

/// A key space and its rules.
#[derive(Clone, Copy, Debug)]
pub struct Space<'a> {
    /// Separates requests that must not share responses although their URIs are equal, for example on routes to
    /// different upstreams.
    pub name: &'a [u8],
    /// The rules for equal requests. A change of the rules requires a new name.
    pub rules: &'a KeyRules,
}

/// A key: a sequence of bytes, shared between clones.
///
/// The URI's part comes first: space, scheme and port, host name, path, query. Then come the selected headers and
/// cookies and the keyed [`target_fields`], if the request has any. Every part has its length in front, so
/// concatenation is unambiguous. The length of a key depends on the request; hash it with a keyed hash before it
/// indexes a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bytes: Arc<[u8]>,
}

impl Key {
    /// The key of a request; `None` for a method that is not answered from a cache, and for a request with a body,
    /// because the key does not include it (RFC 9110 §9.3.1: such a body has no meaning, but backends differ).
    ///
    /// The [`target_fields::edits`] must have been applied to `headers`. Allocates only the key, unless the rules
    /// rearrange the query or there are keyed fields.
    #[must_use]
    pub fn of_request(
        space: Space<'_>,
        method: &Method,
        target: &Target<'_>,
        headers: &Fields,
        has_body: bool,
    ) -> Option<Self> {
        if has_body || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let keyed = target_fields::keyed(headers);
        let is_chosen = !keyed.is_empty() || has_chosen(space.rules, headers);
        let chosen = is_chosen.then_some(ChosenFields { headers, keyed });
        Some(KeySource::new(space, target, chosen).key())
    }

    /// The key of a request for this URI without selected headers, cookies and keyed fields. For a look-up only, use
    /// [`LookupKey::of_uri`], which does not allocate.
    #[must_use]
    pub fn of_uri(space: Space<'_>, target: &Target<'_>) -> Self {
        KeySource::new(space, target, None).key()
    }

    /// A key from the result of [`Key::bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into() }
    }

    /// The complete key.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part made of space and URI: the common prefix of all keys of one URI, and of no others.
    #[must_use]
    pub fn uri(&self) -> &[u8] {
        self.bytes.strip_suffix(self.chosen()).unwrap_or_default()
    }

    /// Whether the request had selected headers or cookies or keyed fields; otherwise this is the key of its URI.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        !self.chosen().is_empty()
    }

    /// The parts of the key, except selected headers and cookies. Never `None` for a key made by this module.
    #[must_use]
    pub fn parts(&self) -> Option<KeyParts<'_>> {
        let raw = Raw::read(&self.bytes)?;
        let text = |part| std::str::from_utf8(part).ok();
        let (host, path) = (text(raw.host)?, text(raw.path)?);
        let query = raw.query.map_or(Some(None), |query| text(query).map(Some))?;
        Some(KeyParts { space: raw.space, scheme: raw.scheme, host, port: raw.port, path, query })
    }

    /// The part made of headers, cookies and keyed fields.
    fn chosen(&self) -> &[u8] {
        Raw::read(&self.bytes).map_or(&[], |raw| raw.chosen)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = String::from_utf8_lossy(self.chosen());
        out.debug_struct("Key").field("parts", &self.parts()).field("chosen", &chosen).finish()
    }
}

/// The decoded parts of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// The name of the space.
    pub space: &'a [u8],
    /// The scheme.
    pub scheme: Scheme,
    /// The host's name in normal form.
    pub host: &'a str,
    /// The port, explicit or default.
    pub port: u16,
    /// The path, which begins with a slash.
    pub path: &'a str,
    /// The query without its question mark, after the rules.
    pub query: Option<&'a str>,
}

/// The source of a key.
struct KeySource<'a> {
    space: Space<'a>,
    target: &'a Target<'a>,
    query: Option<Cow<'a, str>>,
    /// `None`: the request has no part beyond the URI.
    chosen: Option<ChosenFields<'a>>,
}

/// The parts of a request beyond its URI.
struct ChosenFields<'a> {
    headers: &'a Fields,
    /// The keyed fields, regardless of the rules.
    keyed: Vec<Field<'a>>,
}

impl<'a> KeySource<'a> {
    fn new(space: Space<'a>, target: &'a Target<'a>, chosen: Option<ChosenFields<'a>>) -> Self {
        let query = space.rules.query(target.query());
        Self { space, target, query, chosen }
    }

    /// Visits the parts twice, first to count and then to copy, so that one allocation of the exact size suffices.
    fn key(&self) -> Key {
        let mut bytes: Arc<[u8]> = iter::repeat_n(0, self.fill(&mut [])).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            self.fill(bytes);
        }
        Key { bytes }
    }

    /// Writes the key if there is enough room. Returns its length in bytes.
    fn fill(&self, mut rest: &mut [u8]) -> usize {
        let mut count = 0;
        self.write(&mut |part| {
            count += part.len();
            if let Some(place) = rest.split_off_mut(..part.len()) {
                place.copy_from_slice(part);
            }
        });
        count
    }

    fn write(&self, put: &mut impl FnMut(&[u8])) {
        put_part(put, self.space.name);
        let is_https = match self.target.scheme() {
            Scheme::Http => 0,
            Scheme::Https => HTTPS,
        };
        let [high, low] = self.target.port().to_be_bytes();
        put(&[is_https | if self.query.is_some() { QUERY } else { 0 }, high, low]);
        put_part(put, self.target.name().as_bytes());
        put_part(put, self.target.path().as_bytes());
        if let Some(query) = &self.query {
            put_part(put, query.as_bytes());
        }
        if let Some(chosen) = &self.chosen {
            put_chosen(put, self.space.rules, chosen.headers);
            for lines in chosen.keyed.chunk_by(|one, other| one.name.eq_ignore_ascii_case(other.name)) {
                put_keyed(put, lines);
            }
        }
    }
}

/// Visits each header and cookie of the rules: the number of values, and each value.
fn put_chosen(put: &mut impl FnMut(&[u8]), rules: &KeyRules, headers: &Fields) {
    for name in &rules.headers {
        put_lines(put, headers, name);
    }
    for name in &rules.cookies {
        // All cookies of that name, because it is unknown which one a backend uses.
        put_number(put, cookie_values(headers, name).count());
        cookie_values(headers, name).for_each(|value| put_part(put, value));
    }
}

/// Visits the number of values of a field, and each value.
fn put_lines<'n>(put: &mut impl FnMut(&[u8]), headers: &Fields, name: impl Into<Name<'n>>) {
    let name = name.into();
    put_number(put, headers.values(name).count());
    headers.values(name).for_each(|value| put_part(put, value.trim_ascii()));
}

/// Visits the name of these lines in lower case, their number, and each value.
fn put_keyed(put: &mut impl FnMut(&[u8]), lines: &[Field<'_>]) {
    if let Some(first) = lines.first() {
        put_number(put, first.name.len());
        target_fields::lower_case(first.name).for_each(|byte| put(&[byte]));
    }
    put_number(put, lines.len());
    lines.iter().for_each(|line| put_part(put, line.value.trim_ascii()));
}

fn has_chosen(rules: &KeyRules, headers: &Fields) -> bool {
    rules.headers.iter().any(|name| headers.contains(name))
        || rules.cookies.iter().any(|name| cookie_values(headers, name).next().is_some())
}

/// The values of all cookies with this name, as written, including ones that are not text.
fn cookie_values<'h>(headers: &'h Fields, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.values(Known::Cookie).flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start();
        // Some backends read `c` alone as a cookie with an empty value, others as none, so it has a value of its own.
        if rest.is_empty() { Some(pair) } else { rest.strip_prefix(b"=").map(<[u8]>::trim_ascii) }
    })
}

/// Writes a part after its length.
fn put_part(put: &mut impl FnMut(&[u8]), part: &[u8]) {
    put_number(put, part.len());
    put(part);
}

/// Variable-length encoding: seven bits per byte, the lowest first; the eighth bit means that more follow.
fn put_number(put: &mut impl FnMut(&[u8]), mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return put(&[low]);
        }
        put(&[low | 0x80]);
    }
}

/// The parts of a key, not checked for UTF-8.
struct Raw<'a> {
    space: &'a [u8],
    scheme: Scheme,
    port: u16,
    host: &'a [u8],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    chosen: &'a [u8],
}

impl<'a> Raw<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = UnreadKey { bytes };
        let space = rest.part()?;
        let signs = *rest.take(1)?.first()?;
        let scheme = if signs & HTTPS == 0 { Scheme::Http } else { Scheme::Https };
        let port = u16::from_be_bytes(rest.take(2)?.try_into().ok()?);
        let (host, path) = (rest.part()?, rest.part()?);
        let query = if signs & QUERY == 0 { None } else { Some(rest.part()?) };
        Some(Self { space, scheme, port, host, path, query, chosen: rest.bytes })
    }
}

/// The unread rest of a key.
struct UnreadKey<'a> {
    bytes: &'a [u8],
}

impl<'a> UnreadKey<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        self.bytes.split_off(..count)
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::headers;
    use super::*;
    use crate::message::host::Host;
    use http::HeaderName;
    use proptest::prelude::*;

    fn target<'a>(scheme: Scheme, host: &'a str, path: &'a str, query: Option<&'a str>) -> Target<'a> {
        let host = Host::parse(host.as_bytes()).unwrap();
        Target::new(scheme, &host, Cow::Borrowed(path), query.map(Cow::Borrowed))
    }

    fn keyed(rules: &KeyRules, query: Option<&str>, fields: &[(&'static str, &'static str)]) -> Key {
        let target = target(Scheme::Https, "a", "/", query);
        Key::of_request(within(rules), &Method::GET, &target, &headers(fields), false).unwrap()
    }

    fn within(rules: &KeyRules) -> Space<'_> {
        Space { name: b"api", rules }
    }

    fn drops(patterns: &[&str], sort_query: bool) -> KeyRules {
        let drop_query = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        KeyRules { sort_query, drop_query, ..KeyRules::default() }
    }

    #[test]
    fn rfc9110_4_2_3_one_origin_written_in_several_ways_has_one_key() {
        let rules = KeyRules::default();
        let key = |target: &Target<'_>| Key::of_uri(within(&rules), target);
        let plain = key(&target(Scheme::Https, "shop.example", "/", None));
        for host in ["SHOP.example", "shop.example:443", "shop.example.", "shop.example:"] {
            assert_eq!(key(&target(Scheme::Https, host, "/", None)), plain, "{host}");
        }
        for host in ["shop.example:80", "shop.example:8443", "xshop.example"] {
            assert_ne!(key(&target(Scheme::Https, host, "/", None)), plain, "{host}");
        }
        assert_ne!(key(&target(Scheme::Http, "shop.example", "/", None)), plain);
        assert_ne!(key(&target(Scheme::Http, "shop.example:443", "/", None)), plain);
        assert_ne!(key(&target(Scheme::Https, "shop.example", "/A", None)), plain);
        assert_ne!(key(&target(Scheme::Https, "shop.example", "/", Some(""))), plain);
    }

    #[test]
    fn a_request_with_a_body_or_another_method_has_no_key() {
        let rules = KeyRules::default();
        let target = target(Scheme::Http, "a", "/", None);
        let of = |method: &Method, body| Key::of_request(within(&rules), method, &target, &Fields::new(), body);
        assert_eq!(of(&Method::GET, true), None);
        for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::from_bytes(b"QUERY").unwrap()] {
            assert_eq!(of(&method, false), None);
        }
        assert_eq!(of(&Method::GET, false), of(&Method::HEAD, false));
        assert!(of(&Method::GET, false).is_some());
    }

    #[test]
    fn without_rules_the_query_is_taken_as_written() {
        let rules = KeyRules::default();
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
    fn chosen_headers_and_cookies_are_told_apart_also_when_absent() {
        let names = vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
        let rules = KeyRules { headers: names, cookies: vec!["c".to_owned()], ..KeyRules::default() };
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
            assert!(one.bytes().starts_with(one.uri()));
            assert_eq!(one.has_choice(), at > 0);
        }
        assert_eq!(keyed(&rules, None, &[("cookie", "d=1"), ("x-c", "1")]), all[0]);
    }

    #[test]
    fn a_request_with_none_of_the_chosen_has_the_key_of_its_uri() {
        let rules = KeyRules { cookies: vec!["c".to_owned()], ..drops(&["gclid"], true) };
        let of_uri = Key::of_uri(within(&rules), &target(Scheme::Https, "a", "/", Some("b=2&gclid=1&a=1")));
        assert_eq!(keyed(&rules, Some("a=1&b=2"), &[("cookie", "d=1")]), of_uri);
        let chosen = keyed(&rules, Some("a=1&b=2"), &[("cookie", "c=1")]);
        assert_eq!((chosen.uri(), chosen.has_choice()), (of_uri.bytes(), true));
    }

    #[test]
    fn spaces_share_nothing() {
        let rules = KeyRules::default();
        let target = target(Scheme::Http, "a", "/", None);
        let [one, other] = [b"api".as_slice(), b""].map(|name| Key::of_uri(Space { name, rules: &rules }, &target));
        assert_ne!(one, other);
        assert!(!one.bytes().starts_with(other.bytes()) && !other.bytes().starts_with(one.bytes()));
    }

    #[test]
    fn lengths_of_more_than_one_byte_are_read_back() {
        for length in [1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let path = "/".repeat(length);
            let key = Key::of_uri(within(&KeyRules::default()), &target(Scheme::Http, "a", &path, None));
            assert_eq!(key.parts().unwrap().path, path, "{length}");
        }
    }

    #[test]
    fn a_key_is_written_for_people_by_its_parts() {
        let written = format!("{:?}", keyed(&KeyRules::default(), Some("b"), &[]));
        assert!(written.contains("host: \"a\"") && written.contains("query: Some(\"b\")"), "{written}");
    }

    type Uri = (String, String, Option<String>);

    fn uri() -> impl Strategy<Value = Uri> {
        ("[ab]{1,3}", "/[ab/]{0,3}", proptest::option::of("[ab&=]{0,3}"))
    }

    proptest! {
        #[test]
        fn different_uris_have_different_keys_and_none_begins_with_another(one in uri(), two in uri()) {
            let rules = KeyRules::default();
            let key = |(host, path, query): &Uri| {
                Key::of_uri(within(&rules), &target(Scheme::Http, host, path, query.as_deref()))
            };
            prop_assert_eq!(key(&one) == key(&two), one == two);
            prop_assert_eq!(key(&one).bytes().starts_with(key(&two).uri()), one == two);
        }

        #[test]
        fn a_key_gives_back_what_it_was_made_of(
            (host, path, query) in uri(),
            port: u16,
            space in proptest::collection::vec(any::<u8>(), 0..200),
            cookie in "(c=[ab]{0,3})?",
        ) {
            let rules = KeyRules { cookies: vec!["c".to_owned()], ..KeyRules::default() };
            let target = Target::of_normal(Scheme::Https, &host, Some(port), &path, query.as_deref());
            let fields = Fields::from_iter([("cookie", &cookie)]);
            let space = Space { name: &space, rules: &rules };
            let key = Key::of_request(space, &Method::GET, &target, &fields, false).unwrap();
            let (host, path, query) = (host.as_str(), path.as_str(), query.as_deref());
            let parts = KeyParts { space: space.name, scheme: Scheme::Https, host, port, path, query };
            prop_assert_eq!(key.parts(), Some(parts));
            prop_assert_eq!(key.has_choice(), !cookie.is_empty());
            let of_uri = Key::of_uri(space, &target);
            prop_assert_eq!(key.uri(), of_uri.bytes());
        }
    }
}
