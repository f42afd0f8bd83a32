//! Mirrors: which requests are copied, how a copy looks, and that clients and their backends see no difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::HashSet;
use std::time::Duration;

use testbed::{
    BodyEnd, Config, Forebay, Gate, Head, Origin, Request, advance, answer, chunked, eventually, forward,
    leader_and_followers, ok, raw, routes, script, validated,
};

const POSTS: &str = "methods = [\"POST\"]";
const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn pair() -> (Origin, Origin) {
    (Origin::start(ok("main")), Origin::start(ok("shadow")))
}

/// An origin that serves, another that gets copies by these keys, and forebay before both.
fn mirroring(keys: &str) -> (Origin, Origin, Forebay) {
    let (main, shadow) = pair();
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, keys));
    (main, shadow, forebay)
}

/// `POST` this text to `/` in chunks of at most so many bytes.
fn in_chunks(body: &str, size: usize) -> String {
    let chunks = body.as_bytes().chunks(size).map(|chunk| {
        let text = String::from_utf8_lossy(chunk);
        format!("{:x}\r\n{text}\r\n", text.len())
    });
    let chunks: String = chunks.collect();
    format!("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

/// Asserts that only these requests were copied: sends another one, waits for its copy, and compares all copies.
#[track_caller]
fn only_copied(forebay: &Forebay, shadow: &Origin, wanted: &[&str]) {
    forebay.get("/end").is_status(200);
    eventually("the last copy has come", || shadow.count("GET /end") == 1);
    only(forebay, shadow, &[wanted, &["GET /end"]].concat());
}

/// Asserts that only these requests were copied, after the last of them has arrived.
#[track_caller]
fn only(forebay: &Forebay, shadow: &Origin, wanted: &[&str]) {
    forebay.mirror_until("all", |mirror| mirror["sent"] == wanted.len() && mirror["in_flight"] == 0);
    let mut copied: Vec<String> =
        shadow.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect();
    let mut wanted = wanted.to_vec();
    copied.sort();
    wanted.sort_unstable();
    assert_eq!(copied, wanted);
}

/// The lines of a head in the order of the alphabet, but for those of these names.
fn lines(head: &Head, but: &[&str]) -> Vec<String> {
    let is_left_out = |line: &&str| but.iter().any(|name| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    let mut lines: Vec<String> =
        head.text().split("\r\n").filter(|line| !is_left_out(line)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[track_caller]
fn is_marked_and_else_the_same(copy: &Request, original: &Request) {
    assert_eq!(copy.head.fields("forebay-mirror"), ["1"], "{}", copy.head.text());
    assert!(!original.head.has("forebay-mirror"), "{}", original.head.text());
    assert_eq!(lines(&copy.head, &["forebay-mirror"]), lines(&original.head, &[]));
    assert_eq!((&copy.body, copy.body_end), (&original.body, original.body_end));
}

#[test]
fn a_copy_is_the_request_as_its_backend_gets_it() {
    let (main, shadow, forebay) = mirroring("");
    let fields = "Accept: text/html;q=0.5\r\nCookie: a=1\r\nX-Twice: one\r\nX-Twice: two\r\nAccept-Encoding: gzip\r\n";
    forebay.get_with("/a%20b?c=d&&e", fields).is(200, "main");
    is_marked_and_else_the_same(&shadow.after(1)[0], &main.last());
    assert_eq!(shadow.last().target, "/a%20b?c=d&&e");
}

#[test]
fn a_copy_has_the_path_and_the_fields_that_the_route_makes() {
    let (main, shadow) = pair();
    let keys = "path = \"/api\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v2\"\nset_request_headers = { x-by = \"us\" }\nremove_request_headers = [\"cookie\"]";
    let forebay = Forebay::start(forward([&main]).route(keys).mirrored(&shadow, ""));
    forebay.get_with("/api/users?id=7", "Cookie: a=1\r\nX-By: them\r\n").is(200, "main");
    let copy = &shadow.after(1)[0];
    is_marked_and_else_the_same(copy, &main.last());
    assert_eq!(
        (copy.target.as_str(), copy.head.fields("x-by"), copy.head.has("cookie")),
        ("/v2/users?id=7", vec!["us"], false)
    );
}

#[test]
fn a_copy_names_the_host_that_its_upstream_is_to_see() {
    let (main, shadow) = pair();
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, "").more("host = \"backend\""));
    forebay.get("/").is(200, "main");
    assert_eq!(shadow.after(1)[0].head.fields("host"), [shadow.address().to_string()]);
    assert_eq!(main.last().head.fields("host"), ["shop.test"]);
}

#[test]
fn no_client_can_pass_for_a_mirror() {
    let (main, shadow, forebay) = mirroring("");
    forebay.get_with("/", "Forebay-Mirror: 1\r\nforebay-mirror: 2\r\n").is(200, "main");
    is_marked_and_else_the_same(&shadow.after(1)[0], &main.last());
    let plain = Forebay::start(forward([&main]));
    plain.get_with("/plain", "Forebay-Mirror: 1\r\n").is(200, "main");
    assert!(!main.last().head.has("forebay-mirror"), "{}", main.last().head.text());
}

/// The bytes that the backend and the client get, without the request's id and the date.
fn both_ways(main: &Origin, config: Config, request: &str) -> [String; 2] {
    // Otherwise each process would have another name in `Via`.
    let config = config.server("via_name = \"forebay\"");
    let answer = Forebay::start(config).client().send(request).read_until_closed();
    // A copy for noise goes to the same backend.
    let seen = main.requests().into_iter().rfind(|seen| !seen.head.has("forebay-mirror")).unwrap();
    let wire = [seen.head.text().as_bytes(), &seen.body_wire].concat();
    [wire, answer].map(|bytes| {
        let differs = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("x-request-id:") || line.starts_with("date:")
        };
        String::from_utf8_lossy(&bytes).split_inclusive("\r\n").filter(|line| !differs(line)).collect()
    })
}

#[test]
fn the_client_and_its_backend_see_the_same_bytes_with_a_mirror_and_without() {
    let (main, shadow) = pair();
    let odd = "HTTP/1.1 203 Odd Reason\r\nX-CaSe: A\r\nx-case: b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\n\r\nodd";
    main.at("/odd", raw(odd));
    main.at("/chunked", chunked(&["one", "two"], &[("X-Sum", "7")]));
    main.at("/closed", raw("HTTP/1.1 200 OK\r\n\r\nuntil the end").close());
    main.at("/empty", answer(204, &[], ""));
    main.at("/broken", raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").close());
    let fields = "Host: h\r\nConnection: close\r\nX-OdD: 1\r\nTE: trailers\r\n";
    let compare = "compare = { status = true, headers = [\"content-type\"], json_body = true, other_body = true, noise_from = \"origins\" }";
    for request in [
        format!("GET /odd?q HTTP/1.1\r\n{fields}\r\n"),
        format!("GET /chunked HTTP/1.1\r\n{fields}\r\n"),
        format!("GET /closed HTTP/1.1\r\n{fields}\r\n"),
        format!("GET /broken HTTP/1.1\r\n{fields}\r\n"),
        format!("HEAD /odd HTTP/1.1\r\n{fields}\r\n"),
        format!("POST /odd HTTP/1.1\r\n{fields}Content-Length: 5\r\n\r\nhello"),
        format!("POST /chunked HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        format!("DELETE /empty HTTP/1.1\r\n{fields}\r\n"),
    ] {
        let without = both_ways(&main, forward([&main]), &request);
        for keys in ["", compare] {
            let keys = format!("methods = [\"GET\", \"HEAD\", \"POST\", \"DELETE\"]\n{keys}");
            assert_eq!(both_ways(&main, forward([&main]).mirrored(&shadow, &keys), &request), without, "{keys}");
        }
    }
    assert!(shadow.seen() > 0);
}

#[test]
fn what_a_copy_is_answered_reaches_no_client() {
    let (_main, shadow, forebay) = mirroring("");
    shadow.now(answer(500, &[("Set-Cookie", "from=shadow")], "shadow"));
    let mut client = forebay.client();
    for count in 1..=10 {
        let response = client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response();
        assert_eq!(response.is(200, "main").field("set-cookie"), None);
        shadow.after(count);
    }
}

#[test]
fn a_copy_goes_out_when_the_head_of_the_answer_is_there() {
    let (main, shadow, forebay) = mirroring("");
    let (head, body) = (Gate::new(), Gate::new());
    main.now(script().wait(&head).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").wait(&body).send("b"));
    let mut client = forebay.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the backend has the request", || main.held() == 1);
    assert_eq!(shadow.seen(), 0);
    head.open();
    client.read_until("\r\n\r\na");
    shadow.after(1);
    body.open();
    assert_eq!(client.read_some(), b"b");
}

#[test]
fn every_request_is_copied_unless_told_otherwise() {
    let (_main, shadow, forebay) = mirroring("");
    for _ in 0..50 {
        forebay.get("/").is(200, "main");
    }
    only(&forebay, &shadow, &["GET /"; 50]);
    assert_eq!(forebay.mirror("all")["percent"], 100.0);
}

#[test]
fn a_share_of_the_requests_is_copied() {
    let (_main, shadow, forebay) = mirroring("percent = 10\nin_flight_max = 1000");
    let mut client = forebay.client();
    for _ in 0..2_000 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "main");
    }
    let sent = |mirror: &serde_json::Value| mirror["sent"].as_u64().unwrap() as usize;
    let mirror = forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0 && sent(mirror) == shadow.seen());
    // 200 on average, with a standard deviation of 13.4; five of them.
    assert!((133..=267).contains(&sent(&mirror)), "{mirror:#}");
}

#[test]
fn only_get_and_head_are_copied_unless_told_otherwise() {
    let (_main, shadow, forebay) = mirroring("");
    forebay.post("/", "body").is(200, "main");
    forebay.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na").is(200, "main");
    forebay.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").is(200, "");
    only_copied(&forebay, &shadow, &["HEAD /"]);
}

#[test]
fn the_answer_to_a_copied_head_has_no_body_and_its_connection_goes_on() {
    let (_main, shadow, forebay) = mirroring("");
    for count in 1..=5 {
        forebay.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").is(200, "");
        shadow.after(count);
        forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    }
    assert_eq!((shadow.accepted(), forebay.mirror("all")["failed"].clone()), (1, 0.into()));
}

#[test]
fn only_the_methods_asked_for_are_copied() {
    let (main, shadow, forebay) = mirroring(POSTS);
    forebay.get("/").is(200, "main");
    forebay.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na").is(200, "main");
    forebay.post("/", "body").is(200, "main");
    is_marked_and_else_the_same(&shadow.after(1)[0], &main.last());
    assert_eq!(shadow.last().body, b"body");
    only(&forebay, &shadow, &["POST /"]);
}

#[test]
fn a_body_in_chunks_is_copied_whole() {
    let (main, shadow, forebay) = mirroring(POSTS);
    let body = "0123456789".repeat(5_000);
    forebay.ask(in_chunks(&body, 700)).is(200, "main");
    let copy = &shadow.after(1)[0];
    assert_eq!((copy.body_end, copy.body == body.as_bytes()), (BodyEnd::Complete, true));
    assert!(main.last().body == body.as_bytes());
}

#[test]
fn a_body_over_the_limit_is_not_copied_but_counted_and_its_backend_gets_it_whole() {
    let (main, shadow, forebay) = mirroring(&format!("{POSTS}\nbody_bytes_max = \"1KiB\""));
    let (fitting, long) = ("a".repeat(1024), "b".repeat(1025));
    forebay.post("/length", &long).is(200, "main");
    assert_eq!(main.last().body, long.as_bytes());
    forebay.ask(in_chunks(&long, 300)).is(200, "main");
    assert_eq!(main.last().body, long.as_bytes());
    forebay.mirror_until("all", |mirror| mirror["dropped"]["body"] == 2);
    forebay.post("/length", &fitting).is(200, "main");
    forebay.ask(in_chunks(&fitting, 300)).is(200, "main");
    assert!(shadow.after(2).iter().all(|copy| copy.body == fitting.as_bytes()));
    only(&forebay, &shadow, &["POST /", "POST /length"]);
}

#[test]
fn a_body_in_tiny_pieces_is_copied_whole_or_counted() {
    let (main, shadow, forebay) = mirroring(POSTS);
    let body = "0123456789".repeat(1_000);
    forebay.ask(in_chunks(&body, 1)).is(200, "main");
    assert!(main.last().body == body.as_bytes());
    let mirror = forebay.mirror_until("all", |mirror| mirror["sent"] == 1 || mirror["dropped"]["body"] == 1);
    assert!(shadow.after(usize::from(mirror["sent"] == 1)).iter().all(|copy| copy.body == body.as_bytes()));
}

#[test]
fn a_body_that_was_asked_for_is_copied_whole() {
    let (main, shadow, forebay) = mirroring(POSTS);
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.read_head().start_line().starts_with("HTTP/1.1 100"));
    client.send("abc").read_response().is(200, "main");
    assert_eq!(
        (shadow.after(1)[0].body.as_slice(), main.last().body.as_slice()),
        (b"abc".as_slice(), b"abc".as_slice())
    );
    only(&forebay, &shadow, &["POST /"]);
}

#[test]
fn a_body_that_breaks_is_not_copied() {
    let (main, shadow, forebay) = mirroring("methods = [\"GET\", \"POST\"]");
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    eventually("the backend has the head", || main.seen() == 1);
    drop(client);
    eventually("the backend sees it break", || main.last().body_end == BodyEnd::Broken);
    only_copied(&forebay, &shadow, &[]);
}

#[test]
fn a_body_that_goes_on_after_the_answer_is_copied_whole_or_not_at_all() {
    let (main, shadow, forebay) = mirroring("methods = [\"GET\", \"POST\"]");
    main.once(script().before_body().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").read_body().send("b"));
    let mut client = forebay.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc").read_until("\r\n\r\na");
    client.send("def").read_until("b");
    forebay.get("/end").is(200, "main");
    eventually("the last copy has come", || shadow.count("GET /end") == 1);
    forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0);
    let posts = shadow.requests().into_iter().filter(|request| request.method == "POST");
    assert!(posts.clone().all(|copy| copy.body == b"abcdef"), "{:?}", posts.collect::<Vec<_>>());
}

#[test]
fn an_upgrade_is_never_copied() {
    let (main, shadow, forebay) = mirroring("");
    main.once(raw(SWITCH).tunnel());
    let mut client = forebay.client();
    client.send(UPGRADE).read_response().is_status(101);
    assert_eq!(client.send("ping").read_until("ping"), "ping");
    forebay.ask(UPGRADE).is(200, "main");
    only_copied(&forebay, &shadow, &[]);
}

#[test]
fn what_forebay_answers_itself_is_not_copied() {
    let (main, shadow) = pair();
    let fixed = "[[route]]\npath = \"/teapot\"\nrespond = { status = 418, body = \"short\" }";
    let config = forward([&main]).route("methods = [\"GET\"]").mirrored(&shadow, "").more(fixed);
    let forebay = Forebay::start(config);
    forebay.post("/", "").is_status(404);
    forebay.get("/teapot").is(418, "short");
    forebay.ask("GET / HTTP/1.1\r\n\r\n").is_status(400);
    only_copied(&forebay, &shadow, &[]);
}

#[test]
fn a_request_that_took_several_tries_is_copied_once() {
    let (main, shadow) = pair();
    let refusing = Origin::refusing(ok(""));
    let forebay = Forebay::start(forward([&refusing, &main]).mirrored(&shadow, ""));
    for _ in 0..4 {
        forebay.get("/").is(200, "main");
    }
    only(&forebay, &shadow, &["GET /"; 4]);
}

/// A caching route, mirrored.
fn caching(keys: &str) -> (Origin, Origin, Forebay) {
    let (main, shadow) = pair();
    main.now(validated("\"a\"", "main", &[MINUTE]));
    let forebay = Forebay::start(forward([&main]).cached("").mirrored(&shadow, keys));
    (main, shadow, forebay)
}

#[test]
fn what_is_served_from_the_cache_is_not_copied() {
    let (_main, shadow, forebay) = caching("");
    forebay.get("/").is(200, "main").is_stored();
    for _ in 0..5 {
        forebay.get("/").is(200, "main").is_hit();
    }
    only_copied(&forebay, &shadow, &["GET /"]);
}

#[test]
fn many_who_miss_at_once_are_copied_once() {
    let (main, shadow, forebay) = caching("");
    let gate = Gate::new();
    main.once(script().wait(&gate).then(answer(200, &[MINUTE], "main")));
    let (mut leader, followers) = leader_and_followers(&forebay, &main, 20);
    forebay.eventually("all wait for it", |gauges| gauges.following == 20);
    gate.open();
    leader.read_response().is(200, "main");
    for mut follower in followers {
        follower.read_response().is(200, "main");
    }
    only_copied(&forebay, &shadow, &["GET /"]);
}

#[test]
fn a_validation_is_copied_with_its_condition() {
    let (main, shadow, forebay) = caching("");
    forebay.get("/").is(200, "main");
    shadow.after(1);
    advance(Duration::from_secs(61));
    forebay.get("/").is(200, "main").says("forebay; fwd=stale; fwd-status=304");
    is_marked_and_else_the_same(&shadow.after(2)[1], &main.last());
    assert_eq!(shadow.last().head.field("if-none-match"), Some("\"a\""));
}

#[test]
fn an_answer_to_a_copy_is_not_stored() {
    let (_main, shadow, forebay) = caching("");
    shadow.now(answer(200, &[("Cache-Control", "max-age=3600")], "shadow"));
    forebay.get("/").is(200, "main").is_stored();
    forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    forebay.get("/").is(200, "main").is_hit();
    advance(Duration::from_secs(61));
    forebay.get("/").is(200, "main");
}

#[test]
fn a_write_on_a_caching_route_is_copied() {
    let (main, shadow, forebay) = caching(POSTS);
    forebay.get("/").is(200, "main");
    forebay.post("/", "written").is(200, "main");
    is_marked_and_else_the_same(&shadow.after(1)[0], &main.last());
    forebay.get("/").is(200, "main").is_stored();
    only(&forebay, &shadow, &["POST /"]);
}

#[test]
fn a_side_of_a_split_that_is_the_mirror_gets_no_copies_of_its_own() {
    let (old, new) = (Origin::start(ok("old")), Origin::start(ok("new")));
    let upstream =
        |name, origin: &Origin| format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"{}\"]\n", origin.url());
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\noverride_header = \"x-side\"\nsplit = [ { upstream = \"new\", weight = 50 }, { upstream = \"old\", weight = 50 } ]\n[route.mirror]\nupstream = \"new\"\n";
    let forebay = Forebay::start(routes(&(upstream("old", &old) + &upstream("new", &new) + route)).admin());
    forebay.get_with("/a", "X-Side: new\r\n").is(200, "new");
    forebay.get_with("/b", "X-Side: old\r\n").is(200, "old");
    eventually("the copy has come", || new.count("GET /b") == 1);
    forebay.mirror_until("all", |mirror| mirror["sent"] == 1 && mirror["in_flight"] == 0);
    assert_eq!((new.count("GET /a"), new.count("GET /b"), old.seen()), (1, 1, 1));
    let copied: Vec<bool> = new.requests().iter().map(|request| request.head.has("forebay-mirror")).collect();
    assert_eq!(copied, [false, true]);
    assert!(new.requests().iter().all(|request| !request.head.has("x-side")));
}

