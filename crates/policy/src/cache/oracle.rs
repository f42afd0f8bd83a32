//! The rules as they were on `http::HeaderMap`, and that those on `Fields` give the same.

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, HOST,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use message::Fields;
use proptest::prelude::*;

use super::headers::{self, Divided};
use super::key::target_fields::{self, Treatment, treatment};
use super::partial::{self, Missing};
use super::scripted::NOW;
use super::validate;
use crate::message::cache_control::ResponseDirectives;
use crate::message::etag::{Comparison, EntityTag};
use crate::message::vary::Vary;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

fn withhold(headers: &mut HeaderMap, directives: &ResponseDirectives) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    for name in directives.withheld().filter(|name| **name != CONTENT_LENGTH) {
        for value in headers.get_all(name) {
            withheld.append(name, value.clone());
        }
        headers.remove(name);
    }
    withheld
}

fn ask(request: &mut HeaderMap, stored: &[&HeaderMap]) -> bool {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
    let mut tags: Vec<&str> = Vec::new();
    for one in stored.iter().filter(|one| EntityTag::of(&Fields::from((**one).clone())).is_some()) {
        let tag = one[ETAG].to_str().unwrap().trim();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if !tags.is_empty() {
        request.insert(IF_NONE_MATCH, tags.join(", ").parse().unwrap());
    }
    if let [only] = stored
        && let Some(modified) = only.get(LAST_MODIFIED)
    {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

fn ask_from(request: &mut HeaderMap, response: &HeaderMap, first: u64) -> bool {
    let fields = Fields::from(response.clone());
    let validator = if response.contains_key(ETAG) {
        EntityTag::of(&fields).filter(|tag| !tag.is_weak()).and(response.get(ETAG))
    } else {
        partial::strong_date(&fields, NOW.wall).and(response.get(LAST_MODIFIED))
    };
    let Some(validator) = validator else { return false };
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        request.remove(name);
    }
    request.insert(RANGE, format!("bytes={first}-").parse().unwrap());
    request.insert(IF_RANGE, validator.clone());
    true
}

fn freshen(stored: &mut HeaderMap, answer: &Fields) {
    stored.remove(AGE);
    let fresh = headers::stored(answer).into_map();
    let before = Fields::from(stored.clone());
    let answered = answer.clone().into_map();
    let differs = |name| answered.contains_key(&name) && answered.get_all(&name) != stored.get_all(&name);
    let chooses_otherwise = answered.contains_key(VARY) && Vary::of(answer) != Vary::of(&before);
    let keeps_type = differs(CONTENT_ENCODING) || chooses_otherwise;
    let keeps_tag = match (EntityTag::of(answer), EntityTag::of(&before)) {
        (Some(new), Some(old)) => old.is_weak() && !new.is_weak() && new.matches(&old, Comparison::Weak),
        _ => false,
    };
    let kept = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, SET_COOKIE, VARY];
    let is_kept = |name: &HeaderName| {
        kept.contains(name) || (*name == CONTENT_TYPE && keeps_type) || (*name == ETAG && keeps_tag)
    };
    for name in fresh.keys().filter(|name| !is_kept(name)) {
        replace(stored, &fresh, name);
    }
    match (Vary::of(answer), Vary::of(&before)) {
        (Vary::Anything, _) => drop(stored.insert(VARY, HeaderValue::from_static("*"))),
        (Vary::Fields(named), Vary::Fields(own)) => {
            for name in named.iter().filter(|name| !own.contains(name)) {
                stored.append(VARY, HeaderValue::from(name.clone()));
            }
        }
        (Vary::Fields(_), Vary::Anything) => {}
    }
}

fn refresh(stored: &mut HeaderMap, answer: &HeaderMap) {
    stored.remove(AGE);
    for name in [AGE, CACHE_CONTROL, HeaderName::from_static("cdn-cache-control"), DATE, EXPIRES]
        .iter()
        .filter(|name| answer.contains_key(*name))
    {
        replace(stored, answer, name);
    }
}

fn replace(stored: &mut HeaderMap, answer: &HeaderMap, name: &HeaderName) {
    stored.remove(name);
    for value in answer.get_all(name) {
        stored.append(name, value.clone());
    }
}

fn settle(headers: &mut HeaderMap, host: &HeaderValue) {
    if headers.get(HOST) != Some(host) {
        headers.insert(HOST, host.clone());
    }
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names.iter().filter(|name| treatment(name.as_str().as_bytes()) == Some(Treatment::Removed)) {
        headers.remove(name);
    }
}

fn keyed(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let host = headers.get(HOST);
    let has_final_dot = |host: &HeaderValue| host.to_str().unwrap().split(':').next().unwrap().ends_with('.');
    let is_keyed = |name: &&HeaderName| match name.as_str() {
        "host" => host.is_some_and(has_final_dot),
        "x-forwarded-host" => headers.get_all(X_FORWARDED_HOST).iter().any(|value| Some(value) != host),
        name => name.starts_with("x-forwarded-") && treatment(name.as_bytes()) == Some(Treatment::Keyed),
    };
    let mut keyed: Vec<&HeaderName> = headers.keys().filter(is_keyed).collect();
    keyed.sort_unstable_by_key(|name| name.as_str());
    let lines = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    keyed.into_iter().flat_map(|name| lines(name).map(|value| (name.as_str(), value))).collect()
}

/// Heads of few names, so that two of them have much in common; names in any case, some of them several times.
fn head() -> impl Strategy<Value = Fields> {
    const FIELDS: &[(&str, &[&str])] = &[
        ("Age", &["1", "2"]),
        ("Cache-Control", &["max-age=1", "private=\"x-a, set-cookie\"", "no-cache=\"etag\""]),
        ("CDN-Cache-Control", &["max-age=2"]),
        ("Connection", &["close", "x-a"]),
        ("Content-Encoding", &["gzip", "br"]),
        ("Content-Length", &["1", "2"]),
        ("Content-Range", &["bytes 0-1/2"]),
        ("Content-Type", &["a/a", "b/b"]),
        ("Date", &["Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT", "never"]),
        ("ETag", &["\"a\"", "W/\"a\"", "\"b\"", "none"]),
        ("Expires", &["0"]),
        ("Front-End-Https", &["on"]),
        ("Host", &["a", "a.", "b"]),
        ("If-Match", &["\"a\""]),
        ("If-None-Match", &["\"a\""]),
        ("If-Modified-Since", &["never"]),
        ("If-Range", &["\"a\""]),
        ("Last-Modified", &["Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"]),
        ("Range", &["bytes=0-"]),
        ("Set-Cookie", &["a=b", "c=d"]),
        ("Vary", &["accept", "Accept, Origin", "*", ""]),
        ("X-A", &["1", "2", "ä"]),
        ("X-Forwarded-For", &["1.1.1.1"]),
        ("X-Forwarded-Host", &["a", "b"]),
        ("X-Forwarded-Port", &["1", "2"]),
        ("X-Forwarded-Proto", &["http"]),
        ("X-Forwarded-Prefix", &["/p"]),
        ("X-Original-URL", &["/"]),
    ];
    let field = proptest::sample::select(FIELDS).prop_flat_map(|(name, values)| {
        let names = vec![name.to_string(), name.to_lowercase(), name.to_uppercase()];
        (proptest::sample::select(names), proptest::sample::select(values))
    });
    proptest::collection::vec(field, 0..12).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn fields_are_withheld_as_before(response in head()) {
        let directives = ResponseDirectives::of(&response);
        let mut stored = response.clone().into_map();
        let withheld = withhold(&mut stored, &directives);
        let divided = headers::withhold(response, &directives);
        let Divided { stored: own, withheld: own_withheld } = divided;
        prop_assert_eq!((own.into_map(), own_withheld.into_map()), (stored, withheld));
    }

    #[test]
    fn requests_for_validation_are_made_as_before(
        request in head(),
        stored in proptest::collection::vec(head(), 0..4),
    ) {
        let maps: Vec<HeaderMap> = stored.iter().map(|one| one.clone().into_map()).collect();
        let mut expected = request.clone().into_map();
        let is_conditional = ask(&mut expected, &maps.iter().collect::<Vec<_>>());
        let stored: Vec<&Fields> = stored.iter().collect();
        let validators = validate::ask(&stored);
        let mut fields = request;
        fields.apply_all(validators.edits());
        prop_assert_eq!((validators.is_conditional(), fields.into_map()), (is_conditional, expected));
    }

    #[test]
    fn what_is_missing_is_asked_for_as_before(request in head(), begun in head(), first in 1..9_u64) {
        let mut expected = request.clone().into_map();
        let is_asked = ask_from(&mut expected, &begun.clone().into_map(), first);
        let edits = Missing { first, last: None, complete: None }.ask(&begun, NOW.wall);
        prop_assert_eq!(edits.is_some(), is_asked);
        let mut fields = request;
        fields.apply_all(edits.into_iter().flatten());
        prop_assert_eq!(fields.into_map(), expected);
    }

    #[test]
    fn stored_fields_are_freshened_and_refreshed_as_before(stored in head(), answer in head()) {
        let mut expected = stored.clone().into_map();
        freshen(&mut expected, &answer);
        prop_assert_eq!(validate::freshened(&stored, &answer).into_map(), expected);
        let mut expected = stored.clone().into_map();
        refresh(&mut expected, &answer.clone().into_map());
        prop_assert_eq!(validate::refreshed(&stored, &answer).into_map(), expected);
    }

    #[test]
    fn a_key_holds_the_same_fields_as_before(request in head(), host in proptest::sample::select(vec!["a", "a.", "b"])) {
        let mut expected = request.clone().into_map();
        settle(&mut expected, &HeaderValue::from_static(host));
        let mut fields = request;
        fields.apply_all(target_fields::edits(&fields, host.as_bytes()));
        prop_assert_eq!(&fields.clone().into_map(), &expected);
        let lines: Vec<(String, &[u8])> = target_fields::keyed(&fields)
            .iter()
            .map(|field| (String::from_utf8_lossy(field.name).to_lowercase(), field.value))
            .collect();
        let expected: Vec<(String, &[u8])> =
            keyed(&expected).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        prop_assert_eq!(lines, expected);
    }
}
