//! What a path becomes on its way to the backend.

use std::borrow::Cow;

/// The path without `strip` at its front and then with `add` there, both by whole segments.
///
/// `strip` is left alone where the path does not begin with it; a final slash of either makes no difference. The result
/// always begins with a slash. Borrowed if nothing is added.
#[must_use]
pub fn path<'a>(strip: Option<&str>, add: Option<&str>, path: &'a str) -> Cow<'a, str> {
    let rest = strip.and_then(|strip| without(path, strip.trim_end_matches('/'))).unwrap_or(path);
    let front = add.map_or("", |add| add.trim_end_matches('/'));
    let slash = |text: &str| if text.starts_with('/') { "" } else { "/" };
    match (front.is_empty(), rest.is_empty()) {
        (true, true) => Cow::Borrowed("/"),
        (true, false) if rest.starts_with('/') => Cow::Borrowed(rest),
        (true, false) => Cow::Owned(["/", rest].concat()),
        (false, true) => Cow::Owned([slash(front), front].concat()),
        (false, false) => Cow::Owned([slash(front), front, slash(rest), rest].concat()),
    }
}

/// What follows these segments; `None` if the path does not begin with them as a whole.
fn without<'a>(path: &'a str, segments: &str) -> Option<&'a str> {
    path.strip_prefix(segments).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_is_stripped_by_whole_segments() {
        for (strip, from, to) in [
            ("/api", "/api/x", "/x"),
            ("/api/", "/api/x", "/x"),
            ("/api", "/api", "/"),
            ("/api", "/api/", "/"),
            ("/api", "/apix", "/apix"),
            ("/api", "/x/api", "/x/api"),
            ("/", "/x", "/x"),
        ] {
            assert_eq!(path(Some(strip), None, from), to, "{strip} {from}");
        }
    }

    #[test]
    fn a_prefix_is_added_after_stripping() {
        for (strip, add, from, to) in [
            (None, "/v2", "/x", "/v2/x"),
            (None, "/v2/", "/", "/v2/"),
            (Some("/api"), "/v2", "/api", "/v2"),
            (Some("/api"), "/v2", "/api/x", "/v2/x"),
            (Some("/api"), "v2", "/other", "/v2/other"),
            (None, "/", "/x", "/x"),
            (None, "/v2", "x", "/v2/x"),
        ] {
            assert_eq!(path(strip, Some(add), from), to, "{strip:?} {add} {from}");
        }
    }

    #[test]
    fn an_untouched_path_is_borrowed() {
        assert!(matches!(path(None, None, "/a/b"), Cow::Borrowed("/a/b")));
        assert!(matches!(path(Some("/a"), None, "/a/b"), Cow::Borrowed("/b")));
    }

    proptest! {
        #[test]
        fn the_result_begins_with_a_slash(
            strip in proptest::option::of("/?[a/]{0,4}"),
            add in proptest::option::of("/?[b/]{0,4}"),
            from in "/?[a/]{0,8}",
        ) {
            prop_assert!(path(strip.as_deref(), add.as_deref(), &from).starts_with('/'));
        }
    }
}
