//! Chooses the form of an error body, JSON or plain text, from `Accept` (RFC 9110 §12.5.1).

/// Whether the client prefers JSON to text.
///
/// The weights of the types decide; `text/html` counts as text, any `+json` type as JSON. If they are equal, the type
/// that is named first wins, and text if neither is named.
#[must_use]
pub fn prefers_json(accept: Option<&[u8]>) -> bool {
    let (mut json, mut text) = (Wish::default(), Wish::default());
    for (place, range) in accept.unwrap_or_default().split(|byte| *byte == b',').enumerate() {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight).unwrap_or(1000);
        let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
        if is(b"application/json") || ends_with_json(media) {
            json.note(Precision::Named, weight, place);
        } else if is(b"text/plain") || is(b"text/html") {
            text.note(Precision::Named, weight, place);
        } else if is(b"application/*") {
            json.note(Precision::Kind, weight, place);
        } else if is(b"text/*") {
            text.note(Precision::Kind, weight, place);
        } else if is(b"*/*") {
            json.note(Precision::Any, weight, usize::MAX);
            text.note(Precision::Any, weight, usize::MAX);
        }
    }
    json.weight > text.weight || (json.weight == text.weight && json.weight > 0 && json.place < text.place)
}

/// The precision of a media range; the most precise matching range determines a type's weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    #[default]
    NotAtAll,
    Any,
    Kind,
    Named,
}

/// The weight and position of one form.
#[derive(Debug, Default)]
struct Wish {
    precision: Precision,
    /// In thousandths.
    weight: u32,
    /// The position in the list.
    place: usize,
}

impl Wish {
    fn note(&mut self, precision: Precision, weight: u32, place: usize) {
        let better = precision == self.precision && weight > self.weight;
        if precision > self.precision || better {
            *self = Self { precision, weight, place };
        }
    }
}

fn ends_with_json(media: &[u8]) -> bool {
    media
        .len()
        .checked_sub(5)
        .and_then(|at| media.split_at_checked(at))
        .is_some_and(|(_, end)| end.eq_ignore_ascii_case(b"+json"))
}

/// A weight in thousandths; 0 if malformed.
fn weight(parameter: &[u8]) -> Option<u32> {
    let digits = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = digits.split_at_checked(1).unwrap_or_default();
    let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return Some(0);
    }
    let thousandths = fraction.iter().zip([100, 10, 1]).map(|(digit, value)| u32::from(digit - b'0') * value).sum();
    match whole {
        b"0" => Some(thousandths),
        b"1" => Some(1000),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(accept: &str) -> bool {
        prefers_json(Some(accept.as_bytes()))
    }

    #[test]
    fn those_who_name_json_get_json() {
        for accept in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "application/*",
            "application/json, text/plain, */*",
            "text/plain;q=0.5, application/json",
            "text/html;q=0, */*",
        ] {
            assert!(json(accept), "{accept}");
        }
    }

    #[test]
    fn all_others_get_text() {
        assert!(!prefers_json(None));
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain, application/json",
            "application/json;q=0",
            "application/json;q=0.4, text/plain;q=0.5",
            "application/json;q=0.1, */*",
            "application/json;q=x",
            "image/png",
            "text/*, application/json",
        ] {
            assert!(!json(accept), "{accept}");
        }
    }

    proptest! {
        #[test]
        fn judging_never_panics(accept: Vec<u8>, tail in "(application/json|;|q=|[0-9.]|,|\\*/\\*){0,12}") {
            let _ = prefers_json(Some(&accept));
            let _ = json(&tail);
        }
    }
}
