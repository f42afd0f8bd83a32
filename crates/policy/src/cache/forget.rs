//! What a write makes the cache forget (RFC 9111 §4.4).
//!
//! Answers with the URIs; to find and remove what is stored for them is the caller's business, as is whether the answer
//! came from a backend. `Key::of_uri` turns a URI into what its keys have in common.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use super::key::{Scheme, Target};
use crate::message::host::Host;
use crate::message::target::{check_query, normal_path};

/// The URIs to forget after a backend gave this answer to a request for `target`: the target itself, and what
/// `Location` and `Content-Location` name, where they are of the same origin. At most three, each once.
///
/// Empty if the method is safe, or the answer is an error (neither 2xx nor 3xx).
///
/// Source: RFC 9111 §4.4. Methods whose safety is not known count as unsafe.
#[must_use]
pub fn forgotten(
    method: &Method,
    target: &Target<'_>,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Target<'static>> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut all = vec![target.clone().into_owned()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = response.get(name).and_then(|value| value.to_str().ok());
        let Some(named) = reference.and_then(|reference| resolve(target, reference)) else { continue };
        // Another origin's entries are not this one's to remove.
        if named.has_same_origin(target) && !all.contains(&named) {
            all.push(named);
        }
    }
    all
}

/// Whether a method is known to change nothing (RFC 9110 §9.2.1 and the registry of §16.1). `CONNECT` opens a tunnel:
/// what happens inside has no target URI that a cache could know.
fn is_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "CONNECT" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// The URI that a reference names, seen from `base`, in normal form and without its fragment. `None` if it is malformed or
/// of a scheme that is not HTTP's.
///
/// Source: RFC 3986 §5.2. More `..` than there are segments end at the root, as §5.4.2 wants.
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

/// The scheme before the first colon, if one stands there (RFC 3986 §3.1).
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let holds = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (begins && scheme.bytes().all(holds)).then_some((scheme, rest))
}

/// RFC 3986 §5.2.4, then the form that requests' paths have. The path begins with a slash.
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
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn base() -> Target<'static> {
        let host = Host::parse(b"a").unwrap();
        Target::new(Scheme::Http, &host, "/b/c/d;p".into(), Some("q".into()))
    }

    fn written(method: &str, status: u16, fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        forgotten(&method, &base(), status, &headers).iter().map(ToString::to_string).collect()
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
