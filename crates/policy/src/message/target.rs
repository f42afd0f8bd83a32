//! Normalizes the path of a request target for routing and forwarding (RFC 3986 §6.2.2).
//!
//! The caller handles length limits, `*` and the authority form. The query is checked but never changed.

use std::borrow::Cow;

/// Why a target is rejected: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The path does not begin with a slash.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// A byte that must be escaped: a control, a space, a backslash, `#`, `?` or anything beyond ASCII.
    #[error("target holds a byte that must be escaped")]
    Byte,
    /// A percent sign that is not followed by two hexadecimal digits.
    #[error("target holds a malformed percent escape")]
    Escape,
    /// `%00`.
    #[error("target holds an escaped NUL")]
    Nul,
    /// More `..` than preceding segments.
    #[error("path climbs above the root")]
    AboveRoot,
}

/// The path in normal form.
///
/// Escapes of unreserved characters are decoded, the digits of others converted to upper case; `.` and `..` segments
/// are removed, also escaped ones. `%2F` and `%5C` are unchanged (they are data, never separators), and so is `//`.
/// Borrowed if the path is normal already. Idempotent.
///
/// Source: RFC 3986 §5.2.4 and §6.2.2, stricter about `..` above the root.
///
/// # Errors
/// [`BadTarget`] → 400.
pub fn normal_path(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    read_path(path).map(|path| path.normal)
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath<'a> {
    /// In the form of [`normal_path`].
    pub normal: Cow<'a, str>,
    /// Whether the normal form contains `//`, so that [`merged`] changes it.
    pub has_slash_runs: bool,
}

/// Parses a path: [`normal_path`], with further results of the same scan.
///
/// # Errors
/// [`BadTarget`] → 400.
pub fn read_path(path: &str) -> Result<NormalPath<'_>, BadTarget> {
    if !path.starts_with('/') {
        return Err(BadTarget::NotAbsolute);
    }
    let rewritten = |normal: String| {
        // The segment between two slashes may have been removed.
        let has_slash_runs = normal.contains("//");
        NormalPath { normal: Cow::Owned(normal), has_slash_runs }
    };
    match survey(path.as_bytes())? {
        PathForm { escapes_normal: true, dots: false, slash_runs } => {
            Ok(NormalPath { normal: Cow::Borrowed(path), has_slash_runs: slash_runs })
        }
        PathForm { escapes_normal: true, dots: true, .. } => without_dots(path).map(rewritten),
        PathForm { escapes_normal: false, dots, .. } => {
            let decoded = with_normal_escapes(path);
            // A dot may have been escaped.
            let normal = if dots || has_dots(&decoded) { without_dots(&decoded)? } else { decoded };
            Ok(rewritten(normal))
        }
    }
}

/// The path with each run of slashes merged. Borrowed if there is none. `%2F` is data, and unchanged.
#[must_use]
pub fn merged(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    Cow::Owned(merged)
}

/// Rejects a query (without its `?`) with raw controls, spaces or bytes beyond ASCII; everything else is data.
///
/// # Errors
/// [`BadTarget::Byte`] → 400.
pub fn check_query(query: &str) -> Result<(), BadTarget> {
    if query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') { Ok(()) } else { Err(BadTarget::Byte) }
}

/// The result of scanning a path.
struct PathForm {
    escapes_normal: bool,
    dots: bool,
    slash_runs: bool,
}

/// What the current segment contains so far.
#[derive(Clone, Copy)]
enum PathSegment {
    Empty,
    Dot,
    DotDot,
    Other,
}

impl PathSegment {
    const fn is_dots(self) -> bool {
        matches!(self, Self::Dot | Self::DotDot)
    }
}

fn survey(path: &[u8]) -> Result<PathForm, BadTarget> {
    let mut form = PathForm { escapes_normal: true, dots: false, slash_runs: false };
    // No segment ends before the first slash.
    let mut segment = PathSegment::Other;
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        segment = match byte {
            b'/' => {
                form.dots |= segment.is_dots();
                form.slash_runs |= matches!(segment, PathSegment::Empty);
                PathSegment::Empty
            }
            b'.' => match segment {
                PathSegment::Empty => PathSegment::Dot,
                PathSegment::Dot => PathSegment::DotDot,
                PathSegment::DotDot | PathSegment::Other => PathSegment::Other,
            },
            b'%' => {
                let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { return Err(BadTarget::Escape) };
                let decoded = decode(high, low).ok_or(BadTarget::Escape)?;
                if decoded == 0 {
                    return Err(BadTarget::Nul);
                }
                let lower_case = high.is_ascii_lowercase() || low.is_ascii_lowercase();
                form.escapes_normal &= !lower_case && !is_unreserved(decoded);
                PathSegment::Other
            }
            b'\\' | b'#' | b'?' => return Err(BadTarget::Byte),
            _ if byte.is_ascii_graphic() => PathSegment::Other,
            _ => return Err(BadTarget::Byte),
        };
    }
    form.dots |= segment.is_dots();
    Ok(form)
}

/// Decodes escapes of unreserved characters and converts the others to upper case. The path has been scanned.
fn with_normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            normal.push(char::from(byte));
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { break };
        match decode(high, low).filter(|decoded| is_unreserved(*decoded)) {
            Some(decoded) => normal.push(char::from(decoded)),
            None => normal.extend(['%', char::from(high).to_ascii_uppercase(), char::from(low).to_ascii_uppercase()]),
        }
    }
    normal
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Removes dot segments. The path and the result begin with a slash.
fn without_dots(path: &str) -> Result<String, BadTarget> {
    let mut normal = String::with_capacity(path.len());
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => normal.truncate(normal.rfind('/').ok_or(BadTarget::AboveRoot)?),
            _ => normal.extend(["/", segment]),
        }
    }
    // `/a/..` ends in a directory, like `/a/../`.
    if ends_open {
        normal.push('/');
    }
    Ok(normal)
}

