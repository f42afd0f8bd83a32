//! The cache key: which requests share a response, and which do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, echo, forward, ok, routes};

fn caching(origin: &Origin, keys: &str) -> Config {
    forward([origin]).cached(&format!("ttl = \"60s\"\n{keys}"))
}

fn get(host: &str, target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

/// Whether the cached response to the first request is served for the second.
#[track_caller]
fn are_one(keys: &str, first: &str, second: &str) -> bool {
    let origin = Origin::start(ok("one"));
    let forebay = Forebay::start(caching(&origin, keys));
    forebay.ask(first).is(200, "one").is_stored();
    origin.now(ok("two"));
    let response = forebay.ask(second);
    match origin.seen() {
        1 => {
            response.is(200, "one").is_hit();
            true
        }
        _ => {
            response.is(200, "two").is_stored();
            false
        }
    }
}

fn hosts_are_one(first: &str, second: &str) -> bool {
    are_one("", &get(first, "/a", ""), &get(second, "/a", ""))
}

fn targets_are_one(keys: &str, first: &str, second: &str) -> bool {
    are_one(keys, &get("shop.test", first, ""), &get("shop.test", second, ""))
}

fn fields_make_one(keys: &str, first: &str, second: &str) -> bool {
    are_one(keys, &get("shop.test", "/a", first), &get("shop.test", "/a", second))
}

#[test]
fn another_host_or_port_is_another_answer() {
    assert!(!hosts_are_one("shop.test", "other.test"));
    assert!(!hosts_are_one("shop.test", "xshop.test"));
    assert!(!hosts_are_one("shop.test", "shop.test:8080"));
    assert!(!hosts_are_one("shop.test", "shop.test:443"));
    assert!(!hosts_are_one("shop.test", "shop.test."));
    assert!(!hosts_are_one("127.0.0.1", "[::1]"));
}

#[test]
fn a_host_written_in_several_ways_is_one() {
    for same in ["SHOP.Test", "shop.test:80", "shop.test:", "shop.test:080"] {
        assert!(hosts_are_one("shop.test", same), "{same}");
    }
}

#[test]
fn a_target_in_absolute_form_is_the_same_target() {
    let plain = get("shop.test", "/a?b", "");
    assert!(are_one("", &plain, &get("shop.test", "http://shop.test/a?b", "")));
    assert!(!are_one("", &plain, &get("other.test", "http://other.test/a?b", "")));
}

#[test]
fn paths_count_by_their_normal_form() {
    assert!(targets_are_one("", "/a/b", "/a/./b"));
    assert!(targets_are_one("", "/a/b", "/a/x/../b"));
    assert!(targets_are_one("", "/~u", "/%7Eu"));
    assert!(targets_are_one("", "/%c3%a4", "/%C3%A4"));
    assert!(!targets_are_one("", "/a/b", "/a%2fb"));
    assert!(!targets_are_one("", "/a", "/A"));
    assert!(!targets_are_one("", "/a", "/a/"));
    assert!(!targets_are_one("", "/a", "//a"));
}

#[test]
fn without_rules_a_query_counts_as_written() {
    assert!(targets_are_one("", "/a?x=1&y=2", "/a?x=1&y=2"));
    for other in ["/a?y=2&x=1", "/a?x=1", "/a", "/a?", "/a?x=1&y=2&", "/a?X=1&y=2", "/a?x=1&y=3"] {
        assert!(!targets_are_one("", "/a?x=1&y=2", other), "{other}");
    }
}

#[test]
fn a_sorted_query_has_no_order_but_among_values_of_one_name() {
    let sorted = "key = { query = { sort = true } }";
    assert!(targets_are_one(sorted, "/a?x=1&y=2", "/a?y=2&x=1"));
    assert!(!targets_are_one(sorted, "/a?x=1&x=2", "/a?x=2&x=1"));
    assert!(!targets_are_one(sorted, "/a?x=1&y=2", "/a?x=2&y=1"));
}

#[test]
fn dropped_parameters_do_not_matter_and_others_do() {
    let dropping = "key = { query = { drop = [\"utm_*\", \"gclid\"] } }";
    for same in ["/a?x=1&utm_source=z", "/a?utm_source=y&gclid=1&x=1", "/a?x=1&gclid", "/a?x=1"] {
        assert!(targets_are_one(dropping, "/a?x=1", same), "{same}");
    }
    for other in ["/a?x=1&utm=z", "/a?x=1&gclid2=1", "/a?gclid=1", "/a?x=2&utm_source=z", "/a?x=1&GCLID=1"] {
        assert!(!targets_are_one(dropping, "/a?x=1", other), "{other}");
    }
    assert!(targets_are_one(dropping, "/a", "/a?utm_source=z"));
}

#[test]
fn a_header_of_the_key_matters_and_others_do_not() {
    let keyed = "key = { headers = [\"x-tenant\"] }";
    assert!(fields_make_one(keyed, "X-Tenant: a\r\nX-B: 1\r\n", "X-Tenant: a\r\nX-B: 2\r\n"));
    assert!(!fields_make_one(keyed, "X-Tenant: a\r\n", "X-Tenant: b\r\n"));
    assert!(!fields_make_one(keyed, "X-Tenant: a\r\n", ""));
    assert!(!fields_make_one(keyed, "", "X-Tenant: \r\n"));
    assert!(!fields_make_one(keyed, "X-Tenant: a\r\n", "X-Tenant: a\r\nX-Tenant: b\r\n"));
    assert!(fields_make_one("", "X-Tenant: a\r\n", "X-Tenant: b\r\n"));
}

#[test]
fn a_cookie_of_the_key_matters_and_others_do_not() {
    let keyed = "key = { cookies = [\"side\"] }";
    assert!(fields_make_one(keyed, "Cookie: side=a; id=1\r\n", "Cookie: id=2; side=a\r\n"));
    assert!(!fields_make_one(keyed, "Cookie: side=a\r\n", "Cookie: side=b\r\n"));
    assert!(!fields_make_one(keyed, "Cookie: side=a\r\n", "Cookie: id=1\r\n"));
    assert!(!fields_make_one(keyed, "Cookie: side=a\r\n", "Cookie: side=a; side=b\r\n"));
    assert!(!fields_make_one(keyed, "Cookie: side=a\r\n", "Cookie: SIDE=a\r\n"));
    assert!(fields_make_one("", "Cookie: side=a\r\n", "Cookie: side=b\r\n"));
}

#[test]
fn parts_of_a_key_cannot_pass_for_one_another() {
    let keyed = "key = { headers = [\"x-a\", \"x-b\"] }";
    assert!(!fields_make_one(keyed, "X-A: 1\r\nX-B: 23\r\n", "X-A: 12\r\nX-B: 3\r\n"));
    assert!(!targets_are_one("", "/a?b", "/a%3Fb"));
}

/// Two origins as the upstreams `one` and `two`.
fn upstreams(one: &Origin, two: &Origin) -> String {
    let upstream =
        |name, origin: &Origin| format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"{}\"]\n", origin.url());
    upstream("one", one) + &upstream("two", two)
}

