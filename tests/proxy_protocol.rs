//! The PROXY protocol from load balancers: whose header is believed, what its address counts for, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;

use testbed::{
    Authority, Client, Config, Forebay, Gate, Origin, answer, echo, eventually, forward, ok, routes, script,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for the client of [`LINE`], with these values behind the addresses.
fn binary(values: &[u8]) -> Vec<u8> {
    let length = u8::try_from(12 + values.len()).unwrap();
    let ends = [192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x40, 0x01, 0xBB];
    [SIGNATURE, &[0x21, 0x11, 0, length], &ends, values].concat()
}

/// A listener that takes headers from this machine's first address.
fn listener(mode: &str, keys: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\nproxy_protocol = \"{mode}\"\nproxy_protocol_from = [\"127.0.0.1\"]\n{keys}\n"
    )
}

fn start(config: Config, mode: &str, keys: &str) -> (Forebay, SocketAddr) {
    let forebay = Forebay::start(config.more(&listener(mode, keys)));
    let address = forebay.addresses()[1];
    (forebay, address)
}

fn count(forebay: &Forebay) -> (u64, u64) {
    let counters = forebay.counters();
    let sum = |of: fn(&forebay::telemetry::counters::Counters) -> u64| counters.iter().map(|one| of(one)).sum();
    (sum(|one| one.proxy_headers.get()), sum(|one| one.proxy_refusals.get()))
}

/// Whom the backend takes the client for.
fn client_at(origin: &Origin) -> String {
    origin.last().head.fields("x-forwarded-for").concat()
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let origin = Origin::start(ok(""));
    let (forebay, address) = start(forward([&origin]), "required", "");
    for header in [LINE.as_bytes().to_vec(), binary(&[])] {
        let mut client = Client::to(address);
        client.send([&header, GET.as_bytes()].concat()).read_response().is_status(200);
        assert_eq!(client_at(&origin), "192.0.2.7");
        assert_eq!(origin.last().head.fields("x-forwarded-proto"), ["http"]);
        // Also for what follows on the connection, where a header is none any more.
        client.send(GET).read_response().is_status(200);
        assert_eq!(client_at(&origin), "192.0.2.7");
        client.send(LINE).read_response().is_status(400);
    }
    Client::to(address).send("PROXY TCP6 2001:db8::7 ::1 1 2\r\n").send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "2001:db8::7");
    assert_eq!(count(&forebay), (3, 0));
}

#[test]
fn the_client_is_who_is_logged_trusted_and_let_purge() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access");
    let origin = Origin::start(answer(200, &[("Cache-Control", "max-age=60")], ""));
    let config = forward([&origin])
        .cached("")
        .cache("purge_from = [\"127.0.0.1\", \"192.0.2.8\"]")
        .server("trusted_proxies = [\"192.0.2.8\"]")
        .log(&format!(
            "access = \"on\"\naccess_format = \"$remote_addr $uri\"\naccess_to = \"file:{}\"",
            log.display()
        ));
    let (_forebay, address) = start(config, "required", "");
    let ask = |from: &str, request: &str| {
        let header = format!("PROXY TCP4 {from} 198.51.100.1 1 2\r\n");
        Client::to(address).send(format!("{header}{request}")).read_response().status
    };
    let told = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    ask("192.0.2.7", &told("/1"));
    assert_eq!(client_at(&origin), "192.0.2.7");
    ask("192.0.2.8", &told("/2"));
    assert_eq!(client_at(&origin), "203.0.113.9, 192.0.2.8");
    let purge = "PURGE /1 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!((ask("192.0.2.7", purge), ask("192.0.2.8", purge)), (403, 200));
    let line = |path: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().find(|line| line.ends_with(path)).map(str::to_owned)
    };
    eventually("both are logged", || line("/1").is_some() && line("/2").is_some());
    assert_eq!((line("/1").unwrap(), line("/2").unwrap()), ("192.0.2.7 /1".into(), "203.0.113.9 /2".into()));
}

#[test]
fn a_peer_that_is_not_listed_sets_nothing() {
    let origin = Origin::start(ok(""));
    let (forebay, required) = start(forward([&origin]), "required", "");
    let stranger = [127, 0, 0, 9];
    for bytes in [format!("{LINE}{GET}"), GET.to_owned()] {
        let (read, _) = Client::from(stranger, required).try_send(bytes).read_to_end();
        assert_eq!(read, b"");
    }
    assert_eq!(count(&forebay), (0, 2));
    let (forebay, optional) = start(forward([&origin]), "optional", "");
    for header in [LINE.as_bytes().to_vec(), binary(&[])] {
        let mut client = Client::from(stranger, optional);
        client.send([&header, GET.as_bytes()].concat()).read_response().is_status(400);
    }
    assert_eq!(origin.requests().len(), 0);
    Client::from(stranger, optional).send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "127.0.0.9");
    // Nor does anyone where headers are not spoken of.
    Client::to(forebay.address()).send(LINE).send(GET).read_response().is_status(400);
    assert_eq!((origin.requests().len(), count(&forebay)), (1, (0, 0)));
}

