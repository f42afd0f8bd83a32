//! Pairs of responses by example, rule by rule; then any JSON and any bytes.

use super::*;
use http::header::CONTENT_TYPE;
use message::Fields;
use proptest::prelude::*;
use rules::Pointer;
use serde_json::{Value, json};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];

/// Kind, path, ours and theirs with their values.
type Rendered = (Kind, String, String, String);

fn all() -> Rules {
    let headers = vec![CONTENT_TYPE, HeaderName::from_static("x-set")];
    Rules { status: true, headers, json_body: true, other_body: true, ignore: Vec::new() }
}

fn ignoring(pointers: &[&str]) -> Rules {
    Rules { ignore: pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect(), ..all() }
}

/// A response that owns its data.
#[derive(Clone, Debug)]
struct OwnedResponse {
    status: u16,
    headers: Fields,
    body: Option<Vec<u8>>,
}

fn response(status: u16, fields: &[(&str, &str)], body: &[u8]) -> OwnedResponse {
    OwnedResponse { status, headers: fields.iter().copied().collect(), body: Some(body.to_vec()) }
}

fn json_response(value: &Value) -> OwnedResponse {
    response(200, JSON, value.to_string().as_bytes())
}

fn unknown(fields: &[(&str, &str)]) -> OwnedResponse {
    OwnedResponse { body: None, ..response(200, fields, b"") }
}

impl OwnedResponse {
    fn answer(&self) -> Response<'_> {
        Response {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers: &self.headers,
            body: self.body.as_deref().map_or(Content::Unknown, Content::Whole),
        }
    }

    fn against(&self, theirs: &Self, rules: &Rules) -> Result<Vec<Difference>, Skip> {
        compare(rules, &self.answer(), &theirs.answer(), &Method::GET)
    }
}

fn rendered(found: &[Difference]) -> Vec<Rendered> {
    let one = |one: &Difference| (one.kind, one.path.clone(), one.ours.text(true), one.theirs.text(true));
    found.iter().map(one).collect()
}

fn between(ours: &Value, theirs: &Value, rules: &Rules) -> Vec<Rendered> {
    rendered(&json_response(ours).against(&json_response(theirs), rules).unwrap())
}

fn row(kind: Kind, path: &str, ours: &str, theirs: &str) -> Rendered {
    (kind, path.to_owned(), ours.to_owned(), theirs.to_owned())
}

#[test]
fn statuses_differ_when_they_are_compared() {
    let (ours, theirs) = (response(200, HTML, b"x"), response(201, HTML, b"x"));
    assert_eq!(rendered(&ours.against(&theirs, &all()).unwrap()), [row(Kind::Status, "", "200", "201")]);
    assert_eq!(ours.against(&theirs, &Rules { status: false, ..all() }), Ok(vec![]));
}

#[test]
fn a_status_that_hinges_on_the_request_cannot_be_compared_with_success() {
    for (ours, theirs) in [(304, 200), (200, 304), (206, 200), (304, 304), (416, 206), (412, 200), (101, 200)] {
        let pair = (response(ours, JSON, b"{}"), response(theirs, JSON, b"[]"));
        assert_eq!(pair.0.against(&pair.1, &all()), Err(Skip::Status), "{ours} {theirs}");
    }
}

#[test]
fn a_failure_differs_from_a_status_that_hinges_on_the_request() {
    let (ours, theirs) = (response(304, JSON, b""), response(500, JSON, b"oh"));
    assert_eq!(rendered(&ours.against(&theirs, &all()).unwrap()), [row(Kind::Status, "", "304", "500")]);
}

#[test]
fn listed_fields_are_compared_with_all_their_lines_in_order() {
    let ours = response(200, &[("x-set", "a"), ("x-set", "b"), ("x-other", "1")], b"");
    for (fields, differs) in [
        (&[("x-set", "a"), ("x-set", "b"), ("x-other", "2")] as &[_], None),
        (&[("x-set", "b"), ("x-set", "a")], Some("b, a")),
        (&[("x-set", "a")], Some("a")),
        (&[], Some("absent")),
    ] {
        let found = rendered(&ours.against(&response(200, fields, b""), &all()).unwrap());
        let expected: Vec<_> = differs.map(|text| row(Kind::Header, "x-set", "a, b", text)).into_iter().collect();
        assert_eq!(found, expected, "{fields:?}");
    }
}

