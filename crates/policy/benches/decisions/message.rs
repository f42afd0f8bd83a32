//! Reading a head: the tags of its names, what belongs to one connection, and `Cache-Control`.

use ::message::Fields;
use divan::{Bencher, black_box};
use policy::message::cache_control::{RequestDirectives, ResponseDirectives};
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
    Fields::from_iter([("content-type", "text/html; charset=utf-8"), ("cache-control", value)])
}

#[divan::bench]
fn tags(bencher: Bencher<'_, '_>) {
    let headers = browser();
    bencher.bench(|| black_box(&headers).tags());
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
    for (name, value) in
        [("connection", "keep-alive, x-hop, te"), ("x-hop", "1"), ("te", "trailers"), ("keep-alive", "timeout=5")]
    {
        headers.set(name, value);
    }
    cleans(bencher, headers);
}

fn cleans(bencher: Bencher<'_, '_>, headers: Fields) {
    assert!(hop::find(&headers, Direction::Request).is_ok(), "the head is meant to pass");
    bencher.with_inputs(|| headers.clone()).bench_refs(|headers| {
        let own = hop::find(headers, Direction::Request).unwrap_or_default();
        headers.apply_all(own.edits());
    });
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
