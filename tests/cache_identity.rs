//! Request fields from which a backend may build its response are in the cache key, or equal for all requests of a key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Gate, Origin, Response, Script, echo, eventually, forward, ok, script};

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn caching(origin: &Origin) -> Config {
    forward([origin]).cached("ttl = \"60s\"").cache("purge_from = [\"127.0.0.1\"]")
}

fn trusting(origin: &Origin) -> Forebay {
    Forebay::start(caching(origin).server(TRUSTING))
}

fn asked(forebay: &Forebay, host: &str, target: &str, fields: &str) -> Response {
    forebay.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

fn purge(forebay: &Forebay, host: &str, target: &str) -> String {
    forebay.ask(format!("PURGE {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).text()
}

#[test]
fn whatever_form_of_a_host_comes_first_the_backend_sees_the_one_of_the_key() {
    for odd in ["SHOP.test", "shop.test:", "shop.test:80", "Shop.Test:0080"] {
        let origin = Origin::start(echo());
        let forebay = Forebay::start(caching(&origin));
        let first = asked(&forebay, odd, "/a", "");
        let head = origin.last().head;
        assert_eq!(head.fields("host"), ["shop.test"], "{odd}");
        assert_eq!(head.fields("x-forwarded-host"), ["shop.test"], "{odd}");
        assert_eq!(asked(&forebay, "shop.test", "/a", "").is_hit().text(), first.text(), "{odd}");
    }
}

#[test]
fn a_port_is_left_out_where_the_scheme_of_the_client_implies_it() {
    let origin = Origin::start(echo());
    let forebay = trusting(&origin);
    for (host, proto, seen) in [
        ("shop.test:443", "https", "shop.test"),
        ("shop.test:80", "https", "shop.test:80"),
        ("shop.test:443", "http", "shop.test:443"),
    ] {
        asked(&forebay, host, "/a", &format!("X-Forwarded-Proto: {proto}\r\n")).is_stored();
        assert_eq!(origin.last().head.fields("host"), [seen]);
    }
    asked(&forebay, "SHOP.test", "/a", "X-Forwarded-Proto: https\r\n").is_hit();
}

#[test]
fn a_host_with_a_final_dot_has_an_answer_of_its_own_and_goes_with_the_other() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(caching(&origin));
    for host in ["shop.test.", "SHOP.test.:80"] {
        asked(&forebay, host, "/a", "");
        assert_eq!(origin.last().head.fields("host"), ["shop.test."]);
    }
    assert_eq!(origin.seen(), 1);
    asked(&forebay, "shop.test", "/a", "").is_stored();
    assert_eq!(origin.last().head.fields("host"), ["shop.test"]);
    asked(&forebay, "shop.test.", "/a", "").is_hit();
    assert_eq!(purge(&forebay, "shop.test", "/a"), "{\"purged\":2}\n");
    asked(&forebay, "shop.test.", "/a", "").is_stored();
}

#[test]
fn routes_by_host_take_no_notice_of_a_final_dot() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(caching(&origin).route("host = \"shop.test\""));
    asked(&forebay, "shop.test.", "/a", "").is_stored();
    asked(&forebay, "other.test.", "/a", "").is_status(404);
}

#[test]
fn what_a_trusted_proxy_says_of_urls_is_in_the_key_and_reaches_the_backend() {
    for name in [
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "X-Forwarded-Path",
    ] {
        let origin = Origin::start(echo());
        let forebay = trusting(&origin);
        let with = |value: &str| asked(&forebay, "shop.test", "/a", &format!("{name}: {value}\r\n"));
        with("one").is_stored();
        assert_eq!(origin.last().head.fields(name), ["one"], "{name}");
        with("two").is_stored();
        assert_eq!(origin.last().head.fields(name), ["two"], "{name}");
        forebay.get("/a").is_stored();
        assert!(!forebay.get("/a").is_hit().text().contains("two"), "{name}");
        with("one").is_hit();
        assert_eq!(purge(&forebay, "shop.test", "/a"), "{\"purged\":3}\n", "{name}");
        with("one").is_stored();
    }
}

#[test]
fn what_a_stranger_says_of_urls_neither_reaches_the_backend_nor_parts_requests() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(caching(&origin));
    let names =
        ["X-Forwarded-Prefix", "X-Forwarded-Port", "X-Script-Name", "Front-End-Https", "X-Url-Scheme", "X-Scheme"];
    let fields: String = names.iter().map(|name| format!("{name}: evil\r\n")).collect();
    assert!(!forebay.get_with("/a", &fields).is_stored().text().contains("evil"));
    forebay.get("/a").is_hit();
}

#[test]
fn a_write_makes_void_what_is_stored_under_every_prefix() {
    let origin = Origin::start(ok("a"));
    let forebay = trusting(&origin);
    let with = |prefix: &str| forebay.get_with("/a", &format!("X-Forwarded-Prefix: {prefix}\r\n"));
    with("/one").is_stored();
    with("/two").is_stored();
    forebay.post("/a", "new").is(200, "a");
    with("/one").is_stored();
    with("/two").is_stored();
}

