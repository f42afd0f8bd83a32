//! The rules as they were, on a map of names in lower case.

use http::HeaderMap;
use http::header::VIA;
use http::{HeaderValue, Version};

use super::list::{elements, is_token};
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    name: Box<str>,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl Signature {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let value = |version: &str| HeaderValue::from_str(&format!("{version} {name}")).ok();
        is_token(name.as_bytes()).then_some(())?;
        Some(Self { name: name.into(), http_10: value("1.0")?, http_11: value("1.1")?, http_2: value("2")? })
    }

    pub(crate) fn sign(&self, headers: &mut HeaderMap, received: Version) {
        // A matching line of its own costs no copy of what is there, and means the same as a longer list.
        let ours = if received == Version::HTTP_10 {
            &self.http_10
        } else if received == Version::HTTP_2 {
            &self.http_2
        } else {
            &self.http_11
        };
        headers.append(&VIA, ours.clone());
    }
    pub(crate) fn count(&self, headers: &HeaderMap) -> usize {
        let is_ours = |one: &&[u8]| received_by(one).is_some_and(|by| by.eq_ignore_ascii_case(self.name.as_bytes()));
        elements(&headers.get_all(VIA)).filter(is_ours).count()
    }
}
fn received_by(element: &[u8]) -> Option<&[u8]> {
    element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
}