#[test]
fn without_a_usable_header_a_connection_that_needs_one_is_closed() {
    let origin = Origin::start(ok(""));
    let (forebay, address) = start(forward([&origin]), "required", "");
    let cases: [&[u8]; 8] = [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 2001:db8::1 40000 443\r\n",
        &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
        &[SIGNATURE, &[0x31, 0x11, 0, 12]].concat(),
        &[SIGNATURE, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat(),
        &[SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat(),
        b"\x16\x03\x01",
    ];
    for (place, bytes) in cases.into_iter().enumerate() {
        let (read, _) = Client::to(address).try_send(bytes).try_send(GET).read_to_end();
        assert_eq!(read, b"", "case {place}");
        assert_eq!(count(&forebay), (0, place as u64 + 1));
    }
    // One that ends within the header.
    Client::to(address).send("PROXY TCP4 ").cut().read_to_end();
    eventually("it is counted", || count(&forebay) == (0, 9));
    assert_eq!(origin.requests().len(), 0);
    forebay.is_idle();
}

#[test]
fn a_header_that_takes_too_long_closes_the_connection() {
    let origin = Origin::start(ok(""));
    let (forebay, address) = start(forward([&origin]).server("header_timeout = \"100ms\""), "required", "");
    for begun in ["", "PROXY TCP4 192.0"] {
        assert_eq!(Client::to(address).send(begun).read_to_end().0, b"");
    }
    assert_eq!(count(&forebay), (0, 2));
}

#[test]
fn a_header_may_come_byte_by_byte_and_with_what_follows() {
    let origin = Origin::start(echo());
    let (_forebay, address) = start(forward([&origin]), "required", "");
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    for header in [LINE.as_bytes().to_vec(), binary(&[0xEA, 0, 2, 1, 2])] {
        let mut client = Client::to(address);
        for byte in header.iter().chain(post.as_bytes()) {
            client.send([*byte]);
        }
        assert!(client.read_response().is_status(200).text().ends_with("abc"));
        assert_eq!(client_at(&origin), "192.0.2.7");
        // Two requests behind the header, in one piece.
        let mut client = Client::to(address);
        client.send([&header, post.as_bytes(), post.as_bytes()].concat());
        for _ in 0..2 {
            assert!(client.read_response().is_status(200).text().ends_with("abc"));
        }
    }
}

#[test]
fn where_a_header_is_optional_the_beginning_of_a_request_is_none() {
    let origin = Origin::start(echo());
    let (forebay, address) = start(forward([&origin]), "optional", "");
    let mut client = Client::to(address);
    for piece in ["P", "O", "ST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", "x"] {
        client.send(piece);
    }
    assert!(client.read_response().is_status(200).text().ends_with("\r\nx"));
    Client::to(address).send("\r\n").send(GET).read_response().is_status(200);
    assert_eq!((client_at(&origin), count(&forebay)), ("127.0.0.1".to_owned(), (0, 0)));
    Client::to(address).send(LINE).send(GET).read_response().is_status(200);
    assert_eq!((client_at(&origin), count(&forebay)), ("192.0.2.7".to_owned(), (1, 0)));
    // A method that begins like a header is one all the same.
    Client::to(address).send("PROXY TCP4 /\r\n").read_to_end();
    assert_eq!(count(&forebay), (1, 1));
}

#[test]
fn a_load_balancer_that_speaks_for_itself_is_the_client() {
    let origin = Origin::start(ok(""));
    let (_forebay, address) = start(forward([&origin]), "required", "");
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for header in [local, b"PROXY UNKNOWN\r\n".to_vec(), b"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n".to_vec()] {
        Client::to(address).send([&header, GET.as_bytes()].concat()).read_response().is_status(200);
        assert_eq!(client_at(&origin), "127.0.0.1");
    }
}

#[test]
fn a_client_that_speaks_tls_with_the_load_balancer_has_come_by_https() {
    let origin = Origin::start(ok(""));
    let (_forebay, address) = start(forward([&origin]), "required", "redirect_https = 443");
    let (secure, bare) = ([0x20, 0, 5, 1, 0, 0, 0, 1], [0x20, 0, 5, 0, 0, 0, 0, 1]);
    let ask = |values: &[u8]| Client::to(address).send(binary(values)).send(GET).read_response().status;
    assert_eq!((ask(&secure), ask(&bare), ask(&[])), (200, 308, 308));
    assert_eq!(origin.last().head.fields("x-forwarded-proto"), ["https"]);
    assert!(origin.last().head.fields("forwarded")[0].contains("proto=https"));
    // The server name is the host of an HTTP/1.0 request that names none.
    let named = [&secure[..], &[2, 0, 9], b"Shop.Test"].concat();
    Client::to(address).send(binary(&named)).send("GET / HTTP/1.0\r\n\r\n").read_response().is_status(200);
    assert_eq!(origin.last().head.fields("x-forwarded-host"), ["shop.test"]);
    Client::to(address).send(binary(&secure)).send("GET / HTTP/1.0\r\n\r\n").read_response().is_status(200);
    assert_eq!(origin.last().head.fields("x-forwarded-host"), ["198.51.100.1:443"]);
}

#[test]
fn the_header_comes_before_tls() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let tls =
        format!("[listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]", cert.display(), key.display());
    let origin = Origin::start(ok(&"x".repeat(100_000)));
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for mode in ["required", "optional"] {
        let (_forebay, address) = start(forward([&origin]), mode, &tls);
        for header in [LINE.as_bytes().to_vec(), binary(&[])] {
            let mut client = authority.client("a.test").behind(header).connect(address).unwrap();
            client.send(get).read_response().is_status(200);
            assert_eq!(
                (client_at(&origin), origin.last().head.fields("x-forwarded-proto").concat()),
                ("192.0.2.7".to_owned(), "https".to_owned())
            );
        }
        let without = authority.client("a.test").connect(address);
        assert_eq!(without.is_ok(), mode == "optional");
        if let Ok(mut client) = without {
            client.send(get).read_response().is_status(200);
            assert_eq!(client_at(&origin), "127.0.0.1");
        }
    }
}

#[test]
fn the_header_comes_before_either_protocol() {
    let origin = Origin::start(ok("yes"));
    let (_forebay, address) = start(forward([&origin]), "required", "protocols = [\"h2\", \"http/1.1\"]");
    Client::to(address).send(format!("{LINE}{GET}")).read_response().is(200, "yes");
    let preface = [LINE.as_bytes(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let head = [
        &[0x82, 0x86, 0x84, 0x41, 4][..], // GET, http, /
        b"shop",
    ]
    .concat();
    let frame = [&[0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1][..], &head].concat();
    let mut client = Client::to(address);
    client.send([preface, frame].concat());
    eventually("the backend has the request", || origin.requests().len() == 2);
    assert_eq!(client_at(&origin), "192.0.2.7");
}

#[test]
fn a_unix_socket_takes_headers_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    let origin = Origin::start(ok(""));
    let config = listener("required", "").replace("127.0.0.2:0", &format!("unix:{}", path.display()));
    let _forebay = Forebay::start(forward([&origin]).more(&config));
    Client::to_unix(&path).send(LINE).send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "192.0.2.7");
    Client::to_unix(&path).send("PROXY UNKNOWN\r\n").send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "127.0.0.1");
    assert_eq!(Client::to_unix(&path).try_send(GET).read_to_end().0, b"");
}

#[test]
fn a_reload_changes_what_new_connections_begin_with() {
    let gate = Gate::new();
    let origin = Origin::start(script().wait(&gate).then(ok("")));
    let config = |mode| forward([&origin]).more(&listener(mode, ""));
    let (forebay, address) = start(forward([&origin]), "required", "");
    let mut old = Client::to(address);
    old.send(LINE).send(GET);
    eventually("the backend has the request", || origin.held() == 1);
    assert!(forebay.reload_told(config("optional")).0.contains("listeners changed: 127.0.0.2:0"));
    gate.open();
    old.read_response().is_status(200);
    Client::to(address).send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "127.0.0.1");
    old.send(GET).read_response().is_status(200);
    assert_eq!(client_at(&origin), "192.0.2.7");
}

#[test]
fn a_header_that_has_begun_before_a_drain_is_still_read() {
    let (forebay, address) = start(routes("[[route]]\nrespond = {}\n"), "required", "");
    let mut client = Client::to(address);
    client.send("PROXY ");
    forebay.eventually("it is accepted", |gauges| gauges.connections == 1);
    forebay.drain();
    client.send("UNKNOWN\r\n").send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is_status(200);
    forebay.wait();
}
