//! Evaluates `Vary`: the request fields that select a stored response, and whether a request matches it (RFC 9111
//! §4.1).
//!
//! The caller selects among several matching responses, and limits their number.

use std::cmp::Reverse;

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderName};
use message::{Fields, Known};

use super::list::elements;

/// The most responses stored under one key, however many values the fields take.
pub const VARIANTS_MAX: usize = 64;

/// The most field names in one `Vary`; a response with more never matches.
pub const FIELDS_MAX: usize = 32;

/// The content of a response's `Vary` lines (RFC 9110 §12.5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// `*`, or malformed: the response matches no other request.
    Anything,
    /// The field names in lower case, sorted, without duplicates. Empty: the response matches every request.
    Fields(Vec<HeaderName>),
}

/// The normalized values of a request's selecting fields: equal bytes mean an equal selection. Values are
/// length-prefixed, so that one cannot be mistaken for two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Choice(Vec<u8>);

impl Choice {
    /// The bytes, for example for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Vary {
    /// Parses all `Vary` lines of a response.
    #[must_use]
    pub fn of(response: &Fields) -> Self {
        let mut fields = Vec::new();
        for element in elements(response.values(Known::Vary)) {
            // `*` is a token and would be accepted as a field name.
            let name = (element != b"*").then(|| HeaderName::from_bytes(element).ok()).flatten();
            let Some(name) = name else { return Self::Anything };
            if !fields.contains(&name) {
                if fields.len() == FIELDS_MAX {
                    return Self::Anything;
                }
                fields.push(name);
            }
        }
        fields.sort_by(|one, two| one.as_str().cmp(two.as_str()));
        Self::Fields(fields)
    }

    /// The selection of this request; `None` for [`Vary::Anything`].
    #[must_use]
    pub fn choice(&self, request: &Fields) -> Option<Choice> {
        let Self::Fields(fields) = self else { return None };
        let mut bytes = Vec::new();
        for name in fields {
            push_part(&mut bytes, name.as_str().as_bytes());
            match normal_value(name, request) {
                // An absent field only matches an absent one (RFC 9111 §4.1).
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    push_part(&mut bytes, &value);
                }
            }
        }
        Some(Choice(bytes))
    }

    /// Whether a stored response with this `Vary`, received for a request with the selection `stored`, matches this
    /// request.
    #[must_use]
    pub fn matches(&self, stored: &Choice, request: &Fields) -> bool {
        self.choice(request).is_some_and(|choice| choice == *stored)
    }
}

/// The syntax of a field, which determines the allowed normalization.
enum Syntax {
    /// Unknown: lines are joined, and their ends trimmed.
    Opaque,
    /// A list of weighted choices: white space around commas and semicolons and empty elements are removed, and
    /// elements sorted by weight.
    List,
    /// A list of case-insensitive words.
    CaselessList,
    /// The same, with an order that has no meaning.
    CaselessSet,
}

/// Only `Accept-Encoding` is a set: its order has no meaning, and it is where browsers differ most. In the other
/// `Accept` fields some servers use the order to break ties (RFC 9110 §12.5.4 mentions that for languages), so the
/// order of elements with equal weight is kept.
fn syntax(name: &HeaderName) -> Syntax {
    if name == ACCEPT_ENCODING {
        Syntax::CaselessSet
    } else if name == ACCEPT_LANGUAGE || name == ACCEPT_CHARSET {
        Syntax::CaselessList
    } else if name == ACCEPT {
        Syntax::List
    } else {
        Syntax::Opaque
    }
}

