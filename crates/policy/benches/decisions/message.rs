//! Reading a head: the census of its names, what belongs to one connection, and `Cache-Control`.

use ::message::Fields;
use divan::{Bencher, black_box};
use http::{HeaderName, HeaderValue};
use policy::message::cache_control::{RequestDirectives, ResponseDirectives};
use policy::message::census::Census;
use policy::message::hop::{self, Direction};

use crate::browser;

/// What origins say, from the shortest to the longest that is common.
const SAID: [&str; 5] = [
    "no-store",
    "max-age=3600",
    "public, max-age=31536000, immutable",
    "private, no-cache, no-store, must-revalidate, max-age=0",
    "public, s-maxage=600, stale-while-revalidate=60, stale-if-error=86400",
];

fn said(value: &'static str) -> Fields {
    let mut headers = Fields::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static(value));
    headers
}

#[divan::bench]
fn census(bencher: Bencher<'_, '_>) {
    let headers = browser();
    bencher.bench(|| Census::of(black_box(&headers)));
}

/// `Connection: keep-alive` alone.
#[divan::bench]
fn hop_by_hop_plain(bencher: Bencher<'_, '_>) {
    cleans(bencher, browser());
}

/// `Connection` names fields, and some are there.
#[divan::bench]
fn hop_by_hop_nominated(bencher: Bencher<'_, '_>) {
    let mut headers = browser();
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("keep-alive, x-hop, te"));
    headers.insert(HeaderName::from_static("x-hop"), HeaderValue::from_static("1"));
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    headers.insert(HeaderName::from_static("keep-alive"), HeaderValue::from_static("timeout=5"));
    cleans(bencher, headers);
}

fn cleans(bencher: Bencher<'_, '_>, headers: Fields) {
    let census = Census::of(&headers);
    assert_eq!(hop::remove(&mut headers.clone(), Direction::Request, census), Ok(()), "the head is meant to pass");
    bencher.with_inputs(|| headers.clone()).bench_refs(|headers| hop::remove(headers, Direction::Request, census));
}

#[divan::bench(args = SAID)]
fn cache_control_of_response(bencher: Bencher<'_, '_>, value: &'static str) {
    let headers = said(value);
    bencher.bench(|| ResponseDirectives::of(black_box(&headers)));
}

#[divan::bench]
fn cache_control_of_browser(bencher: Bencher<'_, '_>) {
    let headers = browser();
    bencher.bench(|| RequestDirectives::of(black_box(&headers)));
}

#[divan::bench]
fn cache_control_of_reload(bencher: Bencher<'_, '_>) {
    let headers = said("max-age=0");
    bencher.bench(|| RequestDirectives::of(black_box(&headers)));
}
