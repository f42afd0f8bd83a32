//! Asking the origin whether a stored response still holds, and what its answer means (RFC 9111 §4.3).
//!
//! Whether a response must be validated, and whether a stale one may stand in for an error (RFC 5861 §4), is decided
//! elsewhere. Stored responses are always given newest first, by `Date`.

use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::headers;
use crate::message::etag::{Comparison, EntityTag};

/// The most bytes of entity tags that one request asks with; tags beyond that are left out, which costs a transfer.
pub const TAGS_BYTES_MAX: usize = 4096;

/// What a request for validation asks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// With at least one validator: 304 may come.
    Conditionally,
    /// With none, as nothing stored has one: only a whole answer is of use.
    Plainly,
}

/// Turns a client's request into one that validates these stored responses.
///
/// The client's own conditions and `Range` are taken away, since the answer is meant for the cache; then come the
/// entity tags of all responses, and `Last-Modified` if there is just one. A 206 among them should not be given: its
/// tag would be taken for that of a whole response. What holds `If-Match` or `If-Unmodified-Since` is for the origin and
/// should not come here (see `message::conditions::asks_the_origin`).
///
/// Source: RFC 9111 §4.3.1.
pub fn ask(request: &mut HeaderMap, stored: &[&HeaderMap]) -> Asking {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
    if let Some(tags) = tags(stored) {
        request.insert(IF_NONE_MATCH, tags);
    }
    if let [only] = stored
        && let Some(modified) = only.get(LAST_MODIFIED)
    {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    let conditional = request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE);
    if conditional { Asking::Conditionally } else { Asking::Plainly }
}

/// The entity tags of these responses as a list, each once.
fn tags(stored: &[&HeaderMap]) -> Option<HeaderValue> {
    let mut list: Vec<&[u8]> = Vec::new();
    let mut bytes = 0_usize;
    for value in stored.iter().filter(|one| EntityTag::of(one).is_some()).filter_map(|one| one.get(ETAG)) {
        let tag = value.as_bytes().trim_ascii();
        let longer = bytes.saturating_add(tag.len()).saturating_add(2);
        if longer <= TAGS_BYTES_MAX && !list.contains(&tag) {
            bytes = longer;
            list.push(tag);
        }
    }
    if list.is_empty() { None } else { HeaderValue::from_bytes(&list.join(&b", "[..])).ok() }
}

/// What an answer to a request for validation is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 304: what [`confirmed`] chooses is freshened and reused.
    NotModified,
    /// A whole answer, which replaces what is stored, if it may be stored itself; it goes to the client.
    Whole,
    /// 5xx: it goes to the client, or a stale response does instead, if that is allowed.
    Failed,
}

/// Reads the status of an answer.
///
/// Source: RFC 9111 §4.3.3.
#[must_use]
pub fn read(status: StatusCode) -> Answer {
    if status == StatusCode::NOT_MODIFIED {
        Answer::NotModified
    } else if status.is_server_error() {
        Answer::Failed
    } else {
        Answer::Whole
    }
}

/// Which of the stored responses (newest first) a 304 confirms, by their places. None: ask again without conditions.
///
/// A strong entity tag confirms all that have it. A weak one, or `Last-Modified` alone, confirms the newest that has it
/// (without parsing dates nobody can tell whether `Last-Modified` is strong). Without any validator a 304 confirms
/// the one response there is: RFC 9111 wants that one to lack a validator too, but many servers leave the tag out, and
/// it was this response alone that they were asked about.
///
/// Source: RFC 9111 §4.3.4.
#[must_use]
pub fn confirmed(answer: &HeaderMap, stored: &[&HeaderMap]) -> Vec<usize> {
    let places = || stored.iter().enumerate();
    match (EntityTag::of(answer), answer.get(LAST_MODIFIED)) {
        (Some(tag), _) if !tag.is_weak() => {
            places().filter(|(_, one)| has_tag(one, &tag, Comparison::Strong)).map(|(place, _)| place).collect()
        }
        (Some(tag), modified) => {
            let fits = |one: &HeaderMap| {
                if one.contains_key(ETAG) {
                    has_tag(one, &tag, Comparison::Weak)
                } else {
                    modified.is_some() && one.get(LAST_MODIFIED) == modified
                }
            };
            places().find(|(_, one)| fits(one)).map(|(place, _)| place).into_iter().collect()
        }
        (None, Some(modified)) => {
            let newest = places().find(|(_, one)| one.get(LAST_MODIFIED) == Some(modified));
            newest.map(|(place, _)| place).into_iter().collect()
        }
        (None, None) if stored.len() == 1 && !answer.contains_key(ETAG) => vec![0],
        (None, None) => Vec::new(),
    }
}

fn has_tag(stored: &HeaderMap, tag: &EntityTag<'_>, comparison: Comparison) -> bool {
    EntityTag::of(stored).is_some_and(|own| own.matches(tag, comparison))
}

