//! Invalidation by WebDAV's MOVE, COPY and DELETE (RFC 4918): destinations, and members of collections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Forebay, Gate, Origin, Response, Script, StateDir, answer, close, date, eventually, forward, script};

/// A page whose freshness is guessed from its modification: stored for a day.
fn page(body: &str) -> Script {
    answer(200, &[("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT"), ("Date", &*date(0))], body)
}

const ALL: [&str; 6] = ["/c", "/e", "/d/", "/d/one", "/d/two/three", "/dd"];

/// A cache that holds all of these.
fn holding(origin: &Origin, keys: &str) -> Forebay {
    let config = forward([origin]).upstream("[upstream.retry]\nattempts = 0").cached(keys);
    let forebay = Forebay::start(config.server("workers = 2"));
    for target in ALL {
        forebay.get(target).is_stored();
    }
    forebay
}

fn send(forebay: &Forebay, method: &str, target: &str, fields: &str) -> Response {
    forebay.ask(format!("{method} {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n{fields}\r\n"))
}

/// Those of [`ALL`] that are still served from the cache.
fn held(forebay: &Forebay) -> Vec<&'static str> {
    ALL.into_iter().filter(|target| forebay.get(target).cache_status().starts_with("forebay; hit")).collect()
}

#[track_caller]
fn forgets(method: &str, target: &str, fields: &str, gone: &[&str]) {
    for keys in ["", "mode = \"write-through\"\nttl = \"60s\""] {
        let origin = Origin::start(page("old"));
        let forebay = holding(&origin, keys);
        origin.once(answer(201, &[], ""));
        send(&forebay, method, target, fields).is_status(201);
        let left: Vec<&str> = ALL.into_iter().filter(|each| !gone.contains(each)).collect();
        assert_eq!(held(&forebay), left, "{method} {target} {fields:?} {keys}");
    }
}

#[test]
fn a_move_forgets_its_destination() {
    for named in ["/c", "http://shop.test/c", "http://SHOP.test:80/x/../c", "https://shop.test/c", "//shop.test/%63"] {
        forgets("MOVE", "/e", &format!("Destination: {named}\r\n"), &["/c", "/e"]);
    }
    forgets("COPY", "/e", "Destination: /c\r\nOverwrite: T\r\n", &["/c", "/e"]);
}

#[test]
fn a_destination_elsewhere_is_not_forgotten() {
    for named in
        ["http://other.test/c", "http://shop.test:81/c", "https://shop.test:8443/c", "ftp://shop.test/c", "%zz"]
    {
        forgets("MOVE", "/e", &format!("Destination: {named}\r\n"), &["/e"]);
    }
    forgets("POST", "/e", "Destination: /c\r\n", &["/e"]);
    forgets("DELETE", "/e", "Destination: /c\r\n", &["/e"]);
}

#[test]
fn a_collection_goes_with_its_members() {
    let members = ["/d/", "/d/one", "/d/two/three"];
    forgets("DELETE", "/d/", "", &members);
    forgets("DELETE", "/d", "Depth: infinity\r\n", &members);
    forgets("MOVE", "/d/", "Destination: /x/\r\n", &members);
    forgets("MOVE", "/d", "Depth: infinity\r\nDestination: /c\r\n", &["/c", "/d/", "/d/one", "/d/two/three"]);
}

#[test]
fn the_members_of_a_destination_go_too() {
    let members = ["/d/", "/d/one", "/d/two/three"];
    forgets("MOVE", "/x/", "Destination: /d/\r\n", &members);
    forgets("COPY", "/x/", "Destination: http://shop.test/d\r\n", &members);
    forgets("COPY", "/x", "Destination: /d\r\nDepth: infinity\r\n", &members);
}

#[test]
fn a_plain_delete_forgets_one_resource() {
    forgets("DELETE", "/d", "", &[]);
    forgets("DELETE", "/c", "", &["/c"]);
    forgets("MOVE", "/d", "Destination: /x\r\n", &[]);
    for method in ["PROPPATCH", "MKCOL", "LOCK", "UNLOCK", "POST"] {
        forgets(method, "/d/", "Depth: infinity\r\n", &["/d/"]);
    }
}

