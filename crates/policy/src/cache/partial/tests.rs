//! Parts by example, section by section; then any two of them against the bytes.

use super::super::scripted::{NOW, headers};
use super::*;
use proptest::prelude::*;

type Given = [(&'static str, &'static str)];

const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const TUESDAY: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

fn range(first: u64, last: u64) -> ByteRange {
    ByteRange::new(first, last).unwrap()
}

fn part(first: u64, last: u64, complete: u64) -> Part {
    Part::new(range(first, last), complete).unwrap()
}

fn partial_content(fields: &Given) -> Option<Part> {
    part_of(StatusCode::PARTIAL_CONTENT, &headers(fields))
}

fn truncated(fields: &Given, received_bytes: u64) -> Option<Part> {
    part_of_truncated(StatusCode::OK, &headers(fields), received_bytes, NOW.wall)
}

fn answered(part: &Part, asked: &'static str) -> Option<Selection> {
    part.answers(&headers(&[("range", asked)]))
}

#[test]
fn rfc9110_15_3_7_a_206_with_one_content_range_of_known_length_is_a_part() {
    let range = ("content-range", "bytes 10-19/100");
    assert_eq!(partial_content(&[range]), Some(part(10, 19, 100)));
    assert_eq!(partial_content(&[range, ("content-length", "10")]), Some(part(10, 19, 100)));
    assert_eq!(partial_content(&[("content-range", "bytes 0-99/100")]), Some(part(0, 99, 100)));
    assert_eq!(part_of(StatusCode::OK, &headers(&[range])), None);
}

#[test]
fn rfc9110_15_3_7_a_206_that_is_unclear_about_what_it_holds_is_no_part() {
    let range = ("content-range", "bytes 10-19/100");
    let unclear: [&Given; 9] = [
        &[],
        &[range, range],
        &[range, ("content-length", "11")],
        &[range, ("content-length", "+10")],
        &[range, ("content-length", "10"), ("content-length", "10")],
        &[range, ("content-type", "Multipart/ByteRanges; boundary=a")],
        &[("content-range", "bytes 10-19/*")],
        &[("content-range", "bytes */100")],
        &[("content-range", "bytes 10-100/100")],
    ];
    for fields in unclear {
        assert_eq!(partial_content(fields), None, "{fields:?}");
    }
}

#[test]
fn rfc9111_3_3_a_200_that_broke_off_is_a_part_if_it_can_be_completed() {
    let (tag, length) = (("etag", "\"a\""), ("content-length", "100"));
    assert_eq!(truncated(&[tag, length], 40), Some(part(0, 39, 100)));
    assert_eq!(truncated(&[length, ("last-modified", MONDAY), ("date", TUESDAY)], 1), Some(part(0, 0, 100)));
    for received_bytes in [0, 100, 101, u64::MAX] {
        assert_eq!(truncated(&[tag, length], received_bytes), None, "{received_bytes}");
    }
    assert_eq!(truncated(&[tag], 40), None);
    assert_eq!(truncated(&[length], 40), None);
    assert_eq!(truncated(&[("etag", "W/\"a\""), length], 40), None);
    assert_eq!(part_of_truncated(StatusCode::NOT_FOUND, &headers(&[tag, length]), 40, NOW.wall), None);
}

#[test]
fn rfc9111_3_3_a_part_answers_what_lies_wholly_within_it() {
    let stored = part(50, 99, 100);
    for (asked, first, last) in [
        ("bytes=50-59", 50, 59),
        ("bytes=60-", 60, 99),
        ("bytes=-10", 90, 99),
        ("bytes=-50", 50, 99),
        ("bytes=60-1000", 60, 99),
        ("bytes=50-60,61-70", 50, 70),
    ] {
        assert_eq!(answered(&stored, asked), Some(Selection::Single(range(first, last))), "{asked}");
    }
    let several = Selection::Several(vec![range(90, 99), range(50, 50)]);
    assert_eq!(answered(&stored, "bytes=-10,50-50"), Some(several));
    for asked in ["bytes=49-59", "bytes=0-", "bytes=-51", "bytes=0-0,60-61", "bytes=100-", "bytes=", "lines=50-59"] {
        assert_eq!(answered(&stored, asked), None, "{asked}");
    }
    assert_eq!(stored.answers(&Fields::new()), None);
    assert_eq!(answered(&part(0, 49, 100), "bytes=-50"), None);
    assert_eq!(answered(&part(0, 49, 100), "bytes=40-"), None);
}

