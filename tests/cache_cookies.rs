//! `Set-Cookie` in cached responses: only the client that caused it gets it, unless the backend or the route shares it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Client, Config, Forebay, Gate, Origin, Response, Script, advance, answer, eventually, forward, script};

const MINUTE: (&str, &str) = ("Cache-Control", "max-age=60");
const TAG: (&str, &str) = ("ETag", "\"a\"");
const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

fn caching(origin: &Origin, keys: &str) -> Config {
    forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached(keys)
}

/// A response of this status that sets a cookie.
fn session(status: u16, number: &str, fields: &[(&str, &str)]) -> Script {
    let cookie = format!("sid={number}");
    answer(status, &[&[("Set-Cookie", &*cookie)], fields].concat(), if status == 304 { "" } else { "page" })
}

fn cookie(response: &Response) -> Option<&str> {
    response.field("set-cookie")
}

/// Sends three requests to an origin that opens a session for each request. Returns the cookie of each response.
fn three(keys: &str, fields: &[(&str, &str)]) -> (Vec<Response>, usize) {
    let origin = Origin::start(session(200, "0", fields));
    for number in ["1", "2", "3"] {
        origin.once(session(200, number, fields));
    }
    let forebay = Forebay::start(caching(&origin, keys));
    let answers: Vec<Response> = (0..3).map(|_| forebay.get("/")).collect();
    for response in &answers {
        response.is(200, "page");
    }
    (answers, origin.seen())
}

#[test]
fn three_clients_of_a_page_with_max_age_get_three_sessions() {
    let modified = ("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT");
    let expires = testbed::date(60);
    let own = [
        ("", vec![MINUTE]),
        ("", vec![("Expires", &*expires)]),
        ("", vec![modified]),
        ("", vec![("Cache-Control", "max-age=60, must-revalidate")]),
        ("", vec![("Cache-Control", "max-age=60, s-maxage=0")]),
        ("", vec![("Cache-Control", "public"), MINUTE, ("CDN-Cache-Control", "must-revalidate")]),
        ("ttl = \"60s\"", vec![]),
        ("ttl = \"60s\"", vec![MINUTE]),
        ("ttl_force = \"60s\"", vec![MINUTE]),
        ("ttl_status = { 200 = \"60s\" }", vec![]),
        ("ttl_force = \"60s\"\nstore_private = true", vec![("Cache-Control", "private")]),
    ];
    for (keys, fields) in own {
        let (answers, seen) = three(keys, &fields);
        let cookies: Vec<_> = answers.iter().map(cookie).collect();
        assert_eq!((cookies, seen), (vec![Some("sid=1"), Some("sid=2"), Some("sid=3")], 3), "{keys} {fields:?}");
        answers[0].is_refused("set-cookie");
    }
}

#[test]
fn a_cookie_that_the_backend_or_the_route_shares_is_stored() {
    let shared = [
        ("", vec![("Cache-Control", "public, max-age=60")]),
        ("", vec![("Cache-Control", "s-maxage=60")]),
        ("", vec![("CDN-Cache-Control", "max-age=60")]),
        ("", vec![("CDN-Cache-Control", "s-maxage=60"), ("Cache-Control", "no-store")]),
        ("ttl = \"60s\"", vec![("Cache-Control", "public")]),
        ("ttl_force = \"60s\"", vec![("Cache-Control", "public")]),
        ("store_set_cookie = true", vec![MINUTE]),
        ("store_set_cookie = true\nttl = \"60s\"", vec![]),
    ];
    for (keys, fields) in shared {
        let (answers, seen) = three(keys, &fields);
        assert!(answers.iter().all(|response| cookie(response) == Some("sid=1")), "{keys} {fields:?}");
        assert_eq!(seen, 1, "{keys} {fields:?}");
        answers[0].is_stored();
        answers[2].is_hit();
    }
}

