//! Selects the URIs that a write invalidates (RFC 9111 §4.4).
//!
//! The caller finds and removes the stored responses, and makes sure that the response came from a backend.
//! `Key::of_uri` returns the common part of a URI's keys.

use http::{Method, StatusCode};
use message::{Fields, Known};

use super::key::{Scheme, Target};
use crate::message::host::Host;
use crate::message::target::{check_query, normal_path};

/// The URIs to invalidate after this response to a request for `target`: the target itself, and the URIs in `Location`
/// and `Content-Location` if they have the same origin. At most three, without duplicates.
///
/// Empty if the method is safe, or the response is an error (neither 2xx nor 3xx).
///
/// Source: RFC 9111 §4.4. Unknown methods count as unsafe.
#[must_use]
pub fn invalidated(
    method: &Method,
    target: &Target<'_>,
    status: StatusCode,
    response: &Fields,
) -> Vec<Target<'static>> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut all = vec![target.clone().into_owned()];
    for name in [Known::Location, Known::ContentLocation] {
        let reference = response.first(name).filter(|value| value.is_ascii());
        let reference = reference.and_then(|value| std::str::from_utf8(value).ok());
        let Some(named) = reference.and_then(|reference| resolve(target, reference)) else { continue };
        // Entries of another origin must not be invalidated.
        if named.has_same_origin(target) && !all.contains(&named) {
            all.push(named);
        }
    }
    all
}

/// The URIs besides its target that a request can change. Known before it is sent; to be invalidated when it has
/// succeeded, or if its outcome is unknown. Empty for most requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidatedTargets {
    /// The destination of a COPY or MOVE, if it has the same origin.
    pub destination: Option<Target<'static>>,
    /// Collections whose members change: all URIs of this origin whose path has this one's as a prefix; it ends with a
    /// slash. At most two.
    pub collections: Vec<Target<'static>>,
}

impl InvalidatedTargets {
    /// What COPY, MOVE and DELETE can change (RFC 4918 §9.6, §9.8, §9.9).
    ///
    /// They apply to a collection if the request has `Depth`, or if the path of the target or destination ends with a
    /// slash. A plain `DELETE /users` applies to one resource.
    #[must_use]
    pub fn of(method: &Method, target: &Target<'_>, request: &Fields) -> Self {
        let is_transfer = matches!(method.as_str(), "COPY" | "MOVE");
        if !is_transfer && *method != Method::DELETE {
            return Self::default();
        }
        let destination =
            request.first("destination").filter(|_| is_transfer).and_then(|named| destination(target, named));
        let paths = [Some(target.path()), destination.as_ref().map(Target::path)];
        let is_collection = request.contains("depth") || paths.iter().flatten().any(|path| path.ends_with('/'));
        let members = |path: &str| target.beside(format!("{}/", path.strip_suffix('/').unwrap_or(path)), None);
        let collections = if is_collection { paths.into_iter().flatten().map(members).collect() } else { Vec::new() };
        Self { destination, collections }
    }
}