#[test]
fn a_range_is_found_in_the_content_of_the_part() {
    let stored = part(50, 69, 100);
    assert_eq!(stored.offset(range(50, 69)), Some(0));
    assert_eq!(stored.offset(range(60, 60)), Some(10));
    assert_eq!(stored.offset(range(49, 60)), None);
    assert_eq!(stored.offset(range(60, 70)), None);
}

#[test]
fn rfc9111_3_4_only_one_strong_validator_holds_parts_together() {
    let cases: [(&Given, &Given, bool); 12] = [
        (&[("etag", "\"a\"")], &[("etag", "\"a\"")], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
        (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false),
        (&[], &[], false),
        (&[("last-modified", MONDAY), ("date", TUESDAY)], &[("last-modified", MONDAY), ("date", TUESDAY)], true),
        (&[("last-modified", MONDAY), ("date", TUESDAY)], &[("last-modified", MONDAY), ("date", MONDAY)], false),
        (&[("last-modified", MONDAY), ("date", TUESDAY)], &[("last-modified", MONDAY)], false),
        (
            &[("last-modified", MONDAY), ("date", TUESDAY)],
            &[("last-modified", "Sun, 31 Dec 2023 00:00:00 GMT"), ("date", TUESDAY)],
            false,
        ),
        (
            &[("etag", "\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)],
            &[("last-modified", MONDAY), ("date", TUESDAY)],
            false,
        ),
        (
            &[("etag", "W/\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)],
            &[("etag", "W/\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)],
            false,
        ),
        (&[("etag", "\"a\""), ("content-encoding", "gzip")], &[("etag", "\"a\"")], false),
    ];
    for (one, other, expected) in cases {
        assert_eq!(have_one_validator(&headers(one), &headers(other), NOW.wall), expected, "{one:?} {other:?}");
        assert_eq!(have_one_validator(&headers(other), &headers(one), NOW.wall), expected, "{other:?} {one:?}");
    }
}

#[test]
fn rfc9111_3_4_parts_that_overlap_or_touch_are_joined() {
    let joined = |one: Part, other: Part| one.join(&other).map(|joined| joined.part);
    assert_eq!(joined(part(0, 49, 100), part(50, 99, 100)), Some(part(0, 99, 100)));
    assert_eq!(joined(part(50, 99, 100), part(0, 49, 100)), Some(part(0, 99, 100)));
    assert_eq!(joined(part(10, 30, 100), part(20, 40, 100)), Some(part(10, 40, 100)));
    assert_eq!(joined(part(10, 40, 100), part(20, 30, 100)), Some(part(10, 40, 100)));
    assert_eq!(joined(part(0, 48, 100), part(50, 99, 100)), None);
    assert_eq!(joined(part(0, 49, 100), part(50, 99, 101)), None);
    let end = u64::MAX;
    assert_eq!(joined(part(0, end - 2, end), part(end - 1, end - 1, end)), Some(part(0, end - 1, end)));
}

#[test]
fn a_part_that_holds_the_other_is_all_that_is_needed() {
    for (one, other, holder) in [
        (part(0, 9, 20), part(0, 9, 20), Holder::This),
        (part(0, 9, 20), part(0, 12, 20), Holder::Other),
        (part(0, 9, 20), part(3, 4, 20), Holder::This),
        (part(3, 4, 20), part(0, 4, 20), Holder::Other),
    ] {
        let joined = one.join(&other).unwrap();
        assert_eq!((joined.leading.holder, joined.trailing), (holder, None), "{one:?} {other:?}");
    }
}

#[test]
fn rfc9110_15_3_7_3_a_joined_head_takes_the_newer_fields_and_says_what_it_holds() {
    let stored = headers(&[
        ("etag", "\"a\""),
        ("content-type", "text/plain"),
        ("content-range", "bytes 0-49/100"),
        ("content-length", "50"),
        ("date", MONDAY),
        ("age", "7"),
    ]);
    let newer = headers(&[("etag", "\"a\""), ("content-range", "bytes 50-79/100"), ("date", TUESDAY)]);
    let common = [("content-type", "text/plain"), ("etag", "\"a\""), ("date", TUESDAY)];
    let (status, fields) = joined_head(&stored, &newer, &part(0, 79, 100));
    let expected = [&common[..], &[("content-length", "80"), ("content-range", "bytes 0-79/100")]].concat();
    assert_eq!((status, fields), (StatusCode::PARTIAL_CONTENT, headers(&expected)));
    let (status, fields) = joined_head(&stored, &newer, &part(0, 99, 100));
    let expected = [&common[..], &[("content-length", "100")]].concat();
    assert_eq!((status, fields), (StatusCode::OK, headers(&expected)));
}

#[test]
fn rfc9110_13_1_5_the_rest_is_asked_for_under_the_stored_validator() {
    let mut request = headers(&[("accept", "*/*"), ("if-none-match", "\"b\""), ("if-modified-since", MONDAY)]);
    let stored = headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]);
    request.apply_all(ask_for_rest(&stored, &part(0, 49, 100), NOW.wall).unwrap());
    assert_eq!(request, headers(&[("accept", "*/*"), ("range", "bytes=50-99"), ("if-range", "\"a\"")]));
    let mut request = Fields::new();
    let dated = headers(&[("last-modified", MONDAY), ("date", TUESDAY)]);
    request.apply_all(ask_for_rest(&dated, &part(0, 49, 100), NOW.wall).unwrap());
    assert_eq!(request.only(Known::IfRange), Some(MONDAY.as_bytes()));
}

#[test]
fn what_cannot_be_completed_by_one_range_is_not_asked_for() {
    let strong = headers(&[("etag", "\"a\"")]);
    assert_eq!(ask_for_rest(&strong, &part(1, 49, 100), NOW.wall), None);
    assert_eq!(ask_for_rest(&strong, &part(0, 99, 100), NOW.wall), None);
    assert_eq!(ask_for_rest(&headers(&[("etag", "W/\"a\"")]), &part(0, 49, 100), NOW.wall), None);
    assert_eq!(part(0, 99, 100).rest(), None);
    assert!(part(0, 99, 100).is_whole() && !part(1, 99, 100).is_whole());
}

/// The content of a part of a representation whose bytes are their own positions.
const TAGGED: (&str, &str) = ("etag", "\"a\"");

fn find(missing: &Missing, status: u16, answer: &Given) -> Option<FoundPart> {
    missing.find(&headers(&[TAGGED]), StatusCode::from_u16(status).unwrap(), &headers(answer), NOW.wall)
}

#[test]
fn what_is_missing_is_asked_for_under_the_validator_of_what_was_begun() {
    let missing = Missing { first: 7, last: None, complete: None };
    let mut request = headers(&[("if-none-match", "\"z\""), ("range", "bytes=0-"), ("accept", "*/*")]);
    let begun = headers(&[TAGGED]);
    request.apply_all(missing.ask(&begun, NOW.wall).unwrap());
    assert_eq!(request, headers(&[("accept", "*/*"), ("range", "bytes=7-"), ("if-range", "\"a\"")]));
    request.apply_all(Missing { last: Some(9), ..missing }.ask(&begun, NOW.wall).unwrap());
    assert_eq!(request.only(Known::Range), Some(&b"bytes=7-9"[..]));
    assert_eq!(missing.ask(&headers(&[("etag", "W/\"a\"")]), NOW.wall), None);
}

#[test]
fn what_is_missing_is_found_only_in_the_same_representation_at_the_same_place() {
    let missing = Missing { first: 7, last: None, complete: Some(10) };
    let place = ("content-range", "bytes 7-9/10");
    assert_eq!(find(&missing, 206, &[TAGGED, place]), Some(FoundPart { skip_bytes: 0, bytes: Some(3) }));
    assert_eq!(find(&missing, 200, &[TAGGED]), Some(FoundPart { skip_bytes: 7, bytes: Some(3) }));
    let unknown = Missing { complete: None, ..missing };
    assert_eq!(find(&unknown, 200, &[TAGGED]), Some(FoundPart { skip_bytes: 7, bytes: None }));
    let window = Missing { last: Some(8), ..missing };
    assert_eq!(find(&window, 200, &[TAGGED]), Some(FoundPart { skip_bytes: 7, bytes: Some(2) }));
    assert_eq!(
        find(&window, 206, &[TAGGED, ("content-range", "bytes 7-8/10")]).map(|found| found.bytes),
        Some(Some(2))
    );
    let others: [(u16, &Given); 9] = [
        (206, &[("etag", "\"b\""), place]),
        (206, &[("etag", "W/\"a\""), place]),
        (206, &[place]),
        (206, &[TAGGED, ("content-encoding", "gzip"), place]),
        (206, &[TAGGED, ("content-range", "bytes 6-9/10")]),
        (206, &[TAGGED, ("content-range", "bytes 7-8/10")]),
        (206, &[TAGGED, ("content-range", "bytes 7-10/11")]),
        (200, &[TAGGED, ("content-length", "11")]),
        (404, &[TAGGED]),
    ];
    for (status, answer) in others {
        assert_eq!(find(&missing, status, answer), None, "{status} {answer:?}");
    }
}

fn content(part: &Part) -> Vec<u64> {
    (part.range().first()..=part.range().last()).collect()
}

fn any_part(complete: u64) -> impl Strategy<Value = Part> {
    (0..complete, 0..complete).prop_map(move |(one, other)| part(one.min(other), one.max(other), complete))
}

proptest! {
    #[test]
    fn joined_parts_hold_just_the_bytes_of_both((one, other) in (any_part(24), any_part(24))) {
        let (mine, yours) = (content(&one), content(&other));
        let together = |position: &u64| mine.contains(position) || yours.contains(position);
        let all: Vec<u64> = (0..24).filter(together).collect();
        let has_a_gap = all.windows(2).any(|pair| pair[0] + 1 != pair[1]);
        let Some(joined) = one.join(&other) else {
            prop_assert!(has_a_gap);
            return Ok(());
        };
        prop_assert_eq!(content(&joined.part), all.clone());
        let mut copied = Vec::new();
        for piece in [Some(joined.leading), joined.trailing].into_iter().flatten() {
            let from = match piece.holder {
                Holder::This => &mine,
                Holder::Other => &yours,
            };
            prop_assert!(piece.bytes > 0);
            copied.extend_from_slice(&from[piece.skip_bytes as usize..][..piece.bytes as usize]);
        }
        prop_assert_eq!(copied, all);
    }

    #[test]
    fn a_part_and_its_rest_are_the_whole(last in 0..60u64, complete in 1..60u64) {
        if let Some(stored) = Part::new(range(0, last), complete) {
            let whole = match stored.rest() {
                Some(rest) => stored.join(&Part::new(rest, complete).unwrap()).unwrap().part,
                None => stored,
            };
            prop_assert!(whole.is_whole());
        }
    }

    #[test]
    fn an_answer_never_needs_a_byte_that_the_part_lacks(
        stored in any_part(40),
        asked in "bytes=([0-9]{0,2}-[0-9]{0,2},){1,3}",
    ) {
        let fields = Fields::from_iter([("range", &asked)]);
        let ranges = match stored.answers(&fields) {
            Some(Selection::Single(one)) => vec![one],
            Some(Selection::Several(all)) => all,
            Some(Selection::Whole | Selection::Unsatisfiable) => panic!("neither is an answer of a part"),
            None => vec![],
        };
        let held = content(&stored);
        for one in ranges {
            prop_assert!((one.first()..=one.last()).all(|position| held.contains(&position)));
        }
    }

    #[test]
    fn any_content_range_makes_a_sound_part_or_none(value in "bytes [0-9]{1,20}-[0-9]{1,20}/[0-9*]{1,20}") {
        let fields = Fields::from_iter([("content-range", &value)]);
        if let Some(part) = part_of(StatusCode::PARTIAL_CONTENT, &fields) {
            prop_assert!(part.range().first() <= part.range().last() && part.range().last() < part.complete());
        }
    }

    /// Whatever the origin responds, a client with the beginning ends with the bytes that the response's fields
    /// promise, or gets no more.
    #[test]
    fn what_is_found_goes_on_where_the_client_is(
        (first, complete) in (0..40u64, 1..40u64), (from, to, of) in (0..40u64, 0..40u64, 1..40u64), is_whole: bool
    ) {
        let missing = Missing { first, last: None, complete: Some(complete) };
        let mut answer = headers(&[TAGGED]);
        let (status, holds) = if is_whole {
            answer.set(Known::ContentLength, of.to_string());
            (StatusCode::OK, 0..of)
        } else {
            answer.set(Known::ContentRange, format!("bytes {from}-{to}/{of}"));
            (StatusCode::PARTIAL_CONTENT, from..to + 1)
        };
        if let Some(found) = missing.find(&headers(&[TAGGED]), status, &answer, NOW.wall) {
            let bytes = usize::try_from(found.bytes.unwrap()).unwrap();
            let taken: Vec<u64> = holds.skip(usize::try_from(found.skip_bytes).unwrap()).take(bytes).collect();
            prop_assert_eq!(taken, (first..complete).collect::<Vec<_>>());
        }
    }
}