#[test]
fn a_route_that_removes_cookies_may_store_the_page_without_one() {
    let origin = Origin::start(session(200, "1", &[MINUTE]));
    let config = caching(&origin, "store_set_cookie = true").route("remove_response_headers = [\"set-cookie\"]");
    let forebay = Forebay::start(config);
    for _ in 0..2 {
        assert_eq!(cookie(forebay.get("/").is(200, "page")), None);
    }
    forebay.get("/").is_hit();
    assert_eq!(origin.seen(), 1);
}

#[test]
fn clients_that_wait_for_one_page_get_a_session_each() {
    let gate = Gate::new();
    let origin = Origin::start(session(200, "0", &[MINUTE]));
    for number in ["1", "2", "3", "4", "5"] {
        origin.once(script().wait(&gate).then(session(200, number, &[MINUTE])));
    }
    let forebay = Forebay::start(caching(&origin, ""));
    let mut clients: Vec<Client> = (0..5).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    forebay.eventually("all wait", |gauges| gauges.in_flight == 5);
    gate.open();
    let answers: Vec<Response> = clients.iter_mut().map(Client::read_response).collect();
    let mut cookies: Vec<_> = answers.iter().map(|response| cookie(response.is(200, "page")).unwrap()).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["sid=1", "sid=2", "sid=3", "sid=4", "sid=5"]);
}

#[test]
fn a_part_with_a_cookie_is_not_stored() {
    let range = ("Content-Range", "bytes 0-3/8");
    let origin = Origin::start(session(206, "1", &[MINUTE, TAG, range]));
    let forebay = Forebay::start(caching(&origin, ""));
    let get = || forebay.get_with("/", "Range: bytes=0-3\r\n");
    get().is(206, "page").is_refused("set-cookie");
    origin.now(session(206, "2", &[MINUTE, TAG, range]));
    assert_eq!(cookie(&get()), Some("sid=2"));
}

#[test]
fn the_cookie_that_comes_with_the_rest_of_a_part_is_for_the_client_that_asked() {
    let range = |range| ("Content-Range", range);
    let origin = Origin::start(answer(206, &[MINUTE, TAG, range("bytes 0-3/8")], "page"));
    let forebay = Forebay::start(caching(&origin, ""));
    forebay.get_with("/", "Range: bytes=0-3\r\n").is(206, "page").is_stored();
    origin.once(session(206, "1", &[MINUTE, TAG, range("bytes 4-7/8")]));
    let whole = forebay.get("/");
    assert_eq!(cookie(whole.is(200, "pagepage")), Some("sid=1"));
    origin.now(answer(200, &[MINUTE, TAG], "pagepage"));
    assert_eq!(cookie(forebay.get("/").is(200, "pagepage")), None);
}

/// A page without a cookie, stored and stale. The origin answers its validation with 304 and a new session.
fn holding_stale(origin: &Origin, keys: &str) -> Forebay {
    let forebay = Forebay::start(caching(origin, keys));
    forebay.get("/").is_stored();
    advance(Duration::from_secs(61));
    forebay
}

#[test]
fn the_cookie_of_a_304_goes_to_the_client_that_asked_and_to_no_other() {
    for shared in ["max-age=60", "public, max-age=60", "s-maxage=60"] {
        for keys in ["", "store_set_cookie = true"] {
            let control = ("Cache-Control", shared);
            let origin = Origin::start(answer(200, &[control, TAG], "page"));
            let forebay = holding_stale(&origin, keys);
            origin.now(session(304, "1", &[control, TAG]));
            let confirmed = forebay.get("/");
            assert_eq!(cookie(confirmed.is(200, "page")), Some("sid=1"), "{shared}");
            confirmed.says("forebay; fwd=stale; fwd-status=304");
            let other = forebay.get("/");
            assert_eq!(cookie(other.is(200, "page").is_hit()), None, "{shared}");
            assert_eq!(origin.seen(), 2);
        }
    }
}