/// The target in `Destination`, if it has the same origin. Behind an untrusted proxy that terminates TLS, a client's
/// `https` URI belongs to an origin that is known here as `http`: it is accepted if both have the default port of their
/// scheme.
fn destination(target: &Target<'_>, named: &[u8]) -> Option<Target<'static>> {
    use std::fmt::Write as _;
    let mut reference = String::with_capacity(named.len());
    for byte in named {
        match byte {
            0x21..=0x7e => reference.push(char::from(*byte)),
            // Some clients do not encode these bytes.
            _ => drop(write!(reference, "%{byte:02X}")),
        }
    }
    let named = resolve(target, &reference)?;
    let has_own_port = |one: &Target<'_>| one.port() == one.scheme().default_port();
    let is_own = named.name() == target.name() && has_own_port(&named) && has_own_port(target);
    if !is_own && !named.has_same_origin(target) {
        return None;
    }
    Some(target.beside(named.path().to_owned(), named.query().map(str::to_owned)))
}

/// Whether a method is known to be safe (RFC 9110 §9.2.1 and the registry of §16.1). `CONNECT` opens a tunnel, whose
/// content has no target URI that a cache could know.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "CONNECT" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// Resolves a reference against `base`, in normal form and without its fragment. `None` if it is malformed or its
/// scheme is not HTTP's.
///
/// Source: RFC 3986 §5.2. Excess `..` end at the root (§5.4.2).
#[must_use]
pub fn resolve(base: &Target<'_>, reference: &str) -> Option<Target<'static>> {
    let reference = reference.trim();
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    let (scheme, rest) = match split_scheme(reference) {
        Some((scheme, rest)) => (Some(Scheme::parse(scheme)?), rest),
        None => (None, reference),
    };
    let (hierarchy, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    check_query(query.unwrap_or_default()).ok()?;
    let owned_query = query.map(str::to_owned);
    if let Some(rest) = hierarchy.strip_prefix("//") {
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let host = Host::parse(authority.as_bytes()).ok()?;
        let path = path_without_dots(if path.is_empty() { "/" } else { path })?;
        let scheme = scheme.unwrap_or(base.scheme());
        return Some(Target::new(scheme, &host, path.into(), owned_query.map(Into::into)).into_owned());
    }
    if scheme.is_some() {
        // An http URI without an authority is invalid (RFC 9110 §4.2.1).
        return None;
    }
    if hierarchy.is_empty() {
        let query = owned_query.or_else(|| base.query().map(str::to_owned));
        return Some(base.beside(base.path().to_owned(), query));
    }
    let path = if hierarchy.starts_with('/') {
        path_without_dots(hierarchy)?
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        path_without_dots(&format!("{directory}/{hierarchy}"))?
    };
    Some(base.beside(path, owned_query))
}

/// The scheme before the first colon, if there is one (RFC 3986 §3.1).
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let holds = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (begins && scheme.bytes().all(holds)).then_some((scheme, rest))
}

/// Removes dot segments (RFC 3986 §5.2.4), then normalizes like the path of a request. The path begins with a slash.
fn path_without_dots(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    if ends_open {
        kept.push("");
    }
    normal_path(&format!("/{}", kept.join("/"))).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Target<'static> {
        let host = Host::parse(b"a").unwrap();
        Target::new(Scheme::Http, &host, "/b/c/d;p".into(), Some("q".into()))
    }

    fn written(method: &str, status: u16, fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers: Fields = fields.iter().copied().collect();
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(&method, &base(), status, &headers).iter().map(ToString::to_string).collect()
    }

    const SELF: &str = "http://a/b/c/d;p?q";

    #[test]
    fn rfc9111_4_4_unsafe_and_unknown_methods_forget_their_target() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE", "FOO", "get", "MKCOL"] {
            assert_eq!(written(method, 200, &[]), [SELF], "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "REPORT", "SEARCH"] {
            assert!(written(method, 200, &[("location", "/x")]).is_empty(), "{method}");
        }
    }

    #[test]
    fn rfc9111_4_4_only_an_answer_without_error_forgets() {
        for status in [200, 201, 204, 299, 301, 303, 399] {
            assert_eq!(written("POST", status, &[]), [SELF], "{status}");
        }
        for status in [100, 101, 400, 404, 412, 500, 599] {
            assert!(written("POST", status, &[("location", "/x")]).is_empty(), "{status}");
        }
    }

    #[test]
    fn rfc9111_4_4_location_and_content_location_of_the_same_origin_are_forgotten() {
        let fields = [("location", "/x"), ("content-location", "http://A:80/y?z#f")];
        assert_eq!(written("PUT", 201, &fields), [SELF, "http://a/x", "http://a/y?z"]);
        assert_eq!(written("PUT", 201, &[("location", ""), ("content-location", "d;p?q")]), [SELF]);
    }

    #[test]
    fn rfc9111_4_4_another_origin_is_left_alone() {
        for other in ["https://a/x", "http://b/x", "http://a:81/x", "//b/x", "ftp://a/x", "http://a@b/x", "http:x"] {
            assert_eq!(written("POST", 200, &[("location", other), ("content-location", other)]), [SELF], "{other}");
        }
    }

    /// The reach of a request to this path: its destination and its collections.
    fn reach(
        method: &str,
        path: &'static str,
        fields: &[(&'static str, &'static str)],
    ) -> (Option<String>, Vec<String>) {
        let target = Target::new(Scheme::Http, &Host::parse(b"a").unwrap(), path.into(), None);
        let headers: Fields = fields.iter().copied().collect();
        let reach = InvalidatedTargets::of(&Method::from_bytes(method.as_bytes()).unwrap(), &target, &headers);
        (reach.destination.map(|one| one.to_string()), reach.collections.iter().map(ToString::to_string).collect())
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn rfc4918_9_8_and_9_9_copy_and_move_reach_a_destination_of_the_same_origin() {
        for (named, expected) in [
            ("/c", "http://a/c"),
            ("http://A:80/x/../c%7e?q#f", "http://a/c~?q"),
            ("https://a/c", "http://a/c"),
            ("https://a:443/c", "http://a/c"),
            ("//a/c", "http://a/c"),
            ("/ü c", "http://a/%C3%BC%20c"),
        ] {
            for method in ["COPY", "MOVE"] {
                assert_eq!(reach(method, "/e", &[("destination", named)]), (Some(expected.into()), vec![]), "{named}");
            }
            assert_eq!(reach("DELETE", "/e", &[("destination", named)]), (None, vec![]), "{named}");
            assert_eq!(reach("PUT", "/e", &[("destination", named)]), (None, vec![]), "{named}");
        }
        for other in
            ["http://b/c", "http://a:81/c", "https://a:80/c", "https://a:8443/c", "ftp://a/c", "/%zz", "http:c"]
        {
            assert_eq!(reach("MOVE", "/e", &[("destination", other)]), (None, vec![]), "{other}");
        }
    }

    #[test]
    fn rfc4918_9_6_collections_are_told_by_a_slash_or_by_depth() {
        let (depth, to) = (("depth", "infinity"), |named| ("destination", named));
        assert_eq!(reach("DELETE", "/users", &[]), (None, vec![]));
        assert_eq!(reach("DELETE", "/d/", &[]).1, texts(&["http://a/d/"]));
        assert_eq!(reach("DELETE", "/d", &[depth]).1, texts(&["http://a/d/"]));
        assert_eq!(reach("DELETE", "/", &[]).1, texts(&["http://a/"]));
        for (path, named) in [("/d/", "/e"), ("/d", "/e/"), ("/d/", "/e/")] {
            assert_eq!(reach("MOVE", path, &[to(named)]).1, texts(&["http://a/d/", "http://a/e/"]), "{path} {named}");
        }
        assert_eq!(reach("COPY", "/d", &[to("/e"), depth]).1, texts(&["http://a/d/", "http://a/e/"]));
        assert_eq!(reach("MOVE", "/d/", &[to("http://b/e/")]), (None, texts(&["http://a/d/"])));
        for method in ["PUT", "POST", "PATCH", "PROPPATCH", "MKCOL", "LOCK", "UNLOCK", "GET", "PROPFIND"] {
            assert_eq!(reach(method, "/d/", &[depth]), (None, vec![]), "{method}");
        }
    }

    #[test]
    fn rfc3986_5_4_1_the_normal_examples() {
        let cases = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
        ];
        for (reference, expected) in cases {
            assert_eq!(resolve(&base(), reference).unwrap().to_string(), expected, "{reference}");
        }
    }

    #[test]
    fn rfc3986_5_4_2_the_abnormal_examples() {
        let cases = [
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("HTTP://A/%7e%2f", "http://a/~%2F"),
        ];
        for (reference, expected) in cases {
            assert_eq!(resolve(&base(), reference).unwrap().to_string(), expected, "{reference}");
        }
        for bad in ["http:g", "mailto:x", "//", "//a b/", "/a b", "/%zz", "/x?a b", "http://[::1/"] {
            assert_eq!(resolve(&base(), bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_reference_is_survived_and_what_it_names_resolves_to_itself(reference in "[a-c:/.?#%@\\[\\]-]{0,24}") {
            if let Some(named) = resolve(&base(), &reference) {
                prop_assert_eq!(resolve(&base(), &named.to_string()), Some(named));
            }
        }
    }
}