#[test]
fn which_requests_are_copied_does_not_hang_on_the_side_they_went_to() {
    let (old, new, shadow) = (Origin::start(ok("")), Origin::start(ok("")), Origin::start(ok("")));
    let upstream =
        |name, origin: &Origin| format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"{}\"]\n", origin.url());
    let route = "[[route]]\nname = \"all\"\npath = \"/\"\nsplit = [ { upstream = \"new\", weight = 50 }, { upstream = \"old\", weight = 50 } ]\n[route.mirror]\nupstream = \"shadow\"\npercent = 50\nin_flight_max = 1000\n";
    let upstreams = upstream("old", &old) + &upstream("new", &new) + &upstream("shadow", &shadow);
    let forebay = Forebay::start(routes(&(upstreams + route)).admin());
    let mut client = forebay.client();
    for number in 0..1_000 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n")).read_response().is(200, "");
    }
    forebay.mirror_until("all", |mirror| mirror["in_flight"] == 0 && mirror["sent"] == shadow.seen());
    let copied: HashSet<String> = shadow.requests().into_iter().map(|request| request.target).collect();
    for side in [&old, &new] {
        let of_it = side.requests().iter().filter(|request| copied.contains(&request.target)).count();
        // 250 on average, with a standard deviation of 13.7; five of them.
        assert!((181..=319).contains(&of_it), "{of_it} of {} were copied", side.seen());
    }
}

#[test]
fn a_route_beside_it_is_not_copied() {
    let (main, shadow) = pair();
    let beside = "[[route]]\nname = \"beside\"\npath = \"/beside\"\nupstream = \"origins\"";
    let forebay = Forebay::start(forward([&main]).mirrored(&shadow, "").more(beside));
    forebay.get("/beside/a").is(200, "main");
    only_copied(&forebay, &shadow, &[]);
    forebay.mirror_api("GET", "/beside").is_status(404);
}
