//! Parses query parameters (`application/x-www-form-urlencoded`).

use std::borrow::Cow;

use super::target::decode;

/// The decoded value of the first parameter with this name; a parameter without `=` has an empty value.
///
/// `+` is a space, malformed escapes stay unchanged, and bytes that are not UTF-8 are replaced (U+FFFD).
#[must_use]
pub fn find<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let value = written(query, name)?;
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value));
    }
    let bytes: Vec<u8> = DecodedQuery::of(value).collect();
    Some(Cow::Owned(
        String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()),
    ))
}

/// Whether the first parameter with this name has this value, without allocating.
#[must_use]
pub fn holds(query: &str, name: &str, value: &str) -> bool {
    written(query, name).is_some_and(|written| DecodedQuery::of(written).eq(value.bytes()))
}

/// The first parameter's value as written.
fn written<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| DecodedQuery::of(key).eq(name.bytes()))
        .map(|(_, value)| value)
}

/// The decoded bytes.
struct DecodedQuery<'a> {
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> DecodedQuery<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.as_bytes().iter() }
    }
}

impl Iterator for DecodedQuery<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self.rest.next()? {
            b'+' => Some(b' '),
            b'%' => {
                let mut ahead = self.rest.clone();
                let decoded = ahead.next().zip(ahead.next()).and_then(|(high, low)| decode(*high, *low));
                if decoded.is_some() {
                    self.rest = ahead;
                }
                Some(decoded.unwrap_or(b'%'))
            }
            other => Some(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_parameter_of_a_name_wins() {
        assert_eq!(find("a=1&b=2&a=3", "a").as_deref(), Some("1"));
        assert_eq!(find("ab=1&&b", "b").as_deref(), Some(""));
        assert_eq!(find("", "a"), None);
        assert_eq!(find("=x", "").as_deref(), Some("x"));
        assert_eq!(find("&a=1", ""), None);
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(find("x%2Dy=a+b%26c", "x-y").as_deref(), Some("a b&c"));
        assert_eq!(find("a=%zz%4", "a").as_deref(), Some("%zz%4"));
        assert_eq!(find("a=%ff", "a").as_deref(), Some("\u{fffd}"));
        assert!(holds("a=%C3%A4", "a", "\u{e4}"));
        assert!(!holds("a=1", "a", "12"));
    }

    proptest! {
        #[test]
        fn asking_whether_agrees_with_finding(query in "[ab=&%+14]{0,20}", name in "[ab]{0,2}", value in "[ab 1A]{0,2}") {
            prop_assert_eq!(holds(&query, &name, &value), find(&query, &name).as_deref() == Some(value.as_str()));
        }
    }
}
