//! The rules as they were, on a map of names in lower case.

use http::HeaderValue;
use http::header::GetAll;
pub(crate) fn elements<'a>(lines: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines.iter().flat_map(|line| line.as_bytes().split(is_comma)).map(<[u8]>::trim_ascii).filter(|one| !one.is_empty())
}
pub(crate) fn elements_from_right<'a>(lines: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(is_comma))
        .map(<[u8]>::trim_ascii)
        .filter(|one| !one.is_empty())
}
pub(crate) fn holds(lines: &GetAll<'_, HeaderValue>, token: &str) -> bool {
    elements(lines).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
}
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}
