//! Tests of `[cache]` and `[route.cache]`: accepted values, and problems.

use std::time::Duration;

use http::StatusCode;

use super::{LISTEN, fine, problems, refused, route};
use crate::config::plan::{Cache, CacheMode, RouteCache};

const BACKENDS: &str = "backends = [\"http://a\"]\n";

/// A file with one forwarding route whose cache table holds these lines.
fn caching(lines: &str) -> String {
    route(&format!("{BACKENDS}[route.cache]\n{lines}"))
}

/// How the route of a file caches.
fn cache_of(text: &str) -> RouteCache {
    fine(text).routes[0].cache.as_deref().expect("it caches").clone()
}

#[test]
fn a_key_by_its_old_name_works_with_a_warning_and_not_beside_the_new_one() {
    let file = |cache: &str| {
        format!("listen = [\"127.0.0.1:0\"]\n[cache]\n{cache}\n[[route]]\nbackends = [\"http://127.0.0.1:1\"]\n")
    };
    for (old, new, value) in [
        ("wait_max", "coalesce_wait_max", "\"7s\""),
        ("waiting_max", "coalesce_waiting_max", "7"),
        ("pass_for", "hit_for_miss", "\"7s\""),
        ("lead_bytes_max", "fetch_ahead_bytes_max", "\"7KiB\""),
    ] {
        let by = |name: &str| crate::config::check_text("f", &file(&format!("{name} = {value}"))).unwrap();
        let (old_file, new_file) = (by(old), by(new));
        assert_eq!(old_file.plan.cache, new_file.plan.cache, "{old}");
        assert_ne!(old_file.plan.cache, crate::config::plan::Cache::default(), "{old}");
        let warning = format!("{old} is now called {new}");
        assert!(old_file.warnings.to_string().contains(&warning), "{}", old_file.warnings);
        assert!(new_file.warnings.is_empty(), "{}", new_file.warnings);
        let both = crate::config::check_text("f", &file(&format!("{old} = {value}\n{new} = {value}")));
        assert!(both.unwrap_err().to_string().contains("is the old name of"));
    }
}

#[test]
fn what_is_left_out_of_the_shared_cache_has_its_default() {
    let left_out = fine(LISTEN).cache;
    assert_eq!(left_out, Cache::default());
    assert_eq!(fine(&format!("{LISTEN}[cache]")).cache, left_out);
}

#[test]
fn every_key_of_the_shared_cache_is_read() {
    let cache = fine(&format!(
        "{LISTEN}[cache]\nmemory_max = \"1GiB\"\nobject_bytes_max = \"256MiB\"\npurge_from = [\"10.0.0.0/8\", \"::1\"]\n\
         coalesce_wait_max = \"5s\"\ncoalesce_waiting_max = 7\nhit_for_miss = \"1m\"\nfetch_ahead_bytes_max = \"64KiB\""
    ))
    .cache;
    let expected = Cache {
        memory_max: 1 << 30,
        object_bytes_max: 256 << 20,
        purge_from: vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        coalesce_wait_max: Duration::from_secs(5),
        coalesce_waiting_max: 7,
        hit_for_miss: Duration::from_secs(60),
        fetch_ahead_bytes_max: 64 << 10,
    };
    assert_eq!(cache, expected);
}

#[test]
fn a_small_memory_can_stand_alone() {
    let cache = fine(&format!("{LISTEN}[cache]\nmemory_max = \"1MiB\"")).cache;
    assert_eq!((cache.object_bytes_max, cache.fetch_ahead_bytes_max), (256 << 10, 256 << 10));
}

#[test]
fn keys_of_the_shared_cache_are_checked() {
    for (lines, words) in [
        ("memory_max = \"1023KiB\"", "memory_max is out of range | from 1MiB to 1024GiB"),
        ("memory_max = 0", "memory_max is out of range"),
        ("object_bytes_max = \"1B\"", "object_bytes_max is out of range | from 1KiB"),
        (
            "object_bytes_max = \"65MiB\"",
            "object_bytes_max is more than a quarter of memory_max | at most 64MiB, or raise memory_max",
        ),
        (
            "memory_max = \"2MiB\"\nfetch_ahead_bytes_max = \"1MiB\"",
            "fetch_ahead_bytes_max is more than a quarter of memory_max | at most 512KiB",
        ),
        ("purge_from = [\"localhost\"]", "\"localhost\" is no network | write a network as"),
        ("purge_from = \"127.0.0.1\"", "purge_from is a list of strings, not a string"),
        ("coalesce_wait_max = 0", "coalesce_wait_max is out of range | from 1ms to 1h"),
        ("coalesce_waiting_max = 0", "coalesce_waiting_max is out of range | from 1 to 10000000"),
        ("hit_for_miss = \"2h\"", "hit_for_miss is out of range | from 1ms to 1h"),
        ("fetch_ahead_bytes_max = 65536", "fetch_ahead_bytes_max has no unit"),
        ("memory = \"1GiB\"", "unknown key \"memory\" in [cache]"),
    ] {
        refused(&format!("{LISTEN}[cache]\n{lines}"), words);
    }
}

#[test]
fn a_route_caches_when_it_has_the_table_and_does_not_say_off() {
    assert!(fine(&route(BACKENDS)).routes[0].cache.is_none());
    assert!(fine(&caching("")).routes[0].cache.is_some());
    assert_eq!(cache_of(&caching("mode = \"cache-aside\"")).mode, CacheMode::Aside);
    assert!(fine(&caching("mode = \"off\"\nttl = \"1m\"")).routes[0].cache.is_none());
}

