//! Hostile and malformed request heads: refused, or sanitized before they are forwarded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{BodyEnd, Forebay, Origin, Request, echo, eventually, forward, ok, routes};

/// Asserts that each of these requests gets this status, and that none is forwarded.
#[track_caller]
fn refused(status: u16, requests: &[&str]) {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    for request in requests {
        let found = forebay.ask(request).status;
        assert_eq!((found, origin.seen()), (status, 0), "for {request:?}");
    }
}

/// What a backend sees of this request, which is answered with 200.
#[track_caller]
fn forwarded(request: &str) -> Request {
    let origin = Origin::start(ok(""));
    Forebay::start(forward([&origin])).ask(request).is(200, "");
    origin.last()
}

/// What a backend sees of a GET with these field lines.
#[track_caller]
fn forwarded_with(fields: &str) -> Request {
    forwarded(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

/// The target that a backend sees for this one.
#[track_caller]
fn forwarded_target(target: &str) -> String {
    forwarded(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).target
}

#[test]
fn a_request_without_a_host_is_refused() {
    refused(400, &["GET / HTTP/1.1\r\n\r\n"]);
}

#[test]
fn two_hosts_are_refused_even_if_equal() {
    refused(400, &["GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]);
}

#[test]
fn a_host_that_is_none_is_refused() {
    for host in ["a@b/x", "a@b", "a b", "a/b", "", "h:x", "h:99999", "[::1", "a%zz", "a\\b"] {
        refused(400, &[&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")]);
    }
}

#[test]
fn the_authority_of_an_absolute_target_wins_over_host() {
    let seen = forwarded("GET http://right.test/x?y HTTP/1.1\r\nHost: wrong.test\r\n\r\n");
    assert_eq!((seen.target.as_str(), seen.head.fields("host")), ("/x?y", vec!["right.test"]));
}

#[test]
fn a_target_that_is_only_an_authority_is_refused() {
    refused(400, &["GET foo HTTP/1.1\r\nHost: h\r\n\r\n", "GET h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"]);
}

#[test]
fn userinfo_in_an_absolute_target_is_refused() {
    refused(400, &["GET http://user@h/ HTTP/1.1\r\nHost: h\r\n\r\n"]);
}

#[test]
fn a_bare_line_feed_is_refused_or_written_anew() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    let response = forebay.ask("GET / HTTP/1.1\nHost: h\nA: b\n\n");
    assert!(response.status == 400 || origin.last().head.text().lines().all(|line| !line.contains('\n')));
    assert!(matches!(response.status, 200 | 400));
}

#[test]
fn broken_line_ends_nul_and_folded_lines_are_refused() {
    refused(
        400,
        &[
            "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n A: b\r\n\r\n",
        ],
    );
}

#[test]
fn content_length_beside_transfer_encoding_is_never_forwarded_with_both_nor_its_connection_reused() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client.try_send("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = client.read_response();
    assert!(matches!(response.status, 200 | 400));
    client.read_until_closed();
    assert_eq!(origin.count("GET /smuggled"), 0);
    assert!(
        origin.requests().iter().all(|seen| !(seen.head.has("content-length") && seen.head.has("transfer-encoding")))
    );
}

#[test]
fn a_content_length_that_is_no_single_number_is_refused() {
    for length in ["4, 5", "+4", "", "4, 4", "-1", "0x4", "4 4", "99999999999999999999"] {
        refused(400, &[&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nabcd")]);
    }
    refused(400, &["POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"]);
}

#[test]
fn an_unknown_transfer_coding_is_not_implemented() {
    for lines in ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked"] {
        refused(501, &[&format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n0\r\n\r\n")]);
    }
}

#[test]
fn a_malformed_transfer_encoding_is_refused() {
    for lines in ["Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity"] {
        refused(400, &[&format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n0\r\n\r\n")]);
    }
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    refused(400, &["POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]);
}

#[test]
fn a_broken_chunk_is_refused_and_never_looks_complete_to_the_backend() {
    for body in ["zz\r\nab\r\n0\r\n\r\n", "2;a\nb\r\nab\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n", "-2\r\nab\r\n0\r\n\r\n"]
    {
        let origin = Origin::start(ok(""));
        let forebay = Forebay::start(forward([&origin]));
        let mut client = forebay.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        assert_eq!(client.read_response().status, 400, "for {body:?}");
        client.read_until_closed();
        eventually("the backend's connection is closed", || origin.open() == 0);
        assert!(origin.requests().iter().all(|seen| seen.body_end != BodyEnd::Complete), "for {body:?}");
    }
}

#[test]
fn forbidden_trailers_are_dropped_and_others_pass() {
    let trailers = "Host: evil\r\nContent-Length: 9\r\nAuthorization: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Sum: 7\r\n";
    let seen = forwarded(&format!(
        "PUT / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n"
    ));
    assert_eq!(seen.head.fields("host"), ["h"]);
    assert!(!seen.head.has("authorization"));
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn underscore_twins_of_known_names_are_dropped_and_other_underscores_pass() {
    let seen = forwarded_with("X_Forwarded_For: 1.1.1.1\r\nContent_Length: 7\r\nX_Request_Id: a\r\nmy_own: 1\r\n");
    for name in ["x_forwarded_for", "content_length", "x_request_id"] {
        assert!(!seen.head.has(name), "{name}");
    }
    assert_eq!(seen.head.field("my_own"), Some("1"));
}

#[test]
fn bytes_that_no_target_holds_are_refused() {
    for target in ["/a\\b", "/a%00b", "/a%zz", "/a%4", "/\u{e9}", "/a?\u{e9}", "/a\u{7f}"] {
        refused(400, &[&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")]);
    }
}

#[test]
fn two_slashes_begin_a_path_never_an_authority() {
    let seen = forwarded("GET //evil.test/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((seen.target.as_str(), seen.head.field("host")), ("//evil.test/x", Some("h")));
}

#[test]
fn a_path_is_forwarded_in_its_normal_form() {
    for (given, normal) in [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/%7euser", "/~user"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/b/..", "/a/"),
        ("/a?x=/../y", "/a?x=/../y"),
    ] {
        assert_eq!(forwarded_target(given), normal, "for {given}");
    }
}

#[test]
fn a_path_above_the_root_is_refused() {
    for target in ["/..", "/../a", "/a/../../b", "/%2e%2e/a"] {
        refused(400, &[&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")]);
    }
}

#[test]
fn routing_sees_the_normal_form_and_an_encoded_slash_matches_no_slash() {
    let forebay = Forebay::start(routes(
        "[[route]]\npath = \"/\"\nrespond = { body = \"open\" }\n[[route]]\npath = \"/private/x\"\nrespond = { body = \"private\" }\n",
    ));
    forebay.get("/public/../private/x").is(200, "private");
    forebay.get("/%70rivate/%2e/x").is(200, "private");
    forebay.get("/private%2fx").is(200, "open");
}

#[test]
fn a_fragment_in_the_target_is_refused() {
    refused(400, &["GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"]);
}

#[test]
fn nominated_fields_are_removed() {
    let seen = forwarded_with("Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nX-Other: 2\r\n");
    assert!(!seen.head.has("x-secret") && !seen.head.has("keep-alive"));
    assert_eq!(seen.head.field("x-other"), Some("2"));
}

#[test]
fn a_nomination_of_framing_host_or_our_own_fields_is_refused() {
    for name in ["host", "x-forwarded-for, content-length", "transfer-encoding", "X-Forwarded-For", "via", "forwarded"]
    {
        refused(400, &[&format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: {name}\r\n\r\n")]);
    }
}

#[test]
fn an_unknown_expectation_fails() {
    refused(417, &["PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 200-maybe\r\n\r\na"]);
}

#[test]
fn connect_and_trace_are_not_allowed() {
    refused(
        405,
        &[
            "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
            "TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n",
        ],
    );
}

#[test]
fn options_with_no_forwards_left_is_answered_here() {
    let origin = Origin::start(ok("backend"));
    let forebay = Forebay::start(forward([&origin]));
    let response = forebay.ask("OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n");
    assert!(matches!(response.status, 200 | 204));
    assert_eq!(origin.seen(), 0);
}

#[test]
fn options_with_forwards_left_goes_on_with_one_less() {
    let seen = forwarded("OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n");
    assert_eq!(seen.head.fields("max-forwards"), ["4"]);
}

#[test]
fn the_asterisk_form_is_forwarded_for_options_only() {
    assert_eq!(forwarded("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").target, "*");
    refused(400, &["GET * HTTP/1.1\r\nHost: h\r\n\r\n"]);
}

#[test]
fn too_many_lines_and_too_long_a_head_are_refused() {
    let lines: String = (0..101).map(|place| format!("X-{place}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(40 * 1024));
    for fields in [lines, long] {
        refused(431, &[&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")]);
    }
}

#[test]
fn ninety_lines_pass() {
    let lines: String = (0..90).map(|place| format!("X-{place}: 1\r\n")).collect();
    assert_eq!(forwarded_with(&lines).head.field("x-89"), Some("1"));
}

#[test]
fn too_long_a_target_is_refused() {
    refused(414, &[&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(17 * 1024))]);
}

#[test]
fn other_versions_are_refused_and_closed() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    for request in ["GET / HTTP/1.2\r\nHost: h\r\n\r\n", "GET /\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = forebay.client();
        let answer = client.send(request).read_until_closed();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.contains(" 400 ") || answer.contains(" 505 "),
            "{answer:?} for {request:?}"
        );
    }
    assert_eq!(origin.seen(), 0);
}

#[test]
fn a_get_with_a_body_is_forwarded_with_it() {
    let seen = forwarded("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!((seen.body.as_slice(), seen.body_end), (b"abc".as_slice(), BodyEnd::Complete));
}

#[test]
fn an_ordinary_request_reaches_the_backend_with_its_fields_untouched() {
    let origin = Origin::start(echo());
    let forebay = Forebay::start(forward([&origin]));
    let response = forebay
        .get_with("/a?b=c&d=%2F", "Accept: */*\r\nCookie: a=b; c=d\r\nX-Empty:\r\nAuthorization: Basic eA==\r\n");
    let seen = origin.last();
    assert_eq!((response.status, seen.target.as_str()), (200, "/a?b=c&d=%2F"));
    for (name, value) in [("accept", "*/*"), ("cookie", "a=b; c=d"), ("x-empty", ""), ("authorization", "Basic eA==")] {
        assert_eq!(seen.head.fields(name), [value], "{name}");
    }
}

#[test]
fn no_client_passes_for_this_proxy() {
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]));
    forebay.get_with("/", "Forebay-Write: flush; seq=1\r\nX-Forebay-Upstream: a\r\nX-Other: b\r\n").is_status(200);
    let seen = origin.last();
    assert!(!seen.head.has("forebay-write") && !seen.head.has("x-forebay-upstream") && seen.head.has("x-other"));
}
