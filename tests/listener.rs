//! `[[listener]]`: Unix sockets, trusted proxies, and redirects to `https`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use testbed::{Client, Config, Forebay, Gate, Origin, echo, eventually, forward, ok, routes, script};

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// One more listener.
fn listener(address: &str, keys: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\n{keys}\n")
}

fn with_socket(config: Config, path: &Path) -> Config {
    config.more(&listener(&format!("unix:{}", path.display()), ""))
}

#[test]
fn a_client_on_a_unix_socket_is_served_and_counts_as_local() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let origin = Origin::start(echo());
    let forebay = Forebay::start(with_socket(forward([&origin]).server("workers = 2"), &path));
    for _ in 0..4 {
        let mut client = Client::to_unix(&path);
        client.send(GET).read_response().is_status(200);
        let body = "x".repeat(100_000);
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(client.read_response().is_status(200).text().ends_with(&body));
        assert_eq!(origin.last().head.fields("x-forwarded-for"), ["127.0.0.1"]);
    }
    Client::to_unix(&path).send("GET / HTTP/1.0\r\n\r\n").read_response().is_status(200);
    assert_eq!(origin.last().head.fields("x-forwarded-host"), ["127.0.0.1:80"]);
    forebay.drain();
    forebay.wait();
    assert!(!path.exists(), "the socket goes with its listener");
}

#[test]
fn a_large_body_reaches_a_client_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let body = "0123456789abcdef".repeat(100_000);
    let origin = Origin::start(ok(&body));
    let _forebay = Forebay::start(with_socket(forward([&origin]), &path));
    Client::to_unix(&path).send(GET).read_response().is(200, &body);
}

#[test]
fn a_unix_listener_comes_and_goes_with_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("done")));
    let forebay = Forebay::start(forward([&origin]));
    assert!(forebay.reload_told(with_socket(forward([&origin]), &path)).0.contains("listeners added: unix:"));
    let mut client = Client::to_unix(&path);
    client.send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    assert!(path.metadata().unwrap().file_type().is_socket());
    assert!(forebay.reload_told(forward([&origin])).0.contains("listeners removed: unix:"));
    eventually("the socket is gone", || !path.exists());
    gate.open();
    client.read_response().is(200, "done");
}

#[test]
fn a_listener_trusts_its_own_proxies_in_place_of_those_of_all() {
    let origin = Origin::start(ok(""));
    let own = |networks: &str| listener("127.0.0.2:0", &format!("trusted_proxies = {networks}"));
    let config =
        |networks| forward([&origin]).server("trusted_proxies = [\"127.0.0.1\", \"127.0.0.2\"]").more(&own(networks));
    let forebay = Forebay::start(config("[\"192.0.2.1\"]"));
    let addresses = forebay.addresses();
    let ask = |address| {
        let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
        Client::to(address).send(request).read_response().is_status(200);
        origin.last().head.fields("x-forwarded-for").concat()
    };
    assert_eq!((ask(addresses[0]), ask(addresses[1])), ("192.0.2.7, 127.0.0.1".to_owned(), "127.0.0.1".to_owned()));
    // Also for connections that are there already.
    let mut client = Client::to(addresses[1]);
    client.send(GET).read_response().is_status(200);
    assert!(forebay.reload_told(config("[\"127.0.0.0/8\"]")).0.contains("listeners changed: 127.0.0.2:0"));
    eventually("it is believed", || {
        client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n").read_response().is_status(200);
        origin.last().head.fields("x-forwarded-for").concat() == "192.0.2.7, 127.0.0.1"
    });
    assert_eq!(forebay.addresses(), addresses);
}

#[test]
fn a_listener_may_redirect_all_that_has_not_come_by_https() {
    let config = routes("[[route]]\nrespond = { body = \"served\" }\n")
        .more(&listener("127.0.0.2:0", "redirect_https = 443\ntrusted_proxies = [\"127.0.0.1\"]"))
        .more(&listener("127.0.0.3:0", "redirect_https = 8443"));
    let forebay = Forebay::start(config);
    let ask = |index: usize, request: &str| {
        let response = Client::to(forebay.addresses()[index]).send(request).read_response();
        (response.status, response.field("location").unwrap_or_default().to_owned())
    };
    assert_eq!(ask(0, GET), (200, String::new()));
    assert_eq!(ask(1, GET), (308, "https://shop.test/a?b".to_owned()));
    assert_eq!(ask(2, GET), (308, "https://shop.test:8443/a?b".to_owned()));
    let with_port = "GET http://SHOP.test:8080/x/../y HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(ask(2, with_port), (308, "https://shop.test:8443/y".to_owned()));
    assert_eq!(ask(1, "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), (308, "https://[::1]/".to_owned()));
    // A proxy in front may have terminated TLS; only a trusted one can claim it.
    let by_https = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!((ask(1, by_https).0, ask(2, by_https).0), (200, 308));
}

#[test]
fn only_a_trusted_proxy_tells_of_a_clients_certificate() {
    let origin = Origin::start(ok(""));
    let forebay =
        Forebay::start(forward([&origin]).more(&listener("127.0.0.2:0", "trusted_proxies = [\"127.0.0.1\"]")));
    let names = ["Client-Cert", "client-cert-chain", "X-Client-Cert-Subject", "x-client-cert", "X_Client_Cert_San"];
    let fields: String = names.iter().map(|name| format!("{name}: spoofed\r\n")).collect();
    let passed = |address| {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        Client::to(address).send(request).read_response().is_status(200);
        let head = origin.last().head;
        names.iter().filter(|name| head.has(name)).count()
    };
    let addresses = forebay.addresses();
    assert_eq!((passed(addresses[0]), passed(addresses[1])), (0, 4));
    let nominated = "GET / HTTP/1.1\r\nHost: h\r\nConnection: client-cert\r\n\r\n";
    Client::to(addresses[1]).send(nominated).read_response().is_status(400);
}
