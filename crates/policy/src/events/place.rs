//! URLs and URL prefixes that an event invalidates.
//!
//! A value from the event cannot leave the path segment or query parameter in which the template puts it. Whether a
//! response is stored under the URL is decided elsewhere.

use crate::cache::key::Scheme;
use crate::message::host::Host;
use crate::message::target::{check_query, normal_path};

use super::errors::{BadEventTemplate, BadPlace, Unfit};
use super::event::Event;
use super::template::EventTemplate;

/// The longest path, and the longest query, that an event can name, in bytes.
pub const PLACE_BYTES_MAX: usize = 8192;

/// Characters allowed unescaped in a path segment, besides letters and digits (RFC 3986 §3.3).
const SEGMENT: &[u8] = b"-._~!$&'()*+,;=:@";
/// Characters allowed unescaped in the value of a query parameter; `&`, `;`, `=` and `+` have a meaning there.
const PARAMETER: &[u8] = b"-._~!$'()*,:@";
/// Characters that never need escaping (RFC 3986 §2.3), which cautious clients leave as they are.
const UNRESERVED: &[u8] = b"-._~";

/// A URL or URL prefix, in the normal form of cache keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    /// The host; `None`: every host. Applies to both schemes.
    pub authority: Option<Authority>,
    /// The path, or its prefix.
    pub path: String,
    /// The query, without its `?`.
    pub query: Option<String>,
}

/// A host, and a port if it is not the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In lower case, without a trailing dot. An IPv6 address keeps its brackets.
    pub name: Box<str>,
    /// `None`: the default port of the scheme.
    pub port: Option<u16>,
}

/// A template for URLs: `/api/orders/{aggregate_id}`, `https://shop.example.com/users/{data.user_id}?full=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceTemplate {
    authority: Option<Authority>,
    path: EventTemplate,
    query: Option<EventTemplate>,
}

impl PlaceTemplate {
    /// Parses a complete URL, or a path and query, which then apply to every host.
    ///
    /// # Errors
    /// [`BadEventTemplate`], reported with the configuration.
    pub fn url(text: &str) -> Result<Self, BadEventTemplate> {
        let (authority, rest) = split_authority(text)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let path = EventTemplate::parse_within(path, PLACE_BYTES_MAX)?;
        // Every value behaves like this one: it is escaped, not empty, and no dot segment.
        let sample = path.with_each_field_as("x");
        normal_path(&sample).map_err(BadPlace::from)?;
        if has_dots(&sample) {
            return Err(BadPlace::Dots.into());
        }
        let query = match query {
            Some("") | None => None,
            Some(query) => Some(EventTemplate::parse_within(query, PLACE_BYTES_MAX)?),
        };
        if let Some(query) = &query {
            check_query(&query.with_each_field_as("x")).map_err(BadPlace::from)?;
        }
        Ok(Self { authority, path, query })
    }

    /// Parses a URL prefix: a path, with or without a host.
    ///
    /// # Errors
    /// [`BadEventTemplate`], reported with the configuration.
    pub fn prefix(text: &str) -> Result<Self, BadEventTemplate> {
        if text.contains('?') { Err(BadPlace::PrefixWithQuery.into()) } else { Self::url(text) }
    }

    /// The URLs for an event. There are two if clients may write a value in two ways: with `:`, `@` and the like
    /// unescaped (allowed by RFC 3986 §3.3) or escaped (as `encodeURIComponent` does), because these have different
    /// cache keys.
    ///
    /// # Errors
    /// [`Unfit`] → 422.
    pub fn fill(&self, event: &Event) -> Result<Vec<UrlPattern>, Unfit> {
        let plain = self.fill_with(event, SEGMENT, PARAMETER)?;
        let cautious = self.fill_with(event, UNRESERVED, UNRESERVED)?;
        Ok(if plain == cautious { vec![plain] } else { vec![plain, cautious] })
    }

