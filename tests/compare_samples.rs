//! The samples of a mirror: which differing pairs are kept, how many, and what they never show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use serde_json::{Value, json};
use testbed::{Compared, Script, answer, places};

/// Compares all there is, with these keys of `compare` besides.
fn all(more: &str) -> String {
    let basic = "status = true, headers = [\"content-type\"], json_body = true, other_body = true";
    format!("compare = {{ {basic}{more} }}")
}

fn document(body: &str) -> Script {
    answer(200, &[("Content-Type", "application/json")], body)
}

fn text(body: &str) -> Script {
    answer(200, &[("Content-Type", "text/plain")], body)
}

#[test]
fn the_last_samples_are_kept_newest_first() {
    let pair = Compared::by(&all(", samples_max = 3"));
    pair.answer(&text("one"), &answer(418, &[("Content-Type", "text/plain")], "two"));
    for turn in 0..5 {
        pair.forebay.get(&format!("/{turn}")).is(200, "one");
        pair.after(turn + 1);
    }
    let found = pair.after(5);
    let samples = found["samples"].as_array().unwrap().iter();
    let targets: Vec<_> = samples.map(|sample| sample["target"].as_str().unwrap()).collect();
    assert_eq!((targets, found["mismatched"].as_u64()), (vec!["/4", "/3", "/2"], Some(5)));
}

/// The only sample of these two answers to a GET of this target.
#[track_caller]
fn sample(keys: &str, target: &str, ours: &Script, theirs: &Script) -> (Compared, Value) {
    let pair = Compared::by(&all(keys));
    pair.answer(ours, theirs);
    pair.forebay.get(target).is_status(200);
    let sample = pair.after(1)["samples"][0].clone();
    (pair, sample)
}

#[test]
fn a_sample_says_which_request_it_was() {
    let theirs = answer(404, &[("Content-Type", "text/plain")], "one");
    let (pair, sample) = sample("", "/users/7", &text("one"), &theirs);
    let said = json!([sample["method"], sample["target"], sample["status"], sample["mirror_status"]]);
    assert_eq!(said, json!(["GET", "/users/7", 200, 404]));
    assert_eq!(sample["id"].as_str(), pair.main.last().head.field("x-request-id"));
    assert!(sample["at_ms"].as_u64() > Some(1_700_000_000_000), "{sample:#}");
    assert_eq!(places(&sample["differences"]), [("status", "")]);
}

#[test]
fn a_sample_numbers_the_elements_and_shows_no_values() {
    let ours = document(r#"{"items":[{"name":"x"},{"name":"shibboleth","age":4711}]}"#);
    let theirs = document(r#"{"items":[{"name":"x"},{"name":"mellon"}]}"#);
    let (_pair, sample) = sample("", "/", &ours, &theirs);
    assert_eq!(places(&sample["differences"]), [("missing", "/items/1/age"), ("value", "/items/1/name")]);
    let shown = sample.to_string();
    assert!(["shibboleth", "mellon", "4711"].iter().all(|value| !shown.contains(value)), "{sample:#}");
    let of = |path: &str| sample["differences"].as_array().unwrap().iter().find(|one| one["path"] == path).unwrap();
    let name = of("/items/1/name");
    assert_eq!((name["ours"].as_str(), name["theirs"].as_str()), (Some("string(10)"), Some("string(6)")));
    assert_eq!(of("/items/1/age")["theirs"], "absent");
}

#[test]
fn a_sample_shows_values_where_the_file_says_so() {
    let ours = document(&format!(r#"{{"name":"shibboleth","long":"{}"}}"#, "a".repeat(1000)));
    let theirs = document(&format!(r#"{{"name":"mellon","long":"{}"}}"#, "b".repeat(1000)));
    let (_pair, sample) = sample(", sample_values = true", "/", &ours, &theirs);
    let shown = sample.to_string();
    assert!(shown.contains("shibboleth") && shown.contains("mellon"), "{sample:#}");
    assert!(shown.len() < 1000, "{sample:#}");
}

#[test]
fn sensitive_values_are_never_shown() {
    let keys = ", sample_values = true";
    let secrets = |value: &str| {
        document(&format!(
            r#"{{"password":"{value}1","apiKey":"{value}2","auth":{{"access_token":"{value}3"}},"Session-Id":"{value}4","client_secret":["{value}5"]}}"#
        ))
    };
    let (_pair, sample) = sample(keys, "/", &secrets("hunter"), &secrets("killer"));
    assert_eq!(sample["differences"].as_array().unwrap().len(), 5, "{sample:#}");
    let shown = sample.to_string();
    assert!(!shown.contains("hunter") && !shown.contains("killer"), "{sample:#}");
}

#[test]
fn the_values_of_a_query_are_never_shown() {
    for keys in ["", ", sample_values = true"] {
        let (_pair, sample) = sample(keys, "/find?email=a%40b.test&page=2", &text("one"), &text("two"));
        let target = sample["target"].as_str().unwrap();
        assert!(target.starts_with("/find?email=") && target.contains("&page="), "{target}");
        assert!(!target.contains("b.test") && !target.contains('2'), "{target}");
    }
}

#[test]
fn no_field_that_holds_a_secret_is_shown() {
    let keys = "compare = { status = true, headers = [\"set-cookie\"], json_body = true, other_body = true, sample_values = true }";
    let pair = Compared::by(keys);
    pair.answer(&answer(200, &[("Set-Cookie", "sid=hunter")], ""), &answer(200, &[("Set-Cookie", "sid=killer")], ""));
    pair.forebay.get("/").is_status(200);
    let found = pair.after(1);
    assert_eq!(places(&found["differences"]), [("header", "set-cookie")]);
    assert!(!found.to_string().contains("hunter") && !found.to_string().contains("killer"), "{found:#}");
}
