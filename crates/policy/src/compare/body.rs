//! Compares the bodies of two responses after decoding: JSON by structure, others byte by byte.

use http::StatusCode;
use message::{Fields, Known};

use super::coding::{self, Undecodable};
use super::document::{Node, Unparsed};
use super::redact::Shown;
use super::rules::Rules;
use super::{Content, Difference, Found, Kind, Response, Skip, walk};

/// The form of a body, according to its media type.
#[derive(Clone, Copy)]
enum Form {
    BothJson,
    OneJson,
    Other,
}

/// Adds the differences between the bodies; returns a reason if they cannot be compared although `rules` ask for it.
pub(super) fn compare(rules: &Rules, ours: &Response<'_>, theirs: &Response<'_>, found: &mut Found) -> Option<Skip> {
    let form = match (is_json(ours.headers), is_json(theirs.headers)) {
        (true, true) => Form::BothJson,
        (true, false) | (false, true) => Form::OneJson,
        (false, false) => Form::Other,
    };
    let asked = match form {
        Form::BothJson => rules.json_body,
        Form::OneJson => rules.json_body || rules.other_body,
        Form::Other => rules.other_body,
    };
    if !asked {
        return None;
    }
    let (Content::Whole(our_body), Content::Whole(their_body)) = (content(ours), content(theirs)) else {
        return Some(Skip::Long);
    };
    let our_codings = ours.headers.values(Known::ContentEncoding);
    if our_body == their_body && our_codings.eq(theirs.headers.values(Known::ContentEncoding)) {
        return None;
    }
    match (coding::decode(ours.headers, our_body), coding::decode(theirs.headers, their_body)) {
        (Ok(ours), Ok(theirs)) if ours == theirs => None,
        (Ok(ours), Ok(theirs)) => match form {
            Form::BothJson => compare_json(rules, &ours, &theirs, found),
            Form::OneJson | Form::Other => add_whole(&ours, &theirs, found),
        },
        (Err(reason), Ok(_) | Err(_)) | (Ok(_), Err(reason)) => Some(skip(reason)),
    }
}

/// Compares two bodies that are declared as JSON and differ as bytes.
fn compare_json(rules: &Rules, ours: &[u8], theirs: &[u8], found: &mut Found) -> Option<Skip> {
    match (Node::parse(ours), Node::parse(theirs)) {
        (Ok(ours), Ok(theirs)) => {
            walk::compare(&rules.ignore, &ours, &theirs, found);
            None
        }
        (Err(Unparsed::TooLong), _) | (_, Err(Unparsed::TooLong)) => Some(Skip::Long),
        (Ok(_), Err(Unparsed::NotJson)) | (Err(Unparsed::NotJson), Ok(_)) => add_whole(ours, theirs, found),
        (Err(Unparsed::NotJson), Err(Unparsed::NotJson)) if rules.other_body => add_whole(ours, theirs, found),
        (Err(Unparsed::NotJson), Err(Unparsed::NotJson)) => None,
    }
}

fn add_whole(ours: &[u8], theirs: &[u8], found: &mut Found) -> Option<Skip> {
    found.add(Difference::at(Kind::Body, "", Shown::body(ours), Shown::body(theirs)));
    None
}

/// The body; that of a 204 is empty (RFC 9110 §15.3.5).
fn content<'a>(answer: &Response<'a>) -> Content<'a> {
    if answer.status == StatusCode::NO_CONTENT { Content::Whole(&[]) } else { answer.body }
}

/// Whether the media type is `application/json`, or ends in `+json` (RFC 6839 §3.1). Ignores parameters.
fn is_json(headers: &Fields) -> bool {
    let Some(value) = headers.first(Known::ContentType) else { return false };
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let essence = essence.to_ascii_lowercase();
    essence == b"application/json" || (essence.contains(&b'/') && essence.ends_with(b"+json"))
}

fn skip(reason: Undecodable) -> Skip {
    match reason {
        Undecodable::Unknown => Skip::Coding,
        Undecodable::Broken => Skip::Broken,
        Undecodable::TooLong => Skip::Long,
    }
}
