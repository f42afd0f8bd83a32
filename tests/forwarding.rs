//! Forwarded requests: forwarding fields, hop-by-hop fields, paths, and responses of forebay itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Head, Origin, answer, forward, ok, raw, routes};

/// The head that a backend sees of a GET with these field lines, under this configuration.
#[track_caller]
fn seen_with(configure: impl Fn(Config) -> Config, fields: &str) -> Head {
    let origin = Origin::start(ok(""));
    Forebay::start(configure(forward([&origin]))).get_with("/", fields).is(200, "");
    origin.last().head
}

#[track_caller]
fn seen(fields: &str) -> Head {
    seen_with(|config| config, fields)
}

/// Trusts the peer that every test is, and a network behind it.
fn trusting(config: Config) -> Config {
    config.server("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]")
}

#[test]
fn the_client_is_named_to_the_backend() {
    let head = seen("");
    assert_eq!(head.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(head.fields("x-forwarded-host"), ["shop.test"]);
    let forwarded = head.field("forwarded").unwrap().to_ascii_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
}

#[test]
fn what_an_untrusted_peer_says_of_the_client_is_overwritten() {
    let head = seen(
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n",
    );
    assert_eq!(head.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(head.fields("x-forwarded-proto"), ["http"]);
    assert!(!head.text().contains("6.6.6.6") && !head.text().contains("7.7.7.7") && !head.text().contains("evil"));
}

#[test]
fn what_a_trusted_peer_says_is_appended_to() {
    let head = seen_with(trusting, "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(head.fields("x-forwarded-for").join(", "), "203.0.113.7, 127.0.0.1");
    assert_eq!(head.fields("x-forwarded-proto"), ["https"]);
}

#[test]
fn requests_of_one_connection_each_say_their_own() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    let mut ask = |start: &str, host: &str, fields: &str| {
        client.send(format!("GET / {start}\r\nHost: {host}\r\n{fields}\r\n")).read_response().is(200, "");
        let head = origin.last().head;
        let via = head.field("via").unwrap().split(' ').next().unwrap().to_owned();
        (head.fields("x-forwarded-host").join(", "), head.fields("x-forwarded-for").join(", "), via)
    };
    let said = |host: &str, way: &str, version: &str| (host.to_owned(), way.to_owned(), version.to_owned());
    assert_eq!(ask("HTTP/1.1", "a.test", ""), said("a.test", "127.0.0.1", "1.1"));
    assert_eq!(ask("HTTP/1.1", "b.test", ""), said("b.test", "127.0.0.1", "1.1"));
    assert_eq!(ask("HTTP/1.0", "b.test", "Connection: keep-alive\r\n"), said("b.test", "127.0.0.1", "1.0"));
    assert_eq!(ask("HTTP/1.1", "b.test", "X-Forwarded-For: 6.6.6.6\r\n"), said("b.test", "127.0.0.1", "1.1"));
    forebay.reload(trusting(forward([&origin])));
    assert_eq!(ask("HTTP/1.1", "b.test", "X-Forwarded-For: 6.6.6.6\r\n"), said("b.test", "6.6.6.6, 127.0.0.1", "1.1"));
    assert_eq!(ask("HTTP/1.1", "b.test", "X-Forwarded-Host: c.test\r\n"), said("c.test", "127.0.0.1", "1.1"));
    assert_eq!(ask("HTTP/1.1", "b.test", ""), said("b.test", "127.0.0.1", "1.1"));
}

#[test]
fn a_web_socket_s_scheme_from_a_trusted_peer_is_the_one_that_its_handshake_goes_over() {
    for (fields, scheme) in [
        ("X-Forwarded-Proto: wss\r\n", "https"),
        ("X-Forwarded-Proto: ws\r\n", "http"),
        ("Forwarded: for=203.0.113.7;proto=wss\r\n", "https"),
        ("X-Forwarded-Scheme: wss\r\n", "https"),
    ] {
        let head = seen_with(trusting, fields);
        assert_eq!(head.fields("x-forwarded-proto"), [scheme], "{fields}");
        assert!(head.fields("forwarded").join("").ends_with(&format!("proto={scheme}")), "{fields}");
        assert!(head.field("x-forwarded-scheme").is_none_or(|said| said == scheme), "{fields}");
    }
}

#[test]
fn a_trusted_peer_s_unknown_scheme_is_refused_and_a_stranger_s_is_overwritten() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(trusting(forward([&origin])));
    for fields in
        ["X-Forwarded-Proto: gopher\r\n", "X-Forwarded-Scheme: quic\r\n", "Forwarded: for=203.0.113.7;proto=x\r\n"]
    {
        forebay.get_with("/", fields).is_status(400);
    }
    assert_eq!(origin.seen(), 0);
    assert_eq!(seen("X-Forwarded-Proto: gopher\r\n").fields("x-forwarded-proto"), ["http"]);
}

#[test]
fn the_client_is_found_from_right_to_left_over_several_lines() {
    let origins = Origin::row(4);
    let config = trusting(forward(&origins)).upstream("balance = \"ip-hash\"");
    let forebay = Forebay::start(config);
    let base = forebay.get_with("/", "X-Forwarded-For: 203.0.113.7\r\n").text();
    for spoofed in 0..12 {
        let fields = format!("X-Forwarded-For: 9.9.9.{spoofed}\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n");
        assert_eq!(forebay.get_with("/", &fields).text(), base, "for 9.9.9.{spoofed}");
    }
}

#[test]
fn fields_that_override_the_target_or_method_are_removed() {
    let names = [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Scheme",
        "X-Script-Name",
        "X-HTTP-Host-Override",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: /admin\r\n")).collect();
    let head = seen(&lines);
    assert!(names.iter().all(|name| !head.has(name)), "{}", head.text());
}

#[test]
fn via_is_added_in_both_directions_and_appended_to() {
    let origin = Origin::start(answer(200, &[("Via", "1.1 behind")], ""));
    let forebay = Forebay::start(forward([&origin]).server("via_name = \"edge-1\""));
    let response = forebay.get_with("/", "Via: 1.0 before\r\n");
    assert_eq!(origin.last().head.fields("via").join(", "), "1.0 before, 1.1 edge-1");
    assert_eq!(response.head.fields("via").join(", "), "1.1 behind, 1.1 edge-1");
}

#[test]
fn a_request_gets_an_id_and_each_its_own() {
    let (one, other) = (seen(""), seen(""));
    assert!(one.field("x-request-id").is_some_and(|id| id.len() >= 16));
    assert_ne!(one.field("x-request-id"), other.field("x-request-id"));
}

#[test]
fn the_id_of_a_trusted_peer_is_kept_and_a_stranger_s_is_not() {
    assert_eq!(seen_with(trusting, "X-Request-Id: 5f2b-abc\r\n").fields("x-request-id"), ["5f2b-abc"]);
    let head = seen("X-Request-Id: 5f2b-abc\r\n");
    assert_eq!(head.fields("x-request-id").len(), 1);
    assert_ne!(head.field("x-request-id"), Some("5f2b-abc"));
}

#[test]
fn hop_by_hop_fields_of_a_request_stay_behind() {
    let head =
        seen("Connection: x-a\r\nX-A: 1\r\nKeep-Alive: 3\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-B: 2\r\n");
    for name in ["x-a", "keep-alive", "proxy-connection", "te"] {
        assert!(!head.has(name), "{name}");
    }
    assert_eq!(head.field("x-b"), Some("2"));
}

#[test]
fn hop_by_hop_fields_of_a_response_stay_behind() {
    let fields =
        [("Connection", "x-a, keep-alive"), ("X-A", "1"), ("Keep-Alive", "3"), ("Proxy-Connection", "x"), ("X-B", "2")];
    let origin = Origin::start(answer(200, &fields, "one"));
    let response = Forebay::start(forward([&origin])).get("/");
    for name in ["x-a", "keep-alive", "proxy-connection"] {
        assert_eq!(response.is(200, "one").field(name), None, "{name}");
    }
    assert_eq!(response.field("x-b"), Some("2"));
}

#[test]
fn end_to_end_fields_of_a_response_pass_in_order() {
    let fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("ETag", "\"x\""), ("Server", "own")];
    let origin = Origin::start(answer(201, &fields, "made"));
    let response = Forebay::start(forward([&origin])).get("/");
    assert_eq!(response.is(201, "made").head.fields("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((response.field("etag"), response.field("server")), (Some("\"x\""), Some("own")));
}

