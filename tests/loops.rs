//! Forwarding loops: a request is refused when it comes back for the third time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;

use testbed::{Config, Forebay, Origin, eventually, forward, ok, routes};

/// A route that forwards all requests to this address.
fn leading_to(address: SocketAddr) -> Config {
    forward([]).backend(format!("\"http://{address}\""))
}

/// A proxy whose backend is the proxy itself.
fn circle(configure: impl Fn(Config) -> Config) -> Forebay {
    let forebay = Forebay::start(routes("[[route]]\npath = \"/\"\nrespond = { body = \"start\" }"));
    forebay.reload(configure(leading_to(forebay.address())));
    eventually("the reload is there", || forebay.get("/reloaded").status != 200);
    forebay
}

#[test]
fn a_backend_that_is_the_proxy_itself_is_a_loop() {
    let forebay = circle(|config| config);
    let response = forebay.get("/a");
    assert_eq!(response.is_status(508).field("cache-control"), Some("no-store"));
    // One for each round.
    assert_eq!(response.head.fields("via").len(), 3);
    forebay.post("/a", "b").is_status(508);
}

#[test]
fn a_loop_behind_a_cache_does_not_wait_for_itself() {
    let forebay = circle(|config| config.cached("ttl = \"60s\""));
    for _ in 0..2 {
        forebay.get("/a").is_status(508);
        forebay.get_with("/b", "Range: bytes=0-9\r\n").is_status(508);
    }
}

#[test]
fn what_a_loop_has_brought_is_not_stored() {
    let forebay = circle(|config| config.cached("ttl = \"60s\"\nttl_status = { 508 = \"60s\" }"));
    forebay.get("/a").is_status(508);
    let origin = Origin::start(ok("mended"));
    forebay.reload(forward([&origin]).cached("ttl = \"60s\""));
    eventually("the reload is there", || forebay.get("/a").status == 200);
}

#[test]
fn one_host_may_be_routed_through_another() {
    let origin = Origin::start(ok("there"));
    let forebay = Forebay::start(routes("[[route]]\npath = \"/\"\nrespond = { body = \"start\" }"));
    let address = forebay.address();
    let text = format!(
        "[[upstream]]\nname = \"self\"\nhost = \"backend\"\nbackends = [\"http://{address}\"]\n\
         [[route]]\nhost = \"front.test\"\nupstream = \"self\"\n[route.cache]\nttl = \"60s\"\n\
         [[route]]\nhost = \"127.0.0.1\"\nbackends = [\"{}\"]\n[route.cache]\nttl = \"60s\"\n",
        origin.url()
    );
    forebay.reload(routes(&text));
    let ask = || forebay.ask("GET /a HTTP/1.1\r\nHost: front.test\r\n\r\n");
    eventually("the reload is there", || ask().text() == "there");
    assert_eq!(origin.last().head.fields("via").len(), 2);
    assert_eq!(ask().is(200, "there").status, 200);
}

#[test]
fn a_third_round_is_refused_and_a_second_is_not() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).server("via_name = \"edge-1\""));
    forebay.get_with("/", "Via: 1.1 edge-1\r\nVia: 1.0 other, 1.1 Edge-1 (x)\r\n").is(200, "");
    assert_eq!(origin.last().head.fields("via").last(), Some(&"1.1 edge-1"));
    forebay.get_with("/", "Via: 1.1 edge-1, 1.1 edge-10\r\nVia: 1.1 edge-1\r\nVia: 2 edge-1\r\n").is_status(508);
    forebay.get_with("/", "Via: 1.1 edge-10, 1.1 edge-10, 1.1 edge-10, 1.1 forebay\r\n").is(200, "");
    assert_eq!(origin.seen(), 2);
}

/// The proxy's name in `Via`.
fn name(forebay: &Forebay) -> String {
    forebay.get("/").field("via").unwrap().strip_prefix("1.1 ").unwrap().to_owned()
}

#[test]
fn a_proxy_without_a_name_makes_one_and_keeps_it_with_its_state() {
    let origin = Origin::start(ok(""));
    let made = name(&Forebay::start(forward([&origin])));
    let digits = made.strip_prefix("forebay-").unwrap();
    assert!(digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_ne!(name(&Forebay::start(forward([&origin]))), made);
    let directory = tempfile::tempdir().unwrap();
    let kept = || {
        let config = forward([&origin]).server(&format!("state_dir = \"{}\"", directory.path().display()));
        let forebay = Forebay::start(config);
        let name = name(&forebay);
        forebay.drain();
        forebay.wait();
        name
    };
    assert_eq!(kept(), kept());
}

#[test]
fn another_name_is_taken_up_by_a_reload() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    let made = name(&forebay);
    forebay.reload(forward([&origin]).server("via_name = \"edge-1\""));
    eventually("the name has changed", || name(&forebay) == "edge-1");
    forebay.reload(forward([&origin]));
    eventually("the name is the old one", || name(&forebay) == made);
}
