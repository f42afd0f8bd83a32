//! Runs of slashes in a path: routes match as if each were one slash; forwarded paths and cache keys keep them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Config, Forebay, Origin, forward, ok, routes};

/// A backend for everything, and a fixed 403 under `/admin`.
fn guarded(origin: &Origin, path: &str) -> Config {
    let deny = format!("[[route]]\npath = \"{path}\"\nrespond = {{ status = 403, body = \"no\" }}\n");
    forward([origin]).more(&deny)
}

fn merging(config: Config, mode: &str) -> Config {
    config.server(&format!("merge_slashes = \"{mode}\""))
}

/// The target that a backend sees for this one.
#[track_caller]
fn seen(config: impl Fn(&Origin) -> Config, target: &str) -> String {
    let origin = Origin::start(ok(""));
    Forebay::start(config(&origin)).get(target).is(200, "");
    origin.last().target
}

#[test]
fn no_run_of_slashes_gets_around_a_route() {
    for mode in ["match", "forward"] {
        for (path, targets) in [
            (
                "/admin",
                &["/admin", "//admin", "///admin/x", "/x/..//admin", "//x/../admin", "/.//admin", "/%61dmin//"][..],
            ),
            ("=/admin/x", &["/admin/x", "/admin//x", "//admin///x", "/admin/./x"]),
            ("~^/admin/[0-9]+$", &["/admin/1", "//admin//1", "/admin/%31"]),
        ] {
            let origin = Origin::start(ok(""));
            let forebay = Forebay::start(merging(guarded(&origin, path), mode));
            for target in targets {
                forebay.get(target).is(403, "no");
            }
            assert_eq!(origin.seen(), 0, "{path}");
        }
    }
}

#[test]
fn dots_are_resolved_first_and_an_escaped_slash_is_none() {
    for mode in ["match", "forward", "off"] {
        let config = |origin: &Origin| merging(guarded(origin, "/admin"), mode);
        // The `..` takes the empty segment before it away, as RFC 3986 §5.2.4 says.
        assert_eq!(seen(config, "/x//../admin"), "/x/admin");
        assert_eq!(seen(config, "/%2f/admin"), "/%2F/admin");
        assert_eq!(seen(config, "/%2fadmin"), "/%2Fadmin");
    }
}

#[test]
fn turned_off_every_slash_counts() {
    let config = |origin: &Origin| merging(guarded(origin, "/admin"), "off");
    assert_eq!(seen(config, "//admin"), "//admin");
    let strict =
        |origin: &Origin| merging(forward([origin]).route("path = \"//api\"\nstrip_prefix = \"//api\""), "off");
    assert_eq!(seen(strict, "//api/x"), "/x");
}

#[test]
fn what_is_forwarded_keeps_its_slashes_unless_it_is_to_lose_them() {
    let signed = "/bucket//key//?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=fe5f//80";
    let origin = Origin::start(ok(""));
    let forebay = Forebay::start(forward([&origin]).route("path = \"/bucket\""));
    forebay.ask(format!("GET {signed} HTTP/1.1\r\nHost: S3.example:80\r\n\r\n")).is(200, "");
    assert_eq!((origin.last().target.as_str(), origin.last().head.fields("host")), (signed, vec!["S3.example:80"]));
    assert_eq!(seen(|origin| merging(forward([origin]), "forward"), "//a///b?c=//d"), "/a/b?c=//d");
}

#[test]
fn a_prefix_is_stripped_through_runs_of_slashes() {
    let strip = |origin: &Origin| forward([origin]).route("path = \"/api/v1\"\nstrip_prefix = \"/api/v1\"");
    assert_eq!(seen(strip, "//api//v1//x"), "//x");
    assert_eq!(seen(strip, "//api///v1?y"), "/?y");
    assert_eq!(seen(|origin| merging(strip(origin), "forward"), "//api//v1//x"), "/x");
    let moved =
        |origin: &Origin| forward([origin]).route("path = \"/api\"\nstrip_prefix = \"/api\"\nadd_prefix = \"/v2\"");
    assert_eq!(seen(moved, "//api//x"), "/v2//x");
}

#[test]
fn a_redirect_keeps_the_slashes_of_the_path() {
    let route = "[[route]]\npath = \"/api\"\nredirect = { to = \"https://new.test{path}{query}\" }";
    let location = |mode: &str| {
        let response = Forebay::start(merging(routes(route), mode)).get("//api//x?y");
        response.is_status(308).field("location").unwrap().to_owned()
    };
    assert_eq!(location("match"), "https://new.test//api//x?y");
    assert_eq!(location("forward"), "https://new.test/api/x?y");
}

fn purge(forebay: &Forebay, target: &str) -> String {
    forebay.ask(format!("PURGE {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).text()
}

fn caching(origin: &Origin, mode: &str) -> Forebay {
    let config = forward([origin]).route("path = \"/a\"").cached("ttl = \"60s\"").cache("purge_from = [\"127.0.0.1\"]");
    Forebay::start(merging(config, mode))
}

#[test]
fn paths_that_differ_in_slashes_are_stored_and_purged_apart() {
    let origin = Origin::start(ok("x"));
    let forebay = caching(&origin, "match");
    forebay.get("/a").is_stored();
    forebay.get("//a").is_stored();
    assert_eq!(purge(&forebay, "//a"), "{\"purged\":1}\n");
    forebay.get("/a").is_hit();
    forebay.get("//a").is_stored();
    forebay.post("//a", "").is(200, "x");
    forebay.get("/a").is_hit();
    forebay.get("//a").is_stored();
}

#[test]
fn merged_paths_are_stored_and_purged_as_one() {
    let origin = Origin::start(ok("x"));
    let forebay = caching(&origin, "forward");
    forebay.get("//a").is_stored();
    forebay.get("/a").is_hit();
    assert_eq!(purge(&forebay, "///a"), "{\"purged\":1}\n");
    forebay.get("/a").is_stored();
    forebay.post("//a", "").is(200, "x");
    forebay.get("/a").is_stored();
    origin.at("/a/new", testbed::answer(201, &[("Location", "//shop.test//a")], ""));
    forebay.post("/a/new", "").is_status(201);
    forebay.get("/a").is_stored();
}

#[test]
fn the_mode_changes_with_a_reload() {
    let origin = Origin::start(ok("x"));
    let forebay = Forebay::start(merging(guarded(&origin, "/admin"), "off"));
    forebay.get("//admin").is(200, "x");
    forebay.reload(guarded(&origin, "/admin"));
    testbed::eventually("slashes are merged", || forebay.get("//admin").status == 403);
}
