//! The cookies of a request (RFC 6265 §4.2).

use std::ops::Range;

use message::{Fields, Known};

/// The value of the first cookie with this name, as written, over all `Cookie` lines. Names are case-sensitive.
///
/// `None` also for a value that is not ASCII.
#[must_use]
pub fn find<'a>(headers: &'a Fields, name: &str) -> Option<&'a str> {
    text(pairs(headers, name).next()?)
}

/// Calls `cut` with the range of each cookie with this name in a `Cookie` line, including the semicolon that becomes
/// superfluous. `visit` gets the value of each, as written, unless it is not ASCII.
///
/// There may be several: of another path or domain, or set by another server.
pub fn cuts(line: &[u8], name: &str, mut visit: impl FnMut(&[u8]), cut: &mut dyn FnMut(Range<usize>)) {
    let (mut start, mut is_first) = (0, true);
    for pair in split(line) {
        let end = start + pair.len();
        if let Some(value) = value(pair, name) {
            if value.is_ascii() {
                visit(value);
            }
            cut(if is_first { start..line.len().min(end + 1) } else { start.saturating_sub(1)..end });
        } else {
            is_first = false;
        }
        start = end + 1;
    }
}

fn pairs<'a>(headers: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.values(Known::Cookie).flat_map(split).filter_map(move |pair| value(pair, name))
}

/// The cookie pairs of a line, split at semicolons.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let parted = memchr::memchr(b';', line).and_then(|end| line.split_at_checked(end));
        rest = parted.and_then(|(_, behind)| behind.get(1..));
        Some(parted.map_or(line, |(pair, _)| pair))
    })
}

/// The value, if the pair has this name.
fn value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
    Some(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii())
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::scripted::values;
    use super::*;

    fn found(lines: &[&'static str], name: &str) -> Option<String> {
        let headers: Fields = lines.iter().map(|line| ("cookie", line)).collect();
        find(&headers, name).map(str::to_owned)
    }

    #[test]
    fn the_first_cookie_of_a_name_is_found_over_several_lines() {
        assert_eq!(found(&["a=1; b=2", "c=3; b=4"], "b").as_deref(), Some("2"));
        assert_eq!(found(&["a=1; b=2", "c=x=y"], "c").as_deref(), Some("x=y"));
        assert_eq!(found(&["a=;b=2"], "a").as_deref(), Some(""));
    }

    #[test]
    fn all_cookies_of_a_name_are_found() {
        let headers = Fields::from_iter([("cookie", "a=1; b=2; a=\u{e4}"), ("cookie", "a = 3")]);
        let mut found = Vec::new();
        for line in headers.values(Known::Cookie) {
            cuts(line, "a", |value| found.push(value.to_vec()), &mut |_| {});
        }
        assert_eq!(found, [b"1", b"3"]);
    }

    #[test]
    fn a_cookie_is_taken_away_and_the_others_stay() {
        for (lines, expected) in [
            (vec!["a=1; b=2; c=3"], vec!["a=1; c=3"]),
            (vec!["b=2"], vec![]),
            (vec!["b=2; a=1", "c=3;b = 4"], vec!["a=1", "c=3"]),
            (vec!["a=1", "b=2", "c=3"], vec!["a=1", "c=3"]),
            (vec!["a=1;  c=3 ; b=2; b=4;d=5"], vec!["a=1;  c=3 ;d=5"]),
            (vec!["b=2;b=3 ; a=1 ;b=4"], vec!["a=1"]),
            (vec!["a=b=2; bb=1;  b"], vec!["a=b=2; bb=1;  b"]),
            (vec![], vec![]),
        ] {
            let mut headers: Fields = lines.iter().map(|line| ("cookie", line)).collect();
            headers.cut(Known::Cookie, |line, cut| cuts(line, "b", |_| {}, cut));
            assert_eq!(values(&headers, "cookie"), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_longer_name_another_case_or_a_bare_word_is_no_match() {
        assert_eq!(found(&["ab=1; A=2; a"], "a"), None);
        assert_eq!(found(&[], "a"), None);
    }

    #[test]
    fn a_value_past_ascii_does_not_hide_other_cookies() {
        assert_eq!(found(&["a=\u{e4}; b=2"], "b").as_deref(), Some("2"));
        assert_eq!(found(&["a=\u{e4}"], "a"), None);
    }
}