#[test]
fn where_paths_are_merged_so_are_those_of_destinations_and_collections() {
    let origin = Origin::start(page("old"));
    let config = forward([&origin]).cached("").server("merge_slashes = \"forward\"");
    let forebay = Forebay::start(config);
    for each in ALL {
        forebay.get(each).is_stored();
    }
    origin.once(answer(204, &[], ""));
    send(&forebay, "MOVE", "//x", "Destination: /.//d//\r\n").is_status(204);
    assert_eq!(held(&forebay), ["/c", "/e", "/dd"]);
    origin.once(answer(204, &[], ""));
    send(&forebay, "MOVE", "//e", "Destination: http://shop.test//c\r\n").is_status(204);
    assert_eq!(held(&forebay), ["/d/", "/d/one", "/d/two/three", "/dd"]);
}

#[test]
fn a_collection_of_another_host_stays() {
    let origin = Origin::start(page("old"));
    let forebay = holding(&origin, "");
    let elsewhere = || forebay.ask("GET /d/one HTTP/1.1\r\nHost: other.test\r\n\r\n");
    elsewhere().is_stored();
    origin.once(answer(204, &[], ""));
    send(&forebay, "DELETE", "/d/", "").is_status(204);
    elsewhere().is_hit();
}

#[test]
fn only_a_success_forgets_more_than_the_target() {
    for status in [303, 403, 409, 412, 423, 500] {
        let origin = Origin::start(page("old"));
        let forebay = holding(&origin, "");
        origin.once(answer(status, &[], ""));
        send(&forebay, "MOVE", "/d/", "Destination: /c\r\n").is_status(status);
        let held = held(&forebay);
        assert!(["/c", "/d/one", "/d/two/three"].iter().all(|each| held.contains(each)), "{status} {held:?}");
    }
    let origin = Origin::start(page("old"));
    let forebay = holding(&origin, "");
    origin.once(answer(207, &[], "<multistatus/>"));
    send(&forebay, "DELETE", "/d/", "").is_status(207);
    assert_eq!(held(&forebay), ["/c", "/e", "/dd"]);
}

#[test]
fn a_move_whose_end_is_not_known_forgets_all_that_it_may_have_changed() {
    for keys in ["", "mode = \"write-through\"\nttl = \"60s\""] {
        let origin = Origin::start(page("old"));
        let forebay = holding(&origin, keys);
        origin.once(close());
        assert!(send(&forebay, "MOVE", "/d/", "Destination: /c\r\n").status >= 500);
        assert_eq!(held(&forebay), ["/e", "/dd"], "{keys}");
        let forebay = holding(&origin, keys);
        origin.once(script().hang());
        let mut client = forebay.client();
        let seen = origin.seen();
        client.send("MOVE /d/ HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\nDestination: /c\r\n\r\n");
        eventually("the backend has it", || origin.seen() > seen);
        client.reset();
        eventually("it is given up", || forebay.gauges().in_flight == 0);
        assert_eq!(held(&forebay), ["/e", "/dd"], "{keys}");
    }
}

#[test]
fn what_was_fetched_across_a_move_is_not_stored() {
    for target in ["/c", "/d/one"] {
        let gate = Gate::new();
        let origin = Origin::start(page("new"));
        let forebay = Forebay::start(forward([&origin]).cached(""));
        origin.once(script().wait(&gate).then(page("old")));
        let mut early = forebay.client();
        early.send(format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        eventually("it is asked for", || origin.held() == 1);
        origin.once(answer(204, &[], ""));
        send(&forebay, "MOVE", "/d/", "Destination: /c\r\n").is_status(204);
        gate.open();
        early.read_response().is(200, "old");
        forebay.get(target).is(200, "new");
        forebay.get(target).is(200, "new").is_hit();
    }
}

#[test]
fn a_queued_delete_of_a_collection_forgets_its_members_once_the_backend_has_done_it() {
    for (target, fields) in [("/d/", ""), ("/d", "Depth: infinity\r\n")] {
        let origin = Origin::start(page("old"));
        let state = StateDir::new();
        let config = forward([&origin]).server(&state.key()).cached("mode = \"write-back\"\nttl = \"60s\"");
        let forebay = Forebay::start(config.more("[route.cache.write_back]\nflush_interval = \"10ms\""));
        for each in ALL {
            forebay.get(each).is_stored();
        }
        origin.once(answer(204, &[], ""));
        send(&forebay, "DELETE", target, fields).is_status(202);
        eventually("it is sent", || origin.count_whole(&format!("DELETE {target}")) == 1);
        eventually("nothing is pending", || forebay.gauges().pending_writes == 0);
        let held = held(&forebay);
        assert!(!held.contains(&"/d/one") && !held.contains(&"/d/two/three"), "{target} {held:?}");
        assert!(held.contains(&"/dd") && held.contains(&"/c"), "{target} {held:?}");
    }
}