    fn fill_with(&self, event: &Event, in_path: &[u8], in_query: &[u8]) -> Result<UrlPattern, Unfit> {
        let escape = |kept| move |value: &str, into: &mut String| escape(value, kept, into);
        let no_url = || Unfit::NoUrl { template: self.path.with_each_field_as("{…}").into() };
        let path = self.path.fill_escaped(event, PLACE_BYTES_MAX, escape(in_path))?;
        if has_dots(&path) {
            return Err(no_url());
        }
        let path = normal_path(&path).map_err(|_| no_url())?.into_owned();
        let query = self.query.as_ref().map(|query| query.fill_escaped(event, PLACE_BYTES_MAX, escape(in_query)));
        Ok(UrlPattern { authority: self.authority.clone(), path, query: query.transpose()? })
    }
}

/// Splits `http://host/path`; a text that starts with a slash has no host.
fn split_authority(text: &str) -> Result<(Option<Authority>, &str), BadPlace> {
    if text.starts_with('/') {
        return Ok((None, text));
    }
    let (scheme, rest) = text.split_once("://").ok_or(BadPlace::NotAbsolute)?;
    let scheme = Scheme::parse(scheme).ok_or(BadPlace::NotAbsolute)?;
    let slash = rest.find('/').ok_or(BadPlace::NotAbsolute)?;
    let (authority, path) = rest.split_at_checked(slash).ok_or(BadPlace::NotAbsolute)?;
    if authority.contains(['{', '}']) {
        return Err(BadPlace::HostWithField);
    }
    let host = Host::parse(authority.as_bytes())?;
    let port = host.port().filter(|port| *port != scheme.default_port());
    Ok((Some(Authority { name: host.normal().into(), port }), path))
}

/// Whether a segment is `.` or `..`, escaped or not.
fn has_dots(path: &str) -> bool {
    let is_dots = |segment: &str| segment.len() <= "%2e%2e".len() && matches!(plain_dots(segment).as_str(), "." | "..");
    path.split('/').any(is_dots)
}

fn plain_dots(segment: &str) -> String {
    segment.replace("%2e", ".").replace("%2E", ".")
}