/// Takes over into a stored response what a 304, or the answer to HEAD, says: each field replaces all lines of that name.
///
/// Never taken over: what is not stored anyway (see `headers::stored`), `Set-Cookie`, which is for the client that asked,
/// and what tells the size and place of the content
/// as it is kept, that is `Content-Length` and `Content-Range`. `Content-Encoding` is: it may be left out only by a cache
/// that has decoded what it stores. `Age` goes if the answer has none, as it told of the
/// older answer's way. The caller makes sure that the answer has a `Date` (RFC 9110 §6.6.1), and finds the response's
/// place anew if `Vary` has changed.
///
/// Source: RFC 9111 §3.2.
pub fn freshen(stored: &mut HeaderMap, answer: &HeaderMap) {
    stored.remove(AGE);
    let fresh = headers::stored(answer);
    for name in fresh.keys().filter(|name| **name != SET_COOKIE && !frames_the_content(name)) {
        stored.remove(name);
        for value in fresh.get_all(name) {
            stored.append(name, value.clone());
        }
    }
}

fn frames_the_content(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_RANGE].contains(name)
}

/// What the answer to HEAD means for a stored response to GET that it could be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glimpse {
    /// They agree: [`freshen`] it.
    Agrees,
    /// They differ: the stored response counts as stale from now on.
    Differs,
}