#[test]
fn a_missing_date_is_added_and_a_given_one_kept() {
    let origin = Origin::start(ok(""));
    origin.at("/dated", answer(200, &[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], ""));
    let forebay = Forebay::start(forward([&origin]));
    assert_eq!(forebay.get("/").head.fields("date").len(), 1);
    assert_eq!(forebay.get("/dated").head.fields("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"]);
}

#[test]
fn the_client_s_host_is_kept_unless_the_upstream_wants_its_own() {
    assert_eq!(seen("").fields("host"), ["shop.test"]);
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).upstream("host = \"backend\""));
    forebay.get("/").is(200, "");
    assert_eq!(origin.last().head.fields("host"), [origin.address().to_string()]);
    assert_eq!(origin.last().head.fields("x-forwarded-host"), ["shop.test"]);
}

#[test]
fn a_prefix_is_stripped_and_another_added() {
    let origin = Origin::start(ok(""));
    let forebay =
        Forebay::start(forward([&origin]).route("path = \"/api\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v2\""));
    for (asked, sent) in [("/api/users?a=b", "/v2/users?a=b"), ("/api/", "/v2/")] {
        forebay.get(asked).is(200, "");
        assert_eq!(origin.last().target, sent, "for {asked}");
    }
    forebay.get("/apix").is_status(404);
}

