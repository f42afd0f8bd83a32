//! Rewrites the path for the backend.

use std::borrow::Cow;

/// Removes the prefix `strip` from the path and adds the prefix `add`, both by whole segments.
///
/// `strip` has no effect if the path does not begin with it; a final slash of either does not matter. With
/// `merges_slashes`, a run of slashes in the path counts as one when `strip` is compared; the rest of the path keeps
/// its runs. The result always begins with a slash. Borrowed if nothing is added.
#[must_use]
pub fn path<'a>(strip: Option<&str>, add: Option<&str>, path: &'a str, merges_slashes: bool) -> Cow<'a, str> {
    let without = if merges_slashes { without_merged } else { without };
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

/// The rest after these segments; `None` if the path does not begin with them.
fn without<'a>(path: &'a str, segments: &str) -> Option<&'a str> {
    path.strip_prefix(segments).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The same, where each slash of `segments` matches one or more in the path.
fn without_merged<'a>(path: &'a str, segments: &str) -> Option<&'a str> {
    let mut rest = path;
    for segment in segments.split('/').skip(1) {
        rest = rest.strip_prefix('/')?.trim_start_matches('/').strip_prefix(segment)?;
    }
    Some(rest).filter(|rest| rest.is_empty() || rest.starts_with('/'))
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
            assert_eq!(path(Some(strip), None, from, false), to, "{strip} {from}");
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
            assert_eq!(path(strip, Some(add), from, false), to, "{strip:?} {add} {from}");
        }
    }

    #[test]
    fn a_run_of_slashes_counts_as_one_where_a_prefix_is_stripped() {
        for (strip, from, to) in [
            ("/api", "//api//x", "//x"),
            ("/api", "//api", "/"),
            ("/api/v1", "/api///v1/x//y", "/x//y"),
            ("/api", "//apix", "//apix"),
            ("/api", "/x//api", "/x//api"),
            ("/", "//x", "//x"),
        ] {
            assert_eq!(path(Some(strip), None, from, true), to, "{strip} {from}");
        }
        assert_eq!(path(Some("/api"), None, "//api//x", false), "//api//x");
    }

    #[test]
    fn an_untouched_path_is_borrowed() {
        assert!(matches!(path(None, None, "/a/b", false), Cow::Borrowed("/a/b")));
        assert!(matches!(path(Some("/a"), None, "/a/b", false), Cow::Borrowed("/b")));
    }

    proptest! {
        #[test]
        fn the_result_begins_with_a_slash(
            strip in proptest::option::of("/?[a/]{0,4}"),
            add in proptest::option::of("/?[b/]{0,4}"),
            from in "/?[a/]{0,8}",
            merges: bool,
        ) {
            prop_assert!(path(strip.as_deref(), add.as_deref(), &from, merges).starts_with('/'));
        }
    }
}