/// The normalized value of all lines, as far as RFC 9111 §4.1 allows; `None` if there is no line.
fn normal_value(name: &HeaderName, request: &Fields) -> Option<Vec<u8>> {
    let lines = || request.values(name);
    lines().next()?;
    let parts = || elements(lines()).map(without_space_at_semicolons);
    let parts: Vec<Vec<u8>> = match syntax(name) {
        Syntax::Opaque => return Some(joined(lines())),
        // A comma in quotes does not separate; values with quotes stay unchanged.
        Syntax::List if lines().any(|line| line.contains(&b'"')) => return Some(joined(lines())),
        Syntax::List => by_weight(parts().collect()),
        Syntax::CaselessList => by_weight(parts().map(|part| part.to_ascii_lowercase()).collect()),
        Syntax::CaselessSet => {
            let mut parts: Vec<Vec<u8>> = parts().map(|part| part.to_ascii_lowercase()).collect();
            parts.sort_unstable();
            parts.dedup();
            parts
        }
    };
    Some(parts.join(&b","[..]))
}

/// Sorts by descending weight (RFC 9110 §12.4.2), stable for equal weights. If a weight is malformed, nothing is
/// sorted.
fn by_weight(mut parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if parts.iter().any(|part| thousandths(part).is_none()) {
        return parts;
    }
    parts.sort_by_key(|part| Reverse(thousandths(part)));
    parts
}

/// The weight of an element in thousandths, 1000 by default; `None` if malformed.
fn thousandths(element: &[u8]) -> Option<u32> {
    let mut weights = element.split(|byte| *byte == b';').filter_map(|one| {
        let one = std::str::from_utf8(one).ok()?;
        one.strip_prefix("q=").or_else(|| one.strip_prefix("Q="))
    });
    let Some(weight) = weights.next_back() else { return Some(1000) };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = format!("{fraction:0<3}");
    let is_sound = matches!(whole, "0" | "1") && digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let sum = whole.parse::<u32>().ok()? * 1000 + digits.parse::<u32>().ok().filter(|_| is_sound)?;
    (sum <= 1000).then_some(sum)
}

/// Joins the lines as in RFC 9110 §5.2.
fn joined<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).collect();
    lines.join(&b", "[..])
}

fn without_space_at_semicolons(element: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
    parts.join(&b";"[..])
}