#[test]
fn what_is_left_out_of_a_routes_cache_leaves_the_word_to_the_origin() {
    let cache = cache_of(&caching(""));
    assert_eq!(cache.mode, CacheMode::Aside);
    assert_eq!(cache.ttl, policy::cache::freshness::TtlRules::default());
    assert_eq!(cache.stale, policy::cache::lookup::StaleRules::default());
    assert_eq!(cache.exceptions, policy::cache::storable::Exceptions::default());
    assert_eq!(cache.key, policy::cache::key::KeyRules::default());
    assert_eq!(cache.tags_headers, ["surrogate-key", "cache-tag", "xkey"]);
}

#[test]
fn every_key_of_a_routes_cache_is_read() {
    let cache = cache_of(&caching(
        "ttl = \"5m\"\nttl_force = \"1m\"\nttl_status = { 404 = \"10s\", 503 = 0 }\nheuristic_max = 0\n\
         stale_while_revalidate = \"30s\"\nstale_if_error = \"1h\"\nstore_set_cookie = true\nstore_private = true\n\
         key = { query = { sort = true, drop = [\"utm_*\", \"gclid\"] }, headers = [\"X-Tenant\"], cookies = [\"lang\"] }\n\
         tags_header = []",
    ));
    let seconds = Duration::from_secs;
    assert_eq!((cache.ttl.fallback, cache.ttl.forced), (Some(seconds(300)), Some(seconds(60))));
    let by_status = [(StatusCode::NOT_FOUND, seconds(10)), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO)];
    assert_eq!(cache.ttl.by_status, by_status);
    assert_eq!(cache.ttl.heuristic_max, Duration::ZERO);
    assert_eq!((cache.stale.while_revalidate, cache.stale.if_error), (Some(seconds(30)), Some(seconds(3600))));
    assert!(cache.exceptions.set_cookie && cache.exceptions.private);
    assert!(cache.key.sort_query && cache.key.drop_query.iter().any(|pattern| pattern.matches("utm_source")));
    assert_eq!(cache.key.drop_query.len(), 2);
    assert_eq!(
        (&cache.key.headers[..], &cache.key.cookies[..]),
        (&["x-tenant".parse().unwrap()][..], &["lang".to_owned()][..])
    );
    assert!(cache.tags_headers.is_empty());
}

#[test]
fn keys_of_a_routes_cache_are_checked() {
    for (lines, words) in [
        ("mode = \"aside\"", "mode can't be \"aside\" | one of cache-aside, write-through, write-back, off"),
        ("ttl = 10", "ttl has no unit | write it as \"10s\""),
        ("ttl = \"8761h\"", "ttl is out of range | from 0 to 365d"),
        ("ttl_force = \"x\"", "ttl_force does not start with a whole number"),
        ("ttl_status = { 404 = 10 }", "ttl_status has no unit"),
        ("ttl_status = { 404 = \"9000h\" }", "ttl_status is out of range | from 0 to 365d"),
        ("ttl_status = { 404 = true }", "ttl_status is a table of durations, not true or false"),
        ("ttl_status = [\"10s\"]", "ttl_status is a table of durations, not a list | write ttl_status = { 404 ="),
        ("ttl_status = { 4xx = \"10s\" }", "\"4xx\" is no final status | write it as { 404 = \"10s\" }"),
        ("ttl_status = { 103 = \"10s\" }", "\"103\" is no final status"),
        ("ttl_status = { 0404 = \"10s\" }", "\"0404\" is no final status"),
        ("ttl_status = { 600 = \"10s\" }", "\"600\" is no final status"),
        ("ttl_status = { 206 = \"10s\" }", "206 is not stored by itself"),
        ("ttl_status = { 304 = \"10s\" }", "304 is not stored by itself"),
        ("heuristic_max = \"1w\"", "heuristic_max has an unknown unit"),
        ("stale_while_revalidate = \"1\"", "stale_while_revalidate has no unit"),
        ("stale_if_error = true", "stale_if_error is a duration, not true or false"),
        ("store_private = true", "store_private has no effect | it holds where a time of the route counts"),
        ("ttl = \"1s\"\nstore_private = \"yes\"", "store_private is true or false, not a string"),
        ("key = { path = true }", "unknown key \"path\" in key = { … }"),
        ("key = { query = { sorted = true } }", "unknown key \"sorted\" in query = { … } | did you mean \"sort\"?"),
        ("key = { query = { drop = [\"\"] } }", "\"\" names no parameter"),
        ("key = { query = { drop = [\"*utm*\"] } }", "\"*utm*\" names no parameter | write \"gclid\""),
        ("key = { headers = [\"a b\"] }", "no name of a header field"),
        ("key = { cookies = [\"a b\"] }", "no name of a cookie"),
        ("tags_header = [\"\"]", "no name of a header field"),
        ("tags_headers = []", "did you mean \"tags_header\"?"),
    ] {
        refused(&caching(lines), words);
    }
}

#[test]
fn what_is_wrong_is_told_also_when_caching_is_off() {
    refused(&caching("mode = \"off\"\nttl = 5"), "ttl has no unit");
}

#[test]
fn a_route_that_does_not_forward_has_nothing_to_cache() {
    for action in ["respond = {}", "redirect = { to = \"/\" }"] {
        refused(&route(&format!("{action}\n[route.cache]")), "cache has no effect | it is for requests that go to an");
    }
    assert_eq!(problems(&route("respond = {}\n[route.cache]\nttl = 5")).len(), 2);
}