/// The byte of two hexadecimal digits.
pub(crate) fn decode(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Unreserved characters (RFC 3986 §2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_normal_path_is_borrowed() {
        for path in
            ["/", "/a/b", "/a//b", "//evil/x", "/.well-known/x", "/a..b/...", "/%2F%5C%C3%A4", "/a|b[1]", "/;v=1"]
        {
            assert!(matches!(normal_path(path), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn dot_segments_are_removed_also_when_escaped() {
        let cases = [
            ("/a/../b", "/b"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/.%2E/b", "/b"),
            ("/%2e", "/"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/a/b/c/./../../g", "/a/g"),
        ];
        for (path, normal) in cases {
            assert_eq!(normal_path(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn an_escaped_slash_stays_escaped_and_escapes_get_one_form() {
        for (path, normal) in
            [("/a%2fb", "/a%2Fb"), ("/%5c", "/%5C"), ("/%7euser/%41", "/~user/A"), ("/%252e%252e", "/%252e%252e")]
        {
            assert_eq!(normal_path(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn two_dots_above_the_root_are_refused() {
        for path in ["/..", "/../a", "/a/../..", "/%2e%2e", "/a/../../a", "/./.."] {
            assert_eq!(normal_path(path), Err(BadTarget::AboveRoot), "{path}");
        }
    }

    #[test]
    fn raw_bytes_backslashes_nul_and_fragments_are_refused() {
        for path in ["/\u{e4}", "/a\\b", "/a b", "/a\u{1}", "/a\u{7f}", "/a#b", "/a?b"] {
            assert_eq!(normal_path(path), Err(BadTarget::Byte), "{path}");
        }
        assert_eq!(normal_path("/%00"), Err(BadTarget::Nul));
        for path in ["/%", "/%4", "/%zz", "/%4z", "/a%+1"] {
            assert_eq!(normal_path(path), Err(BadTarget::Escape), "{path}");
        }
        for path in ["", "*", "a", "http://a/"] {
            assert_eq!(normal_path(path), Err(BadTarget::NotAbsolute), "{path}");
        }
    }

    #[test]
    fn a_query_is_data_but_for_raw_controls_and_bytes_past_ascii() {
        assert_eq!(check_query("a=b&c=%zz/../?\\\""), Ok(()));
        assert_eq!(check_query(""), Ok(()));
        for query in ["\u{e4}", "a\u{0}", "a b", "a\u{7f}", "a#b"] {
            assert_eq!(check_query(query), Err(BadTarget::Byte), "{query}");
        }
    }

    fn any_path() -> impl Strategy<Value = String> {
        let pieces = prop_oneof![
            Just("/"),
            Just("."),
            Just(".."),
            Just("%2e"),
            Just("%2E"),
            Just("%2f"),
            Just("%5c"),
            Just("a"),
            Just("%61"),
            Just("%25"),
            Just("%C3"),
            Just("~"),
            Just("/../"),
            Just("//"),
            Just(";")
        ];
        proptest::collection::vec(pieces, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    #[test]
    fn runs_of_slashes_are_seen_and_merged_after_dots_are_gone() {
        for (path, normal, match_path) in [
            ("//admin", "//admin", "/admin"),
            ("/x//../admin", "/x/admin", "/x/admin"),
            ("/x/..//admin", "//admin", "/admin"),
            ("/a/.//b", "/a//b", "/a/b"),
            ("/a//%2e%2e//b", "/a//b", "/a/b"),
            ("///", "///", "/"),
            ("/a//", "/a//", "/a/"),
            ("/%2f/admin", "/%2F/admin", "/%2F/admin"),
            ("/a/b/", "/a/b/", "/a/b/"),
            ("/", "/", "/"),
        ] {
            let read = read_path(path).unwrap();
            assert_eq!((&*read.normal, &*merged(&read.normal)), (normal, match_path), "{path}");
            assert_eq!(read.has_slash_runs, normal != match_path, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_merged_path_holds_no_run_and_is_still_normal(path in any_path()) {
            if let Ok(read) = read_path(&path) {
                let merged = merged(&read.normal).into_owned();
                let again = normal_path(&merged);
                prop_assert!(!merged.contains("//"));
                prop_assert_eq!(read.has_slash_runs, merged != read.normal);
                prop_assert_eq!(again.as_deref(), Ok(merged.as_str()));
            }
        }

        #[test]
        fn the_normal_form_of_a_normal_form_is_itself(path in any_path()) {
            if let Ok(normal) = normal_path(&path) {
                prop_assert!(matches!(normal_path(&normal), Ok(Cow::Borrowed(same)) if same == normal));
            }
        }

        #[test]
        fn a_normal_form_never_holds_a_dot_segment(path in any_path()) {
            if let Ok(normal) = normal_path(&path) {
                prop_assert!(normal.starts_with('/'));
                prop_assert!(!has_dots(&normal), "{}", normal);
                prop_assert!(!normal.to_ascii_lowercase().contains("%2e"));
            }
        }

        #[test]
        fn any_text_is_refused_or_gets_a_normal_form(path in "/?\\PC{0,40}") {
            if let Ok(normal) = normal_path(&path) {
                prop_assert!(normal.is_ascii());
            }
        }
    }
}
