//! Templates of redirects and rewrites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, forward, ok, routes};

/// Where a redirect of a route with these keys sends this request.
#[track_caller]
fn location(keys: &str, to: &str, request: &str) -> String {
    let route = format!("[[route]]\n{keys}\nredirect = {{ to = \"{to}\" }}");
    let forebay = Forebay::start(routes(&route).server("trusted_proxies = [\"127.0.0.1\"]"));
    forebay.ask(request).is_status(308).field("location").unwrap().to_owned()
}

fn get(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn a_default_port_does_not_survive_a_change_of_scheme() {
    for host in ["h:80", "h", "H:080", "h:"] {
        assert_eq!(location("", "https://{host}{path}", &get(host, "/")), "https://h/", "{host}");
    }
    assert_eq!(location("", "https://{host}{path}", &get("h:8080", "/a")), "https://h:8080/a");
    assert_eq!(location("", "https://{hostname}:8443{path}", &get("h:8080", "/a")), "https://h:8443/a");
    let secure = "GET /a HTTP/1.1\r\nHost: h:443\r\nX-Forwarded-Proto: wss\r\n\r\n";
    assert_eq!(location("", "{scheme}://{host}:{port}{path}", secure), "https://h:443/a");
}

#[test]
fn every_word_stands_for_its_part_of_the_request() {
    let to = "{scheme}://{hostname}:{port}/{host}{path}{query}";
    assert_eq!(location("", to, &get("[::1]:8080", "/a//b?c")), "http://[::1]:8080/[::1]:8080/a//b?c");
    assert_eq!(location("", to, &get("A.test.", "/")), "http://a.test:80/a.test./");
}

#[test]
fn groups_of_the_pattern_are_put_in() {
    let users = "path = '~^/users/(?<id>[0-9]+)(/.*)?$'";
    assert_eq!(location(users, "/u/{id}{2}{query}", &get("h", "/users/7/x?y")), "/u/7/x?y");
    assert_eq!(location(users, "/u/{1}{2}", &get("h", "//users//7?y")), "/u/7");
    assert_eq!(location("path = '~^/old/(.*)$'", "/{1}", &get("h", "/old/%2F/evil.test")), "/%2F/evil.test");
}

#[test]
fn no_request_leads_to_another_host() {
    for (keys, to, target) in [
        ("", "{path}", "//evil.test/"),
        ("path = '~^/old(.*)$'", "/{1}", "/old/evil.test/"),
        ("path = '~^/old(.*)$'", "/{1}", "/old//evil.test/"),
    ] {
        assert_eq!(location(keys, to, &get("h", target)), "/evil.test/", "{target}");
    }
}

/// The target that a backend sees.
#[track_caller]
fn seen(configure: impl Fn(Config) -> Config, target: &str) -> String {
    let origin = Origin::start(ok(""));
    Forebay::start(configure(forward([&origin]))).get(target).is(200, "");
    origin.last().target
}

#[test]
fn a_rewrite_makes_the_target_that_the_backend_sees() {
    let users = |config: Config| config.route("path = '~^/users/([0-9]+)/orders$'\nrewrite = \"/v2/orders?user={1}\"");
    assert_eq!(seen(users, "/users/7/orders?x=1"), "/v2/orders?user=7");
    let moved = |config: Config| config.route("rewrite = \"/v2{path}{query}\"");
    assert_eq!(seen(moved, "/a?b"), "/v2/a?b");
    assert_eq!(seen(moved, "/a"), "/v2/a");
}

#[test]
fn a_rewrite_that_would_lead_elsewhere_is_refused() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).route("path = '~^/x(.*)$'\nrewrite = \"/files/{1}\""));
    forebay.get("/x..").is_status(400);
    forebay.get("/x..%2F").is(200, "");
    assert_eq!((origin.seen(), origin.last().target.as_str()), (1, "/files/..%2F"));
}

#[test]
fn a_rewritten_answer_is_stored_for_what_the_client_asked() {
    let origin = Origin::start(ok("x"));
    let config = forward([&origin]).route("path = '~^/(a|b)$'\nrewrite = \"/same\"").cached("ttl = \"60s\"");
    let forebay = Forebay::start(config);
    forebay.get("/a").is_stored();
    forebay.get("/b").is_stored();
    forebay.get("/a").is_hit();
}
