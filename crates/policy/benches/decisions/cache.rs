//! The cache's part of a request: its key, the verdict on what is stored, and reading a response's head.

use std::time::Duration;

use ::message::Fields;
use divan::{Bencher, black_box};
use http::{HeaderName, Method, StatusCode};
use policy::cache::facts::ResponseFacts;
use policy::cache::freshness::{self, TtlRules};
use policy::cache::key::{Key, KeyRules, Pattern, Scheme, Space, Target};
use policy::cache::lookup::{self, StaleRules, Stored};
use policy::message::cache_control::RequestDirectives;
use policy::time::Now;

use crate::{browser, headers};

/// Friday, 20 November 2026, 12:00:00 UTC.
const NOON: Duration = Duration::from_secs(1_795_176_000);

fn response() -> Fields {
    headers(&[
        ("server", "things"),
        ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("etag", "\"17-small\""),
        ("last-modified", "Thu, 19 Nov 2026 08:00:00 GMT"),
        ("vary", "accept-encoding"),
        ("cache-control", "public, max-age=600, stale-while-revalidate=60"),
    ])
}

fn keys(bencher: Bencher<'_, '_>, rules: &KeyRules, query: Option<&str>) {
    let headers = browser();
    let target = Target::of_normal(Scheme::Https, "shop.example.com", None, "/things/17", query);
    let space = Space { name: b"things", rules };
    bencher.bench(|| Key::of_request(space, &Method::GET, black_box(&target), &headers, false));
}

#[divan::bench]
fn key_plain(bencher: Bencher<'_, '_>) {
    keys(bencher, &KeyRules::default(), Some("size=small&colour=blue"));
}

#[divan::bench]
fn key_sorted_query(bencher: Bencher<'_, '_>) {
    let rules = KeyRules {
        sort_query: true,
        drop_query: ["utm_*", "gclid"].into_iter().filter_map(Pattern::parse).collect(),
        ..KeyRules::default()
    };
    keys(bencher, &rules, Some("size=small&utm_source=letter&colour=blue&page=2&gclid=17&around=3"));
}

#[divan::bench]
fn key_with_headers(bencher: Bencher<'_, '_>) {
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("accept-language"), HeaderName::from_static("x-tenant")],
        cookies: vec!["theme".to_owned()],
        ..KeyRules::default()
    };
    keys(bencher, &rules, Some("size=small&colour=blue"));
}

/// The verdict on a response that arrived at noon, so long after.
fn judges(bencher: Bencher<'_, '_>, later: Duration) {
    let received = Now { mono: Duration::ZERO, wall: NOON };
    let facts = ResponseFacts::of(StatusCode::OK, &response(), received);
    let lifetime = freshness::lifetime(&facts, &TtlRules::default());
    let stored = Stored::new(&facts, lifetime, Duration::ZERO, received);
    let now = Now { mono: later, wall: NOON + later };
    let request = RequestDirectives::of(&browser());
    bencher.bench(|| lookup::lookup(Some(black_box(&stored)), &request, now, StaleRules::default()));
}

#[divan::bench]
fn lookup_fresh(bencher: Bencher<'_, '_>) {
    judges(bencher, Duration::from_secs(60));
}

#[divan::bench]
fn lookup_stale_while_revalidate(bencher: Bencher<'_, '_>) {
    judges(bencher, Duration::from_secs(630));
}

#[divan::bench]
fn lookup_too_old(bencher: Bencher<'_, '_>) {
    judges(bencher, Duration::from_secs(6000));
}

#[divan::bench]
fn lookup_miss(bencher: Bencher<'_, '_>) {
    let request = RequestDirectives::of(&browser());
    let now = Now { mono: Duration::ZERO, wall: NOON };
    bencher.bench(|| lookup::lookup(black_box(None), &request, now, StaleRules::default()));
}

/// Once for each response that may be stored.
#[divan::bench]
fn facts_of_response(bencher: Bencher<'_, '_>) {
    let headers = response();
    let received = Now { mono: Duration::ZERO, wall: NOON };
    bencher.bench(|| ResponseFacts::of(StatusCode::OK, black_box(&headers), received));
}