#[test]
fn a_stripped_path_still_begins_with_a_slash() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).route("path = \"/api\"\nstrip_prefix = \"/api\""));
    forebay.get("/api").is(200, "");
    assert_eq!(origin.last().target, "/");
    forebay.get("/api?x=1").is(200, "");
    assert_eq!(origin.last().target, "/?x=1");
}

#[test]
fn request_fields_are_set_and_removed() {
    let edits = "set_request_headers = { x-tenant = \"blue\" }\nremove_request_headers = [\"cookie\"]";
    let head = seen_with(|config| config.route(edits), "Cookie: a=b\r\nX-Tenant: red\r\nX-Tenant: green\r\n");
    assert_eq!((head.fields("x-tenant"), head.has("cookie")), (vec!["blue"], false));
}

#[test]
fn response_fields_are_set_and_removed() {
    let origin = Origin::start(answer(200, &[("Server", "secret"), ("X-Frame", "old")], ""));
    let edits = "set_response_headers = { x-frame = \"deny\" }\nremove_response_headers = [\"server\"]";
    let response = Forebay::start(forward([&origin]).route(edits)).get("/");
    assert_eq!((response.head.fields("x-frame"), response.field("server")), (vec!["deny"], None));
}

#[test]
fn a_redirect_keeps_host_path_and_query() {
    let forebay = Forebay::start(routes(
        "[[route]]\npath = \"/\"\nredirect = { to = \"https://{host}{path}{query}\", status = 301 }",
    ));
    let response = forebay.get("/a/b?c=d");
    assert_eq!(response.is_status(301).field("location"), Some("https://shop.test/a/b?c=d"));
    assert_eq!(forebay.get("/a").field("location"), Some("https://shop.test/a"));
}

#[test]
fn a_redirect_to_its_own_path_never_leaves_the_host() {
    let forebay = Forebay::start(routes("[[route]]\npath = \"/\"\nredirect = { to = \"{path}\" }"));
    let location = forebay.get("//evil.test/").is_status(308).field("location").unwrap_or_default().to_owned();
    assert!(!location.starts_with("//"), "{location}");
}