/// A caching route for everything under these conditions.
fn route(name: &str, upstream: &str, conditions: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/\"\nupstream = \"{upstream}\"\n{conditions}\n[route.cache]\nttl = \"60s\"\n"
    )
}

#[test]
fn routes_under_different_conditions_never_share() {
    for (conditions, fields, target) in [
        ("headers = { x-tenant = \"blue\" }", "X-Tenant: blue\r\n", "/a?x=1"),
        ("cookies = { side = \"blue\" }", "Cookie: side=blue\r\n", "/a?x=1"),
        ("query = { side = \"blue\" }", "", "/a?side=blue"),
    ] {
        for upstream in ["one", "two"] {
            let (one, two) = (Origin::start(ok("plain")), Origin::start(ok("of two")));
            let text = upstreams(&one, &two) + &route("plain", "one", "") + &route("blue", upstream, conditions);
            let forebay = Forebay::start(routes(&text));
            forebay.get("/a?x=1").is(200, "plain").is_stored();
            one.now(ok("of one"));
            let body = format!("of {upstream}");
            forebay.get_with(target, fields).is(200, &body).is_stored();
            forebay.get_with(target, fields).is(200, &body).is_hit();
            forebay.get("/a?x=1").is(200, "plain").is_hit();
        }
    }
}

#[test]
fn a_head_of_one_route_is_not_answered_by_the_get_of_another() {
    let (one, two) = (Origin::start(ok("one")), Origin::start(ok("longer")));
    let text = upstreams(&one, &two) + &route("all", "one", "") + &route("peek", "two", "methods = [\"HEAD\"]");
    let forebay = Forebay::start(routes(&text));
    forebay.get("/a").is(200, "one").is_stored();
    let head = forebay.ask("HEAD /a HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!((head.field("content-length"), two.count("HEAD /a")), (Some("6"), 1));
}

#[test]
fn a_route_that_moves_to_another_upstream_leaves_the_old_answers_behind() {
    let (one, two) = (Origin::start(ok("one")), Origin::start(ok("two")));
    let moved = |upstream| routes(&(upstreams(&one, &two) + &route("shop", upstream, "")));
    let forebay = Forebay::start(moved("one"));
    forebay.get("/a").is(200, "one").is_stored();
    forebay.reload(moved("two"));
    forebay.get("/a").is(200, "two").is_stored();
    forebay.reload(moved("one"));
    forebay.get("/a").is(200, "one");
}

#[test]
fn a_reload_that_changes_nothing_keeps_what_is_stored() {
    let origin = Origin::start(ok("one"));
    let config = caching(&origin, "");
    let forebay = Forebay::start(&config);
    forebay.get("/a").is_stored();
    forebay.reload(&config);
    forebay.get("/a").is_hit();
}

#[test]
fn a_route_that_stops_caching_stops_at_once() {
    let origin = Origin::start(ok("one"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get("/a").is_stored();
    origin.now(ok("two"));
    forebay.reload(forward([&origin]));
    forebay.get("/a").is(200, "two").says("");
}

#[test]
fn workers_share_what_is_stored() {
    let origin = Origin::start(ok("one"));
    let forebay = Forebay::start(caching(&origin, "").server("workers = 4"));
    forebay.get("/a").is_stored();
    for _ in 0..40 {
        forebay.get("/a").is_hit();
    }
    assert_eq!(origin.seen(), 1);
}

#[test]
fn what_is_not_in_the_key_does_not_reach_the_backend_as_the_client_wrote_it() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(caching(&origin, ""));
    let names = [
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Forwarded-Scheme",
        "X_Forwarded_Host",
        "Forwarded",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: evil.test\r\n")).collect();
    let first = forebay.get_with("/a", &fields);
    first.is_stored();
    assert!(!first.text().contains("evil"), "{}", first.text());
    assert!(!forebay.get("/a").is_hit().text().contains("evil"));
}

#[test]
fn the_host_of_the_key_is_the_one_that_the_backend_sees() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(caching(&origin, ""));
    let response = forebay.ask(get("shop.test", "/a", "X-Forwarded-Host: other.test\r\n"));
    assert!(
        response.is_stored().text().contains("Host: shop.test\r\n") || response.text().contains("host: shop.test\r\n")
    );
    assert!(!response.text().contains("other.test"), "{}", response.text());
}
