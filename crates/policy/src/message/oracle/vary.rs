//! The rules as they were, on a map of names in lower case.

use std::cmp::Reverse;

use http::HeaderMap;
use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, GetAll, HeaderName, VARY};

use super::list::elements;
pub(crate) const FIELDS_MAX: usize = 32;
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vary {
    Anything,
    Fields(Vec<HeaderName>),
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Choice(Vec<u8>);

impl Choice {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Vary {
    pub(crate) fn of(response: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for element in elements(&response.get_all(VARY)) {
            // `*` would pass for a field name, as it is a token.
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
    pub(crate) fn choice(&self, request: &HeaderMap) -> Option<Choice> {
        let Self::Fields(fields) = self else { return None };
        let mut bytes = Vec::new();
        for name in fields {
            push_part(&mut bytes, name.as_str().as_bytes());
            match normal_value(name, request) {
                // An absent field matches only an absent one (RFC 9111 §4.1).
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    push_part(&mut bytes, &value);
                }
            }
        }
        Some(Choice(bytes))
    }
    pub(crate) fn matches(&self, stored: &Choice, request: &HeaderMap) -> bool {
        self.choice(request).is_some_and(|choice| choice == *stored)
    }
}
enum Syntax {
    Opaque,
    List,
    CaselessList,
    CaselessSet,
}
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
fn normal_value(name: &HeaderName, request: &HeaderMap) -> Option<Vec<u8>> {
    let lines = request.get_all(name);
    lines.iter().next()?;
    let parts = || elements(&lines).map(without_space_at_semicolons);
    let parts: Vec<Vec<u8>> = match syntax(name) {
        Syntax::Opaque => return Some(joined(&lines)),
        // A comma inside quotes is none; such values stay as they are.
        Syntax::List if lines.iter().any(|line| line.as_bytes().contains(&b'"')) => return Some(joined(&lines)),
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
fn by_weight(mut parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if parts.iter().any(|part| thousandths(part).is_none()) {
        return parts;
    }
    parts.sort_by_key(|part| Reverse(thousandths(part)));
    parts
}
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
fn joined(lines: &GetAll<'_, HeaderValue>) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes().trim_ascii()).collect();
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
