//! The cookies of a request (RFC 6265 §4.2).

use message::{Edit, Fields, Known};

/// The value of the first cookie with this name, as written, over all `Cookie` lines. Names are case-sensitive.
///
/// `None` also for a cookie whose value is not ASCII.
#[must_use]
pub fn find<'a>(headers: &'a Fields, name: &str) -> Option<&'a str> {
    text(pairs(headers, name).next()?)
}

/// The values of all cookies with this name, as written, over all `Cookie` lines; those that are not ASCII left out.
///
/// There may be several: of another path or domain, or of another's making.
pub fn find_all<'a>(headers: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    pairs(headers, name).filter_map(text)
}

/// What takes away all cookies with this name; the others stay as they are written. Empty if there is none.
#[must_use]
pub fn removal(headers: &Fields, name: &str) -> Vec<Edit<'static>> {
    let is_it = |pair: &[u8]| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
    };
    if pairs(headers, name).next().is_none() {
        return Vec::new();
    }
    let left = |line: &[u8]| {
        let pairs = line.split(|byte| *byte == b';').filter(|pair| !is_it(pair));
        let line = pairs.collect::<Vec<_>>().join(&b';').trim_ascii().to_vec();
        (!line.is_empty()).then(|| Edit::append(Known::Cookie, line))
    };
    let all_go = [Edit::DropKnown(Known::Cookie.into())];
    all_go.into_iter().chain(headers.values(Known::Cookie).filter_map(left)).collect()
}

fn pairs<'a>(headers: &'a Fields, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.values(Known::Cookie);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start)
    })
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
        assert_eq!(find_all(&headers, "a").collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn a_cookie_is_taken_away_and_the_others_stay() {
        for (lines, expected) in [
            (vec!["a=1; b=2; c=3"], vec!["a=1; c=3"]),
            (vec!["b=2"], vec![]),
            (vec!["b=2; a=1", "c=3;b = 4"], vec!["a=1", "c=3"]),
            (vec!["a=b=2; bb=1;  b"], vec!["a=b=2; bb=1;  b"]),
            (vec![], vec![]),
        ] {
            let mut headers: Fields = lines.iter().map(|line| ("cookie", line)).collect();
            let edits = removal(&headers, "b");
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