#[test]
fn a_fixed_response_is_given_as_configured() {
    let forebay = Forebay::start(routes(
        "[[route]]\npath = \"=/robots.txt\"\nrespond = { status = 203, content_type = \"text/plain\", body = \"none\" }",
    ));
    let response = forebay.get("/robots.txt");
    assert_eq!(response.is(203, "none").field("content-type"), Some("text/plain"));
    forebay.ask("HEAD /robots.txt HTTP/1.1\r\nHost: h\r\n\r\n").is(203, "");
}

#[test]
fn no_route_is_not_found_in_text_or_json_with_an_id() {
    let forebay = Forebay::start(routes("[[route]]\npath = \"/here\"\nrespond = { body = \"here\" }"));
    let text = forebay.get("/there");
    assert!(text.is_status(404).field("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let json = forebay.get_with("/there", "Accept: application/json\r\n");
    assert!(json.is_status(404).field("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert!(json.text().starts_with('{') && json.text().contains("\"id\""), "{}", json.text());
    assert_ne!(text.text(), forebay.get("/there").text(), "each error has an id of its own");
}

#[test]
fn the_error_of_a_forwarded_request_is_told_in_the_form_that_its_client_asks_for() {
    let origin = Origin::refusing(ok(""));
    for keys in ["", "set_request_headers = { accept = \"text/html\" }", "[route.cache]"] {
        let route = format!("[[route]]\npath = \"/\"\nbackends = [\"http://{}\"]\n{keys}\n", origin.address());
        let forebay = Forebay::start(routes(&route));
        for (field, kind) in [("Accept: application/json\r\n", "application/json"), ("", "text/plain")] {
            let error = forebay.get_with("/", field);
            assert!(error.status >= 502, "{}", error.status);
            assert!(error.field("content-type").is_some_and(|told| told.starts_with(kind)), "{keys}: {}", error.text());
        }
    }
}

#[test]
fn an_error_never_names_a_backend() {
    let origin = Origin::refusing(ok(""));
    let response = Forebay::start(forward([&origin])).get("/");
    assert!(matches!(response.status, 502 | 503));
    let whole = format!("{}{}", response.head.text(), response.text());
    assert!(!whole.contains(&origin.address().port().to_string()), "{whole}");
}

#[test]
fn routes_are_told_apart_by_host_method_header_and_query() {
    let respond = |keys: &str, body: &str| format!("[[route]]\n{keys}\nrespond = {{ body = \"{body}\" }}\n");
    let forebay = Forebay::start(routes(
        &[
            respond("path = \"/\"", "any"),
            respond("path = \"/\"\nhost = \"*.test\"", "wildcard"),
            respond("path = \"/\"\nhost = \"one.test\"", "exact"),
            respond("path = \"/\"\nhost = \"one.test\"\nmethods = [\"PUT\"]", "put"),
            respond("path = \"/\"\nhost = \"one.test\"\nheaders = { x-tenant = \"blue\" }", "blue"),
            respond("path = \"/\"\nhost = \"one.test\"\nquery = { beta = \"1\" }", "beta"),
        ]
        .concat(),
    ));
    let ask = |line: &str, host: &str, fields: &str| {
        forebay.ask(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).text()
    };
    assert_eq!(ask("GET /", "other.example", ""), "any");
    assert_eq!(ask("GET /", "two.TEST:8080", ""), "wildcard");
    assert_eq!(ask("GET /", "one.test", ""), "exact");
    assert_eq!(ask("PUT /", "one.test", "Content-Length: 0\r\n"), "put");
    assert_eq!(ask("GET /", "one.test", "X-Tenant: blue\r\n"), "blue");
    assert_eq!(ask("GET /?beta=1", "one.test", ""), "beta");
}

#[test]
fn an_empty_reason_and_an_unknown_status_pass() {
    let origin = Origin::start(raw("HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok"));
    Forebay::start(forward([&origin])).get("/").is(299, "ok");
}
