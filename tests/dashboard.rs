//! The dashboard in a browser: Chromium loads it from a running proxy, runs its script and prints what it shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::process::{Command, Stdio};

use testbed::{Forebay, Origin, answer, eventually, forward, ok};

/// What the browser shows of the page, and what it writes to its console.
fn shown(address: std::net::SocketAddr) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let browser = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .output()
        .expect("chromium is installed: ./test does that");
    (String::from_utf8_lossy(&browser.stdout).into_owned(), String::from_utf8_lossy(&browser.stderr).into_owned())
}

#[test]
fn the_page_shows_live_numbers_and_why_an_endpoint_is_down() {
    let (good, bad) = (Origin::start(ok("fine")), Origin::start(ok("fine")));
    bad.at("/healthz", answer(503, &[], ""));
    let health = "health = { path = \"/healthz\", interval = \"10ms\", fall = 2, rise = 2 }";
    let config = forward([&good, &bad]).upstream(health).cached("ttl = \"60s\"");
    let forebay = Forebay::start(config.more("[admin]\nlisten = \"127.0.0.1:0\"\n"));
    forebay.get("/a").is_status(200);
    let is_down = || {
        let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        forebay.admin().send(ask).read_response_to("GET").text().contains("reason=\"down\"} 1")
    };
    eventually("the second endpoint is down", is_down);
    let (page, console) = shown(forebay.admin_address());
    for part in ["ready, up for", "1 of 2", ">down</span>", "got 503", "Drain …", "requests/s", "keys, "] {
        assert!(page.contains(part), "{part} in\n{page}\n{console}");
    }
    assert!(!page.contains("The proxy does not answer"), "{page}");
    let errors: Vec<&str> = console.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(errors.is_empty(), "{errors:?}");
}
