//! The cookies of a request (RFC 6265 §4.2).

use message::{Edit, Fields, Known};

/// The value of the first cookie with this name, as written, over all `Cookie` lines. Names are case-sensitive.
///
/// `None` also for a cookie whose value is not ASCII.
#[must_use]
pub fn find<'a>(headers: &'a Fields, name: &str) -> Option<&'a str> {
    text(pairs(headers, name).next()?)
}

/// What takes away all cookies with this name; the others stay as they are written. Empty if there is none. `visit` gets
/// the value of each, as written; those that are not ASCII are left out.
///
/// There may be several: of another path or domain, or of another's making.
#[must_use]
pub fn removal<'h>(headers: &'h Fields, name: &str, mut visit: impl FnMut(&'h [u8])) -> Vec<Edit<'static>> {
    let mut edits = Vec::new();
    for (index, line) in headers.values(Known::Cookie).enumerate() {
        let left = without(line, name, &mut visit);
        if left.is_some() && edits.is_empty() {
            edits.reserve(2);
            edits.push(Edit::DropKnown(Known::Cookie.into()));
            let before = headers.values(Known::Cookie).take(index).filter(|line| !line.is_empty());
            edits.extend(before.map(|line| Edit::append(Known::Cookie, line.to_vec())));
        }
        let left = left.or_else(|| (!edits.is_empty()).then(|| line.to_vec()));
        edits.extend(left.filter(|left| !left.is_empty()).map(|left| Edit::append(Known::Cookie, left)));
    }
    edits
}

/// A line without the cookies of this name, nor space around what is left. `None`: it has none of them.
fn without<'h>(line: &'h [u8], name: &str, visit: &mut impl FnMut(&'h [u8])) -> Option<Vec<u8>> {
    let mut left: Option<Vec<u8>> = None;
    let mut start = 0;
    for pair in split(line) {
        match (value(pair, name), &mut left) {
            (Some(value), _) => {
                if value.is_ascii() {
                    visit(value);
                }
                if left.is_none() {
                    let before = line.get(..start).and_then(|before| before.strip_suffix(b";")).unwrap_or_default();
                    let mut kept = Vec::with_capacity(line.len());
                    kept.extend_from_slice(before);
                    left = Some(kept);
                }
            }
            (None, Some(left)) if left.is_empty() => left.extend_from_slice(pair.trim_ascii_start()),
            (None, Some(left)) => {
                left.push(b';');
                left.extend_from_slice(pair);
            }
            (None, None) => {}
        }
        start += pair.len() + 1;
    }
    if let Some(left) = &mut left {
        left.truncate(left.trim_ascii_end().len());
    }
    left
}

fn pairs<'a>(headers: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.values(Known::Cookie).flat_map(split).filter_map(move |pair| value(pair, name))
}

/// What is written between the semicolons of a line.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let parted = memchr::memchr(b';', line).and_then(|end| line.split_at_checked(end));
        rest = parted.and_then(|(_, behind)| behind.get(1..));
        Some(parted.map_or(line, |(pair, _)| pair))
    })
}

/// The value, if the pair is a cookie of this name.
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
        let _removal = removal(&headers, "a", |value| found.push(value));
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
            let edits = removal(&headers, "b", |_| {});
            headers.apply_all(edits);
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