#[test]
fn the_cookie_of_a_304_reaches_a_client_that_is_told_304() {
    let origin = Origin::start(answer(200, &[MINUTE, TAG], "page"));
    let forebay = holding_stale(&origin, "");
    origin.now(session(304, "1", &[MINUTE, TAG]));
    assert_eq!(cookie(forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "")), Some("sid=1"));
    assert_eq!(cookie(forebay.get_with("/", "If-None-Match: \"a\"\r\n").is(304, "").is_hit()), None);
}

#[test]
fn clients_that_wait_for_a_304_do_not_get_its_cookie() {
    let gate = Gate::new();
    let origin = Origin::start(answer(200, &[MINUTE, TAG], "page"));
    let forebay = holding_stale(&origin, "");
    origin.now(script().wait(&gate).then(session(304, "1", &[MINUTE, TAG])));
    let mut clients: Vec<Client> = (0..5).map(|_| forebay.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    forebay.eventually("all wait", |gauges| gauges.in_flight == 5);
    gate.open();
    let answers: Vec<Response> = clients.iter_mut().map(Client::read_response).collect();
    assert_eq!(answers.iter().filter(|response| response.is(200, "page").head.has("set-cookie")).count(), 1);
    assert_eq!(origin.seen(), 2);
}

#[test]
fn the_cookie_of_a_background_refresh_is_dropped() {
    let control = ("Cache-Control", "max-age=60, stale-while-revalidate=600");
    let origin = Origin::start(answer(200, &[control, TAG], "page"));
    let forebay = holding_stale(&origin, "");
    origin.now(session(304, "1", &[control, TAG]));
    assert_eq!(cookie(forebay.get("/").is(200, "page")), None);
    eventually("it is fresh again", || !forebay.get("/").cache_status().contains("ttl=-"));
    assert_eq!(cookie(forebay.get("/").is(200, "page").is_hit()), None);
}

#[test]
fn the_cookie_of_a_head_is_not_stored() {
    let origin = Origin::start(answer(200, &[MINUTE, TAG], "page"));
    let forebay = holding_stale(&origin, "");
    origin.now(session(200, "1", &[MINUTE, TAG, ("X-New", "1")]));
    let head = forebay.ask("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(cookie(&head), Some("sid=1"));
    let hit = forebay.get("/");
    assert_eq!((hit.is_hit().field("x-new"), cookie(&hit)), (Some("1"), None));
}

#[test]
fn a_stored_cookie_goes_once_the_backend_shares_it_no_more() {
    for later in ["max-age=60", "public, max-age=60, private=\"set-cookie\""] {
        let origin = Origin::start(session(200, "1", &[("Cache-Control", "public, max-age=60"), TAG]));
        let forebay = holding_stale(&origin, "");
        assert_eq!(origin.seen(), 1);
        origin.now(answer(304, &[("Cache-Control", later), TAG], ""));
        for _ in 0..2 {
            assert_eq!(cookie(forebay.get("/").is(200, "page")), None, "{later}");
        }
        assert_eq!(origin.seen(), 2);
    }
}

#[test]
fn a_write_whose_answer_sets_a_cookie_leaves_none_in_the_cache() {
    let origin = Origin::start(answer(200, &[MINUTE], "page"));
    let forebay = Forebay::start(caching(&origin, "mode = \"write-through\"\nttl = \"60s\""));
    let put = |forebay: &Forebay| forebay.ask("PUT / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nnew");
    origin.once(session(204, "1", &[("ETag", "\"2\"")]));
    assert_eq!(cookie(&put(&forebay)), Some("sid=1"));
    assert_eq!(cookie(forebay.get("/").is(200, "new").is_hit()), None);
    origin.once(session(200, "2", &[MINUTE, ("Content-Location", "/")]));
    assert_eq!(cookie(put(&forebay).is(200, "page")), Some("sid=2"));
    assert_eq!(cookie(forebay.get("/").is(200, "page")), None);
    origin.once(session(200, "3", &[MINUTE, ("Content-Location", "/")]));
    assert_eq!(cookie(forebay.post("/", "new").is(200, "page")), Some("sid=3"));
    assert_eq!(cookie(forebay.get("/").is(200, "page")), None);
}