#[test]
fn what_is_written_through_is_stored_for_the_same_prefix_alone() {
    let origin = Origin::start(ok("of the backend"));
    let forebay = Forebay::start(caching(&origin).cached("mode = \"write-through\"").server(TRUSTING));
    let fields = "X-Forwarded-Prefix: /one\r\n";
    let put = format!("PUT /a HTTP/1.1\r\nHost: shop.test\r\n{fields}Content-Length: 3\r\n\r\nnew");
    forebay.ask(put).is_status(200);
    forebay.get_with("/a", fields).is(200, "new").is_hit();
    forebay.get("/a").is(200, "of the backend").is_stored();
}

#[test]
fn requests_under_different_prefixes_never_share_a_fetch() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(echo()));
    let forebay = trusting(&origin);
    let mut clients: Vec<_> = ["/one", "/two"]
        .iter()
        .map(|prefix| {
            let mut client = forebay.client();
            client.send(format!("GET /a HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-Prefix: {prefix}\r\n\r\n"));
            (client, *prefix)
        })
        .collect();
    eventually("both are asked for", || origin.held() == 2);
    gate.open();
    for (client, prefix) in &mut clients {
        assert!(client.read_response().text().contains(*prefix));
    }
}

#[test]
fn a_refresh_behind_a_stale_answer_says_what_the_key_holds() {
    let origin = Origin::start(echo());
    let config = forward([&origin]).cached("ttl = \"1s\"\nstale_while_revalidate = \"1h\"").server(TRUSTING);
    let forebay = Forebay::start(config);
    let stale = || asked(&forebay, "SHOP.test:80", "/a", "X-Forwarded-Prefix: /one\r\n");
    stale().is_stored();
    testbed::advance(std::time::Duration::from_secs(2));
    assert!(stale().text().contains("/one"));
    eventually("it is refreshed", || origin.seen() == 2);
    let head = origin.last().head;
    assert_eq!((head.fields("host"), head.fields("x-forwarded-prefix")), (vec!["shop.test"], vec!["/one"]));
}

#[test]
fn the_scheme_is_the_same_in_every_field_that_names_it() {
    let fields = [
        "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n",
        "Forwarded: for=192.0.2.9;proto=https\r\n",
        "Forwarded: for=6.6.6.6;proto=http, for=192.0.2.9;proto=https\r\n",
        "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: wss\r\n",
    ];
    for first in fields {
        let origin = Origin::start(echo());
        let forebay = trusting(&origin);
        forebay.get_with("/a", first).is_stored();
        let head = origin.last().head;
        assert_eq!(head.fields("x-forwarded-proto"), ["https"], "{first}");
        let forwarded = head.fields("forwarded").join(",");
        assert!(!forwarded.contains("http,") && !forwarded.ends_with("http"), "{forwarded}");
        for other in fields {
            forebay.get_with("/a", other).is_hit();
        }
        forebay.get("/a").is_stored();
    }
}

#[test]
fn a_query_reaches_the_backend_as_the_key_holds_it() {
    let origin = Origin::start(echo());
    let keys = "key = { query = { sort = true, drop = [\"utm_*\"] } }";
    let forebay = Forebay::start(caching(&origin).cached(keys));
    forebay.get("/a?y=2&utm_source=evil&x=1").is_stored();
    assert_eq!(origin.last().target, "/a?x=1&y=2");
    forebay.get("/b?utm_source=evil").is_stored();
    assert_eq!(origin.last().target, "/b");
    forebay.post("/a?y=2&utm_source=news&x=1", "").is_status(200);
    assert_eq!(origin.last().target, "/a?y=2&utm_source=news&x=1");
}

#[test]
fn a_post_with_another_query_than_the_key_s_stores_nothing() {
    let own = |target: &str| -> Script {
        testbed::answer(200, &[("Cache-Control", "max-age=60"), ("Content-Location", target)], "made")
    };
    let origin = Origin::start(own("/a?utm_source=evil"));
    let forebay = Forebay::start(caching(&origin).cached("key = { query = { drop = [\"utm_*\"] } }"));
    forebay.post("/a?utm_source=evil", "").is(200, "made");
    origin.now(own("/a"));
    forebay.get("/a").is_stored();
    purge(&forebay, "shop.test", "/a");
    forebay.post("/a", "").is(200, "made");
    forebay.get("/a").is_hit();
}

#[test]
fn on_a_route_that_does_not_cache_the_host_stays_as_the_client_wrote_it() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    for host in ["SHOP.test:080", "shop.test."] {
        asked(&forebay, host, "/a", "").is(200, "");
        assert_eq!(origin.last().head.fields("host"), [host]);
    }
}