/// Compares the answer to HEAD, a 200, with what is stored: by its entity tag, its `Last-Modified` and its
/// `Content-Length`, each if the answer has it. `content_bytes` is the length of the stored content.
///
/// Source: RFC 9111 §4.3.5.
#[must_use]
pub fn glimpse(answer: &HeaderMap, stored: &HeaderMap, content_bytes: u64) -> Glimpse {
    let same = |name: HeaderName| !answer.contains_key(&name) || answer.get(&name) == stored.get(&name);
    let length = answer.get(CONTENT_LENGTH).map(|value| value.to_str().ok().and_then(|text| text.trim().parse().ok()));
    let same_length = length.is_none_or(|length: Option<u64>| length == Some(content_bytes));
    if same(ETAG) && same(LAST_MODIFIED) && same_length { Glimpse::Agrees } else { Glimpse::Differs }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::headers;
    use super::*;
    use proptest::prelude::*;

    const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const TUESDAY: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

    #[test]
    fn rfc9111_4_3_1_both_validators_of_one_response_are_sent() {
        let stored = headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]);
        let mut request = headers(&[("accept", "*/*")]);
        assert_eq!(ask(&mut request, &[&stored]), Asking::Conditionally);
        let expected = headers(&[("accept", "*/*"), ("if-none-match", "W/\"a\""), ("if-modified-since", MONDAY)]);
        assert_eq!(request, expected);
    }

    #[test]
    fn rfc9111_4_3_1_of_several_only_the_tags_are_sent_each_once() {
        let one = headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]);
        let two = headers(&[("etag", "\"b\"")]);
        let bad = headers(&[("etag", "c")]);
        let mut request = HeaderMap::new();
        assert_eq!(ask(&mut request, &[&one, &two, &one, &bad]), Asking::Conditionally);
        assert_eq!(request, headers(&[("if-none-match", "\"a\", \"b\"")]));
    }

    #[test]
    fn rfc9111_4_3_1_the_clients_own_conditions_and_range_are_taken_away() {
        let names = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];
        let mut request = headers(&names.map(|name| (name, "x")));
        assert_eq!(ask(&mut request, &[&headers(&[("etag", "no tag")])]), Asking::Plainly);
        assert_eq!(request, HeaderMap::new());
    }

    #[test]
    fn tags_beyond_the_limit_are_left_out() {
        let stored: Vec<HeaderMap> = (0..64)
            .map(|n| HeaderMap::from_iter([(ETAG, HeaderValue::try_from(format!("\"{n:0>200}\"")).unwrap())]))
            .collect();
        let mut request = HeaderMap::new();
        let _ = ask(&mut request, &stored.iter().collect::<Vec<_>>());
        let sent = request[IF_NONE_MATCH].len();
        assert!((TAGS_BYTES_MAX / 2..=TAGS_BYTES_MAX).contains(&sent), "{sent}");
    }

    #[test]
    fn rfc9111_4_3_3_what_a_status_means() {
        for (status, answer) in [
            (304, Answer::NotModified),
            (200, Answer::Whole),
            (206, Answer::Whole),
            (301, Answer::Whole),
            (404, Answer::Whole),
            (410, Answer::Whole),
            (500, Answer::Failed),
            (504, Answer::Failed),
            (599, Answer::Failed),
        ] {
            assert_eq!(read(StatusCode::from_u16(status).unwrap()), answer, "{status}");
        }
    }

    #[test]
    fn rfc9111_4_3_4_a_strong_tag_confirms_all_that_have_it_and_only_those() {
        let (a, b) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "\"b\"")]));
        let weak = headers(&[("etag", "W/\"a\"")]);
        assert_eq!(confirmed(&headers(&[("etag", "\"a\"")]), &[&a, &b, &weak, &a]), [0, 3]);
        assert!(confirmed(&headers(&[("etag", "\"c\"")]), &[&a]).is_empty());
        let dated = headers(&[("last-modified", MONDAY)]);
        assert!(confirmed(&headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]), &[&dated]).is_empty());
    }

    #[test]
    fn rfc9111_4_3_4_a_weak_validator_confirms_the_newest_that_has_it() {
        let (a, b) = (headers(&[("etag", "W/\"a\"")]), headers(&[("etag", "W/\"b\"")]));
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\"")]), &[&b, &a, &a]), [1]);
        let strong = headers(&[("etag", "\"a\"")]);
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\"")]), &[&strong]), [0]);
        let (old, new) = (headers(&[("last-modified", MONDAY)]), headers(&[("last-modified", TUESDAY)]));
        assert_eq!(confirmed(&headers(&[("last-modified", MONDAY)]), &[&new, &old, &old]), [1]);
        assert!(confirmed(&headers(&[("last-modified", MONDAY)]), &[&new]).is_empty());
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]), &[&b, &old]), [1]);
    }

    #[test]
    fn rfc9111_4_3_4_without_a_validator_the_only_response_is_confirmed() {
        let (plain, tagged) = (headers(&[]), headers(&[("etag", "\"a\"")]));
        assert_eq!(confirmed(&headers(&[]), &[&plain]), [0]);
        assert_eq!(confirmed(&headers(&[]), &[&tagged]), [0]);
        assert!(confirmed(&headers(&[]), &[&plain, &tagged]).is_empty());
        assert!(confirmed(&headers(&[]), &[]).is_empty());
        assert!(confirmed(&headers(&[("etag", "no tag")]), &[&plain]).is_empty());
    }

    #[test]
    fn rfc9111_3_2_fields_are_replaced_added_and_kept() {
        let mut stored = headers(&[("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("date", MONDAY), ("age", "50")]);
        freshen(&mut stored, &headers(&[("x-a", "9"), ("x-c", "4"), ("x-c", "5"), ("date", TUESDAY)]));
        assert_eq!(stored, headers(&[("x-a", "9"), ("x-b", "3"), ("x-c", "4"), ("x-c", "5"), ("date", TUESDAY)]));
        freshen(&mut stored, &headers(&[("age", "7")]));
        assert_eq!(stored["age"], "7");
        freshen(&mut stored, &headers(&[("content-encoding", "br"), ("content-type", "text/css")]));
        assert_eq!(
            (&stored["content-encoding"], &stored["content-type"]),
            (&"br".parse().unwrap(), &"text/css".parse().unwrap())
        );
    }

    #[test]
    fn rfc9111_3_2_what_frames_the_content_or_is_of_the_connection_is_never_taken_over() {
        let before = headers(&[("content-length", "10"), ("content-type", "text/plain")]);
        let mut stored = before.clone();
        freshen(
            &mut stored,
            &headers(&[
                ("content-length", "0"),
                ("content-range", "bytes 0-1/2"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=1"),
                ("transfer-encoding", "chunked"),
                ("proxy-authenticate", "Basic"),
            ]),
        );
        assert_eq!(stored, before);
    }

    #[test]
    fn rfc9111_4_3_5_an_answer_to_head_agrees_or_differs() {
        let stored = headers(&[("etag", "\"a\""), ("last-modified", MONDAY), ("content-length", "10")]);
        let cases: [(&[(&'static str, &'static str)], Glimpse); 8] = [
            (&[], Glimpse::Agrees),
            (&[("etag", "\"a\""), ("last-modified", MONDAY), ("content-length", "10")], Glimpse::Agrees),
            (&[("etag", "\"b\"")], Glimpse::Differs),
            (&[("etag", "W/\"a\"")], Glimpse::Differs),
            (&[("last-modified", TUESDAY)], Glimpse::Differs),
            (&[("content-length", "11")], Glimpse::Differs),
            (&[("content-length", "x")], Glimpse::Differs),
            (&[("content-type", "text/html")], Glimpse::Agrees),
        ];
        for (answer, expected) in cases {
            assert_eq!(glimpse(&headers(answer), &stored, 10), expected, "{answer:?}");
        }
        assert_eq!(glimpse(&headers(&[("etag", "\"a\"")]), &headers(&[]), 10), Glimpse::Differs);
    }

    proptest! {
        #[test]
        fn every_confirmed_place_exists(
            answer in "(W/)?\"?[ab]?\"?",
            tags in proptest::collection::vec("(W/)?\"?[ab]?\"?", 0..6),
        ) {
            let of = |tag: &String| HeaderMap::from_iter([(ETAG, HeaderValue::from_str(tag).unwrap())]);
            let stored: Vec<HeaderMap> = tags.iter().map(of).collect();
            let places = confirmed(&of(&answer), &stored.iter().collect::<Vec<_>>());
            prop_assert!(places.iter().all(|place| *place < stored.len()));
        }
    }
}