#[test]
fn json_differs_by_structure_and_not_by_text() {
    for (ours, theirs, differs) in [
        (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), vec![]),
        (json!({"a": 1}), json!({}), vec![row(Kind::Missing, "/a", "1", "absent")]),
        (json!({}), json!({"a": null}), vec![row(Kind::Added, "/a", "absent", "null")]),
        (json!({"a": null}), json!({"a": 0}), vec![row(Kind::Type, "/a", "null", "0")]),
        (json!({"a": "1"}), json!({"a": 1}), vec![row(Kind::Type, "/a", "\"1\"", "1")]),
        (json!({"a": true}), json!({"a": false}), vec![row(Kind::Value, "/a", "true", "false")]),
        (json!({"a": "x"}), json!({"a": "y"}), vec![row(Kind::Value, "/a", "\"x\"", "\"y\"")]),
        (
            json!([[1], {}]),
            json!([{}, [2]]),
            vec![row(Kind::Type, "/0", "array(1)", "object(0)"), row(Kind::Type, "/1", "object(0)", "array(1)")],
        ),
        (
            json!([1, 2, 3]),
            json!([1, 5]),
            vec![row(Kind::Length, "", "array(3)", "array(2)"), row(Kind::Value, "/1", "2", "5")],
        ),
        (
            json!({"a/b": {"m~n": [{"": 1}]}}),
            json!({"a/b": {"m~n": [{"": 2}]}}),
            vec![row(Kind::Value, "/a~1b/m~0n/0/", "1", "2")],
        ),
    ] {
        assert_eq!(between(&ours, &theirs, &all()), differs, "{ours} {theirs}");
    }
}

#[test]
fn numbers_are_equal_when_numerically_equal() {
    for (ours, theirs, equal) in [
        ("1", "1.0", true),
        ("1e2", "100", true),
        ("-0", "0", true),
        ("0.10", "0.1", true),
        ("9007199254740993", "9007199254740992", false),
        ("9007199254740993", "9007199254740992.0", false),
        ("18446744073709551615", "18446744073709551614", false),
        ("18446744073709551615", "18446744073709551616", false),
        ("-9223372036854775808", "-9223372036854775807", false),
        ("1", "1.5", false),
    ] {
        let pair = (response(200, JSON, ours.as_bytes()), response(200, JSON, theirs.as_bytes()));
        assert_eq!(pair.0.against(&pair.1, &all()).unwrap().is_empty(), equal, "{ours} {theirs}");
    }
}