fn push_part(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::super::scripted::fields as headers;
    use super::*;
    use proptest::prelude::*;

    fn vary(lines: &[&str]) -> Vary {
        Vary::of(&lines.iter().map(|line| ("vary", line)).collect())
    }

    fn alike(on: &'static str, one: &[(&'static str, &str)], two: &[(&'static str, &str)]) -> bool {
        let vary = vary(&[on]);
        vary.matches(&vary.choice(&headers(one)).unwrap(), &headers(two))
    }

    #[test]
    fn rfc9110_12_5_5_all_lines_are_read_sorted_and_each_name_once() {
        let all: Fields = headers(&[("vary", "B, a"), ("vary", ",A , c")]);
        let names = ["a", "b", "c"].map(HeaderName::from_static);
        assert_eq!(Vary::of(&all), Vary::Fields(names.to_vec()));
        assert_eq!(vary(&[]), Vary::Fields(vec![]));
        assert_eq!(vary(&[""]), Vary::Fields(vec![]));
    }

    #[test]
    fn rfc9111_4_1_an_asterisk_anywhere_never_matches() {
        for lines in [&["*"][..], &["accept, *"], &["accept", "*"], &["*, *"], &["a b"], &["\"accept\""]] {
            let vary = vary(lines);
            assert_eq!(vary, Vary::Anything, "{lines:?}");
            assert_eq!(vary.choice(&Fields::new()), None);
            assert!(!vary.matches(&Choice::default(), &Fields::new()));
        }
    }

    #[test]
    fn more_names_than_the_limit_never_match() {
        let names = |count: usize| (0..count).map(|n| format!("x-{n},")).collect::<String>();
        let of = |count| Vary::of(&headers(&[("vary", names(count).as_str())]));
        assert!(matches!(of(FIELDS_MAX), Vary::Fields(fields) if fields.len() == FIELDS_MAX));
        assert_eq!(of(FIELDS_MAX + 1), Vary::Anything);
    }

    #[test]
    fn rfc9111_4_1_without_vary_every_request_matches() {
        let vary = vary(&[]);
        let choice = vary.choice(&headers(&[("accept", "a")])).unwrap();
        assert!(vary.matches(&choice, &headers(&[("accept", "b")])));
    }

    #[test]
    fn rfc9111_4_1_absent_matches_absent_only() {
        assert!(alike("x-a, x-b", &[], &[("x-other", "1")]));
        assert!(!alike("x-a", &[], &[("x-a", "")]));
        assert!(!alike("x-a", &[("x-a", "1")], &[]));
        assert!(!alike("x-a, x-b", &[("x-a", "1")], &[("x-b", "1")]));
        assert!(!alike("x-a, x-b", &[("x-a", "1"), ("x-b", "2")], &[("x-a", "1")]));
    }

    #[test]
    fn rfc9111_4_1_lines_are_joined_and_ends_trimmed() {
        assert!(alike("x-a", &[("x-a", "1"), ("x-a", " 2 ")], &[("x-a", "1, 2")]));
        assert!(!alike("x-a", &[("x-a", "1"), ("x-a", "2")], &[("x-a", "2"), ("x-a", "1")]));
        assert!(!alike("x-a", &[("x-a", "One")], &[("x-a", "one")]));
        assert!(!alike("x-a", &[("x-a", "1,2")], &[("x-a", "1, 2")]));
    }

    #[test]
    fn rfc9111_4_1_the_form_of_accept_fields_does_not_matter() {
        let cases = [
            ("accept-encoding", "gzip, br", "br,gzip", true),
            ("accept-encoding", "GZIP;q=1.0 , br", "br, gzip; q=1.0", true),
            ("accept-encoding", "gzip", "br", false),
            ("accept-encoding", "gzip;q=0", "gzip", false),
            ("accept-encoding", "gzip", "gzip, br", false),
            ("accept-language", "en-GB , de;q=0.5", "en-gb,de; q=0.5", true),
            ("accept-language", "en, de", "de, en", false),
            ("accept-language", "en;q=0.5, de", "de, en;q=0.5", true),
            ("accept-language", "en;q=0.5, de;q=0.875, fr", "fr,de;q=0.875,en;q=0.5", true),
            ("accept-language", "en;q=0.5, de", "de;q=0.5, en", false),
            ("accept-language", "en;q=0.5, de;q=0.5", "de;q=0.5, en;q=0.5", false),
            ("accept-language", "en;q=2, de", "de, en;q=2", false),
            ("accept-language", "en;q=0.1234, de", "de, en;q=0.1234", false),
            ("accept-language", "en;q=.5, de", "de, en;q=.5", false),
            ("accept", "*/*;q=0.1, text/html;level=1", "text/html;level=1, */*;q=0.1", true),
            ("accept", "text/html , */*;q=0.1", "text/html,*/*; q=0.1", true),
            ("accept", "text/html, text/plain", "text/plain, text/html", false),
            ("accept", "a/b;c=\"x, y\"", "a/b;c=\"x,y\"", false),
        ];
        for (name, one, two, expected) in cases {
            assert_eq!(alike(name, &[(name, one)], &[(name, two)]), expected, "{name}: {one} / {two}");
        }
    }

    #[test]
    fn a_value_can_not_pass_for_another_field() {
        assert!(!alike("x-a, x-b", &[("x-a", "1"), ("x-b", "23")], &[("x-a", "12"), ("x-b", "3")]));
    }

    proptest! {
        #[test]
        fn a_request_always_matches_what_it_chose(names in "[a-c, *-]{0,12}", value in "[a-z;,=\" ]{0,20}") {
            let vary = Vary::of(&headers(&[("vary", &names)]));
            let request = headers(&[("a", &value), ("accept-encoding", &value)]);
            if let Some(choice) = vary.choice(&request) {
                prop_assert!(vary.matches(&choice, &request));
            }
        }

        #[test]
        fn different_opaque_values_never_match(one in "[!-~]{0,8}", two in "[!-~]{0,8}") {
            prop_assert_eq!(alike("x-a", &[("x-a", &one)], &[("x-a", &two)]), one == two);
        }
    }
}
