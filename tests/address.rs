//! Addresses of backends: IP address, name, Unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use testbed::{Forebay, Origin, eventually, ok};

fn before(url: &str, keys: &str) -> String {
    format!(
        "listen = [\"127.0.0.1:0\"]\nserver = {{ workers = 1 }}\nlog = {{ access = \"off\" }}\n\
         [[upstream]]\nname = \"u\"\nbackends = [\"{url}\"]\n{keys}\n[[route]]\npath = \"/\"\nupstream = \"u\"\n"
    )
}

/// A backend on a Unix socket that answers every request with its own head.
fn unix_backend(path: &std::path::Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut read = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut read) {
                    let head = String::from_utf8_lossy(&read[..length]).into_owned();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_backend_on_a_unix_socket_is_asked_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backend.sock");
    unix_backend(&path);
    let forebay = Forebay::start(before(&format!("unix:{}", path.display()), "[upstream.health]\nkind = \"tcp\""));
    for _ in 0..3 {
        let response = forebay.get("/over/a/socket");
        assert!(response.text().starts_with("GET /over/a/socket HTTP/1.1\r\n"), "{}", response.text());
    }
    assert_eq!(forebay.gauges().backend_connections, 1);
}

#[test]
fn a_backend_by_name_is_found_before_the_first_request() {
    let origin = Origin::start(ok("by name"));
    let forebay = Forebay::start(before(&format!("http://localhost:{}", origin.address().port()), ""));
    forebay.get("/").is(200, "by name");
}

#[test]
fn a_name_that_nobody_knows_does_not_stop_the_start() {
    let forebay = Forebay::start(before("http://nobody.invalid:1", ""));
    let response = forebay.get("/");
    assert!(matches!(response.status, 502 | 503), "{}", response.status);
    assert!(!response.text().contains("nobody.invalid"));
    eventually("nothing is left of it", || forebay.gauges().in_flight == 0);
}