#[test]
fn of_members_of_the_same_name_the_last_counts() {
    let ours = response(200, JSON, br#"{"a":1,"b":0,"a":2}"#);
    assert_eq!(ours.against(&json_response(&json!({"a": 2, "b": 0})), &all()), Ok(vec![]));
}

#[test]
fn what_is_ignored_is_cut_with_all_below_it() {
    let ours = json!({"at": 1, "items": [{"seen": {"x": 1}, "id": 1}], "a/b": 1});
    let theirs = json!({"items": [{"seen": 2, "id": 2}, {"id": 3}], "a/b": 2});
    for (ignore, left) in [
        (&["/at", "/items/*/seen", "/a~1b"] as &[_], vec!["/items", "/items/0/id"]),
        (&["/at", "/items/0", "/a~1b"], vec!["/items"]),
        (&["/at", "/items/1", "/items/0/*", "/a~1b"], vec![]),
        (&["/at", "/items/*", "/a~1b"], vec![]),
        (&["/at", "/items/*/*", "/a~1b"], vec!["/items"]),
        (&["/items", "/seen", "/*/x", "/00"], vec!["/a~1b", "/at"]),
        (&["/*"], vec![]),
    ] {
        let found = between(&ours, &theirs, &ignoring(ignore));
        let paths: Vec<_> = found.iter().map(|(_, path, ..)| path.as_str()).collect();
        assert_eq!(paths, left, "{ignore:?}");
    }
}

#[test]
fn a_place_has_stars_for_elements_and_not_for_members_that_look_like_them() {
    let (ours, theirs) = (json_response(&json!({"7": [{"id": 1}]})), json_response(&json!({"7": [{"id": 2}]})));
    let found = ours.against(&theirs, &all()).unwrap();
    assert_eq!((found[0].path.as_str(), found[0].place()), ("/7/0/id", "/7/*/id"));
}

#[test]
fn other_bodies_are_compared_byte_by_byte() {
    let (ours, theirs) = (response(200, HTML, b"<p>1"), response(200, HTML, b"<p>22"));
    assert_eq!(rendered(&ours.against(&theirs, &all()).unwrap()), [row(Kind::Body, "", "bytes(4)", "bytes(5)")]);
    assert_eq!(ours.against(&ours.clone(), &all()), Ok(vec![]));
    assert_eq!(ours.against(&theirs, &Rules { other_body: false, ..all() }), Ok(vec![]));
}

#[test]
fn json_against_what_is_none_differs_as_a_whole() {
    let rules = Rules { headers: vec![], ..all() };
    let ours = json_response(&json!({"a": 1}));
    for theirs in
        [response(200, HTML, b"<p>"), response(200, JSON, b"{"), response(200, &[], b""), response(204, JSON, b"x")]
    {
        let found = rendered(&ours.against(&theirs, &rules).unwrap());
        assert_eq!(found.iter().filter(|one| one.0 == Kind::Body).count(), 1, "{found:?}");
    }
    assert_eq!(ours.against(&response(200, HTML, br#"{"a":1}"#), &rules), Ok(vec![]), "the same bytes");
}

#[test]
fn media_types_with_json_are_json_whatever_their_parameters() {
    let rules = Rules { headers: vec![], ..all() };
    for (of_ours, of_theirs) in [
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON", "application/problem+json"),
        ("application/vnd.a+JSON ;v=1", "application/hal+json"),
    ] {
        let ours = response(200, &[("content-type", of_ours)], br#"{"a": 1}"#);
        let theirs = response(200, &[("content-type", of_theirs)], br#"{"a":1.0}"#);
        assert_eq!(ours.against(&theirs, &rules), Ok(vec![]), "{of_ours} {of_theirs}");
    }
}

#[test]
fn what_is_no_json_on_both_sides_counts_as_another_body() {
    let deep = |levels: usize| response(200, JSON, &[b"[".repeat(levels), b"]".repeat(levels)].concat());
    for (ours, theirs) in [(deep(200), deep(300)), (response(200, JSON, b"{oh"), response(200, JSON, b"{no"))] {
        assert_eq!(ours.against(&theirs, &all()).unwrap()[0].kind, Kind::Body);
        assert_eq!(ours.against(&theirs, &Rules { other_body: false, ..all() }), Ok(vec![]));
    }
}

#[test]
fn json_of_too_many_values_is_too_long() {
    let many = response(200, JSON, format!("[{}0]", "0,".repeat(600_000)).as_bytes());
    assert_eq!(many.against(&json_response(&json!([])), &all()), Err(Skip::Long));
    assert_eq!(many.against(&many.clone(), &all()), Ok(vec![]));
}

#[test]
fn an_unknown_body_is_skipped_only_when_bodies_are_asked_for_and_nothing_else_differs() {
    let whole = json_response(&json!({}));
    assert_eq!(unknown(JSON).against(&whole, &all()), Err(Skip::Long));
    assert_eq!(whole.against(&unknown(JSON), &all()), Err(Skip::Long));
    assert_eq!(whole.against(&unknown(JSON), &Rules { json_body: false, ..all() }), Ok(vec![]));
    let failed = OwnedResponse { status: 500, ..unknown(JSON) };
    assert_eq!(rendered(&whole.against(&failed, &all()).unwrap()), [row(Kind::Status, "", "200", "500")]);
}

#[test]
fn answers_without_a_body_have_none_to_compare() {
    let (ours, theirs) = (unknown(HTML), response(200, HTML, b"x"));
    assert_eq!(compare(&all(), &ours.answer(), &theirs.answer(), &Method::HEAD), Ok(vec![]));
    let (ours, theirs) = (OwnedResponse { status: 204, ..unknown(&[]) }, response(204, &[], b""));
    assert_eq!(ours.against(&theirs, &all()), Ok(vec![]));
    assert_eq!(response(200, JSON, b"").against(&response(200, JSON, b""), &all()), Ok(vec![]));
}

#[test]
fn codings_are_undone_before_bodies_are_compared() {
    let ours = json_response(&json!({"a": 1}));
    let coded = |coding: &str, body: &[u8]| {
        response(200, &[("content-type", "application/json"), ("content-encoding", coding)], body)
    };
    assert_eq!(ours.against(&coded("gzip", &coding::tests::gzipped(br#"{ "a":1 }"#)), &all()), Ok(vec![]));
    assert_eq!(ours.against(&coded("gzip", b"{}"), &all()), Err(Skip::Broken));
    assert_eq!(ours.against(&coded("zstd", b"{}"), &all()), Err(Skip::Coding));
    let bomb = coding::tests::gzipped(&vec![b' '; 9 << 20]);
    assert_eq!(ours.against(&coded("gzip", &bomb), &all()), Err(Skip::Long));
}

#[test]
fn secrets_are_not_shown_wherever_they_lie() {
    let ours = json!({"login": {"user_password": "hunter2", "Api-Key": [{"id": "k1"}]}, "list": [{"token": 1}]});
    let theirs = json!({"login": {"user_password": "hunter3", "Api-Key": [{"id": "k2"}]}, "list": [{"token": 2}]});
    assert_eq!(
        between(&ours, &theirs, &all()),
        [
            row(Kind::Value, "/list/0/token", "number", "number"),
            row(Kind::Value, "/login/Api-Key/0/id", "string(2)", "string(2)"),
            row(Kind::Value, "/login/user_password", "string(7)", "string(7)"),
        ]
    );
    let rules = Rules { headers: vec![http::header::SET_COOKIE], ..all() };
    let (ours, theirs) = (response(200, &[("set-cookie", "a=1")], b""), response(200, &[], b""));
    let found = ours.against(&theirs, &rules).unwrap();
    assert_eq!(rendered(&found), [row(Kind::Header, "set-cookie", "string(3)", "absent")]);
}

#[test]
fn values_are_shown_only_when_asked_for() {
    let found = json_response(&json!({"a": "x", "b": 1}))
        .against(&json_response(&json!({"a": "yy", "b": true})), &all())
        .unwrap();
    let shown: Vec<_> = found.iter().map(|one| (one.ours.text(false), one.theirs.text(false))).collect();
    let expected = [("string(1)", "string(2)"), ("number", "boolean")];
    assert_eq!(shown, expected.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())));
}

#[test]
fn long_names_and_long_ways_are_cut() {
    let name = "n".repeat(100_000);
    let nested = |value: Value| (0..100).fold(value, |inner, _| json!({ name.as_str(): inner }));
    let found = json_response(&nested(json!(1))).against(&json_response(&nested(json!(2))), &all()).unwrap();
    assert!(found[0].path.len() < PATH_BYTES_MAX + 8, "{}", found[0].path.len());
    assert!(found[0].path.ends_with("/…"));
}

#[test]
fn a_pair_is_left_after_so_many_differences() {
    let many = |value: u32| Value::from(vec![value; 10_000]);
    assert_eq!(between(&many(1), &many(2), &all()).len(), DIFFERENCES_MAX);
}

/// Any document of limited depth. Names come from a small set, so that two documents share some.
fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-4..4_i32).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z~/\"\\\\\u{1}é]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The reference implementation: no order, limits or pointers.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || ((one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value)| other.get(name).is_some_and(|other| equal(value, other));
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

fn mirrored(kind: Kind) -> Kind {
    match kind {
        Kind::Missing => Kind::Added,
        Kind::Added => Kind::Missing,
        Kind::Status | Kind::Header | Kind::Body | Kind::Type | Kind::Value | Kind::Length => kind,
    }
}

fn bytes_with_codings() -> impl Strategy<Value = OwnedResponse> {
    let codings = prop::sample::select(vec!["gzip", "deflate", "br", "identity", "gzip, br", "x", "", ","]);
    let types = prop::sample::select(vec!["application/json", "a/b+json", "text/html", ";", ""]);
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..200), "[\\[\\]{},:\"0-9a]{0,40}".prop_map(Vec::from)];
    (100..600_u16, codings, types, bytes).prop_map(|(status, coding, media_type, body)| {
        response(status, &[("content-encoding", coding), ("content-type", media_type)], &body)
    })
}

proptest! {
    #[test]
    fn a_document_equals_itself_however_it_is_written(document in documents()) {
        let pretty = response(200, JSON, serde_json::to_string_pretty(&document).unwrap().as_bytes());
        prop_assert_eq!(json_response(&document).against(&pretty, &all()), Ok(vec![]));
    }

    #[test]
    fn two_documents_differ_alike_from_both_sides(one in documents(), other in documents()) {
        let there = json_response(&one).against(&json_response(&other), &all()).unwrap();
        let back = json_response(&other).against(&json_response(&one), &all()).unwrap();
        let turned: Vec<_> = there.into_iter().map(|found| Difference {
            kind: mirrored(found.kind),
            ours: found.theirs,
            theirs: found.ours,
            ..found
        }).collect();
        prop_assert_eq!(turned, back);
    }

    #[test]
    fn every_difference_lies_where_its_pointer_says(one in documents(), other in documents()) {
        for found in json_response(&one).against(&json_response(&other), &all()).unwrap() {
            // Names with control characters would be escaped; the generated ones have none.
            let (ours, theirs) = (one.pointer(&found.path), other.pointer(&found.path));
            prop_assert_eq!(ours.is_none(), found.kind == Kind::Added);
            prop_assert_eq!(theirs.is_none(), found.kind == Kind::Missing);
            prop_assert_ne!(ours, theirs);
        }
    }

    #[test]
    fn something_is_found_exactly_when_documents_are_not_equal(one in documents(), other in documents()) {
        prop_assert_eq!(json_response(&one).against(&json_response(&other), &all()).unwrap().is_empty(), equal(&one, &other));
    }

    #[test]
    fn ignoring_everything_finds_nothing(one in documents(), other in documents()) {
        let (ours, theirs) = (json!({ "a": one }), json!({ "a": other }));
        prop_assert_eq!(between(&ours, &theirs, &ignoring(&["/*"])), vec![]);
        prop_assert_eq!(between(&ours, &theirs, &ignoring(&["/a"])), vec![]);
    }

    #[test]
    fn whatever_is_subtracted_from_itself_leaves_nothing(one in documents(), other in documents()) {
        let found = json_response(&one).against(&json_response(&other), &all()).unwrap();
        let mut noise = Noise::default();
        prop_assert_eq!(noise.subtract(found.clone(), &found), vec![]);
        noise.learn(&found);
        prop_assert_eq!(noise.subtract(found, &[]), vec![]);
    }

    #[test]
    fn no_answers_are_too_odd_to_be_compared(one in bytes_with_codings(), other in bytes_with_codings()) {
        if let Ok(found) = one.against(&other, &all()) {
            prop_assert!(found.len() <= DIFFERENCES_MAX);
        }
        let itself = one.against(&one.clone(), &all());
        prop_assert!(itself.is_err() || itself == Ok(vec![]));
        let _ = coding::decode(&one.headers, one.body.as_deref().unwrap_or_default());
    }
}