/// Percent-encodes every byte of a value except letters, digits and those in `kept`.
fn escape(value: &str, kept: &[u8], into: &mut String) {
    /// Hexadecimal digits of escapes, in upper case (RFC 3986 §2.1).
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.extend(['%', digit(byte >> 4), digit(byte & 0xF)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::JsonValue;
    use super::*;
    use proptest::prelude::*;

    fn fill(template: &str, value: &str) -> Result<Vec<UrlPattern>, Unfit> {
        let event = Event { kind: "T".into(), subject: Some(value.into()), data: JsonValue::Text(value.to_owned()) };
        PlaceTemplate::url(template).unwrap().fill(&event)
    }

    fn paths(template: &str, value: &str) -> Vec<String> {
        fill(template, value).unwrap().into_iter().map(|place| place.path).collect()
    }

    #[test]
    fn a_value_fills_a_segment() {
        for (value, expected) in [
            ("7", &["/users/7"][..]),
            ("a b", &["/users/a%20b"]),
            ("é", &["/users/%C3%A9"]),
            ("a/b", &["/users/a%2Fb"]),
            ("../admin", &["/users/..%2Fadmin"]),
            ("?x=1#y", &["/users/%3Fx=1%23y", "/users/%3Fx%3D1%23y"]),
            ("%2e%2e", &["/users/%252e%252e"]),
            ("a@b:c", &["/users/a@b:c", "/users/a%40b%3Ac"]),
        ] {
            assert_eq!(paths("/users/{data}", value), expected, "{value}");
        }
    }

    #[test]
    fn a_value_can_not_climb() {
        for (template, value) in [
            ("/users/{data}", ".."),
            ("/users/{data}", "."),
            ("/users/{data}/x", ".."),
            ("/users/.{data}", "."),
            ("/users/%2e{data}/x", "."),
            ("/users/{data}{subject}", "."),
            ("/users/{data}", "a\u{0}"),
        ] {
            assert!(matches!(fill(template, value), Err(Unfit::NoUrl { .. })), "{template} {value}");
        }
        let unfit = fill("/users/{data}/x", "..").unwrap_err().to_string();
        assert_eq!(unfit, "/users/{…}/x makes no URL: a value would be a . or .. segment, or holds a NUL");
    }

    #[test]
    fn a_value_stays_within_its_parameter() {
        let places = fill("/search?q={data}&full=1", "a&b=c+d @").unwrap();
        let queries: Vec<_> = places.iter().filter_map(|place| place.query.as_deref()).collect();
        assert_eq!(queries, ["q=a%26b%3Dc%2Bd%20@&full=1", "q=a%26b%3Dc%2Bd%20%40&full=1"]);
        assert_eq!(fill("/search?", "x").unwrap()[0].query, None);
    }

    #[test]
    fn a_host_is_read_in_its_normal_form() {
        for (template, name, port) in [
            ("https://Shop.Example.COM./a", "shop.example.com", None),
            ("https://shop.example.com:443/a", "shop.example.com", None),
            ("http://shop.example.com:8080/a", "shop.example.com", Some(8080)),
            ("HTTP://[::1]:80/a", "[::1]", None),
        ] {
            let place = fill(template, "x").unwrap().remove(0);
            assert_eq!(place.authority, Some(Authority { name: name.into(), port }), "{template}");
            assert_eq!(place.path, "/a");
        }
        assert_eq!(fill("/a", "x").unwrap()[0].authority, None);
    }

    #[test]
    fn what_makes_no_url_is_told() {
        for (text, expected) in [
            ("", "is no URL with a path; it starts with /, http:// or https://"),
            ("api/orders", "is no URL with a path; it starts with /, http:// or https://"),
            ("ftp://a/x", "is no URL with a path; it starts with /, http:// or https://"),
            ("http://a", "is no URL with a path; it starts with /, http:// or https://"),
            ("http://{data.host}/x", "has a host with braces; only the path and the query take values"),
            ("http:///x", "has no valid host: host is empty"),
            ("/a b", "has no valid path or query: target holds a byte that must be escaped"),
            ("/a#b", "has no valid path or query: target holds a byte that must be escaped"),
            ("/a?b#c", "has no valid path or query: target holds a byte that must be escaped"),
            ("/a%2{data}", "has no valid path or query: target holds a malformed percent escape"),
            ("/a/../b", "has a . or .. segment"),
            ("/a/%2E%2e/{data}", "has a . or .. segment"),
            ("/{user}", "names \"user\"; known are type, aggregate_id, subject and data.…"),
        ] {
            assert_eq!(PlaceTemplate::url(text).unwrap_err().to_string(), expected, "{text}");
        }
        let refused = PlaceTemplate::prefix("/a?b").unwrap_err();
        assert_eq!(refused, BadEventTemplate::Place(BadPlace::PrefixWithQuery));
    }

    proptest! {
        #[test]
        fn a_value_never_leaves_its_segment(value in "(?s).{1,30}") {
            for place in fill("/a/{data}/b", &value).unwrap_or_default() {
                let inner = place.path.strip_prefix("/a/").and_then(|rest| rest.strip_suffix("/b"));
                prop_assert!(inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['/', '?', '#'])));
                prop_assert_eq!(normal_path(&place.path), Ok(place.path.as_str().into()));
            }
        }

        #[test]
        fn a_value_never_leaves_its_parameter(value in "(?s).{1,30}") {
            for place in fill("/a?x={data}&y=1", &value).unwrap_or_default() {
                let query = place.query.unwrap_or_default();
                prop_assert!(query.split('&').count() == 2 && query.ends_with("&y=1"));
                prop_assert!(check_query(&query).is_ok());
            }
        }

        #[test]
        fn only_dots_and_nul_are_refused(value in "(?s).{1,30}") {
            let refused = value == "." || value == ".." || value.contains('\u{0}');
            prop_assert_eq!(fill("/a/{data}", &value).is_err(), refused);
        }

        #[test]
        fn no_text_panics(text in "[a-z:/?#.%2{}é]{0,30}", value in "(?s).{0,10}") {
            if let Ok(template) = PlaceTemplate::url(&text) {
                let event = Event { kind: "T".into(), subject: None, data: JsonValue::Text(value) };
                let _ = template.fill(&event);
            }
        }
    }
}
