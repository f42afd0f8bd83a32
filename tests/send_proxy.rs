//! The PROXY protocol to backends: what a connection begins with, whose requests it carries, when it closes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use policy::proxy_protocol::{Header, Progress, parse};
use testbed::{Authority, Client, Config, Forebay, Origin, eventually, ok, routes};

const GET: &str = "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// What a backend has seen of a connection.
#[derive(Clone, Debug, Default)]
struct Seen {
    bytes: Vec<u8>,
    header: Option<Header>,
    requests: usize,
    is_closed: bool,
}

/// A backend that wants a PROXY header on each connection, and answers every request.
struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Backend {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Seen>>>::default());
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                let place = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(Seen::default());
                    seen.len() - 1
                };
                std::thread::spawn(move || {
                    serve(stream, |look| look(&mut seen.lock().unwrap()[place]));
                    seen.lock().unwrap()[place].is_closed = true;
                });
            }
        });
        Self { address, seen: kept }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A proxy with one route to it.
    fn config(&self, keys: &str) -> Config {
        routes(&format!(
            "[[upstream]]\nname = \"b\"\nbackends = [\"http://{}\"]\n{keys}\n[[route]]\nupstream = \"b\"\n",
            self.address
        ))
    }
}

fn serve(mut stream: TcpStream, note: impl Fn(&mut dyn FnMut(&mut Seen))) {
    let (mut piece, mut bytes) = ([0; 4096], Vec::new());
    let mut has_header = false;
    while let Ok(length) = stream.read(&mut piece)
        && length > 0
    {
        bytes.extend_from_slice(&piece[..length]);
        if !has_header && let Ok(Progress::Complete(header, length)) = parse(&bytes) {
            has_header = true;
            let read: Vec<u8> = bytes.drain(..length).collect();
            note(&mut |seen| (seen.bytes, seen.header) = (read.clone(), Some(header.clone())));
        }
        while has_header && let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            note(&mut |seen| seen.requests += 1);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    }
}

fn source(seen: &Seen) -> Option<String> {
    seen.header.as_ref()?.addresses.map(|ends| ends.source.ip().to_string())
}

#[test]
fn a_connection_begins_with_its_clients_address_and_carries_its_requests_only() {
    let backend = Backend::start();
    let forebay = Forebay::start(backend.config("send_proxy = \"v1\""));
    let mut clients = [[127, 0, 0, 7], [127, 0, 0, 8]].map(|from| Client::from(from, forebay.address()));
    for _ in 0..3 {
        for client in &mut clients {
            client.send(GET).read_response().is(200, "ok");
        }
    }
    let seen = backend.seen();
    assert_eq!(seen.iter().map(|one| one.requests).collect::<Vec<_>>(), [3, 3]);
    assert_eq!([source(&seen[0]), source(&seen[1])], [Some("127.0.0.7".to_owned()), Some("127.0.0.8".to_owned())]);
    let line = String::from_utf8(seen[0].bytes.clone()).unwrap();
    assert!(line.starts_with("PROXY TCP4 127.0.0.7 127.0.0.1 "), "{line}");
    assert!(line.ends_with(&format!(" {}\r\n", forebay.address().port())), "{line}");
    let [first, second] = clients;
    drop(first);
    eventually("its connection closes with it", || backend.seen()[0].is_closed);
    assert!(!backend.seen()[1].is_closed);
    drop(second);
    eventually("the other, too", || backend.seen()[1].is_closed);
    assert_eq!(backend.seen().len(), 2);
    forebay.eventually("none is open", |gauges| gauges.backend_connections == 0);
}

#[test]
fn a_client_that_the_proxy_does_not_wait_for_leaves_nothing_to_others() {
    let backend = Backend::start();
    let forebay = Forebay::start(backend.config("send_proxy = \"v2\""));
    for number in 1..=5 {
        let close = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        Client::from([127, 0, 0, number], forebay.address()).send(close).read_response().is(200, "ok");
    }
    let sources: Vec<_> = backend.seen().iter().filter_map(source).collect();
    assert_eq!(sources, ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]);
    eventually("all are closed", || backend.seen().iter().all(|one| one.is_closed));
}

#[test]
fn version_2_tells_of_tls_and_the_server_name() {
    let (folder, authority, backend) = (tempfile::tempdir().unwrap(), Authority::new("ca"), Backend::start());
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let listener = format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
        cert.display(),
        key.display()
    );
    let forebay = Forebay::start(backend.config("send_proxy = \"v2\"").more(&listener));
    let mut client = authority.client("a.test").connect(forebay.addresses()[1]).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").read_response().is(200, "ok");
    let seen = &backend.seen()[0];
    let header = seen.header.clone().unwrap();
    assert_eq!((header.is_secure, header.authority.as_deref()), (true, Some("a.test")));
    assert!(seen.bytes.windows(7).any(|window| window == b"TLSv1.3"));
    assert_eq!(source(seen), Some("127.0.0.1".to_owned()));
}

#[test]
fn what_the_proxy_asks_for_itself_names_no_client() {
    for (version, begins) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")] {
        let (backend, checked) = (Backend::start(), Backend::start());
        let health = "[upstream.health]\npath = \"/h\"\ninterval = \"50ms\"";
        let config = backend.config(&format!("send_proxy = \"{version}\"")).more(&format!(
            "[[upstream]]\nname = \"c\"\nbackends = [\"http://{}\"]\nsend_proxy = \"{version}\"\n{health}\n\
             [[route]]\npath = \"/c\"\nupstream = \"c\"\n[[route]]\npath = \"/m\"\nupstream = \"c\"\n\
             mirror = {{ upstream = \"b\", percent = 100 }}\n",
            checked.address
        ));
        let forebay = Forebay::start(config);
        eventually("checks are made", || checked.seen().iter().filter(|one| one.requests > 0).count() >= 2);
        assert_eq!(checked.seen()[0].bytes, begins);
        let mut client = Client::from([127, 0, 0, 9], forebay.address());
        client.send("GET /m HTTP/1.1\r\nHost: h\r\n\r\n").read_response().is(200, "ok");
        eventually("the copy is made", || backend.seen().iter().any(|one| one.requests == 1));
        assert_eq!(backend.seen()[0].bytes, begins);
        // A request of a client takes none of these connections.
        client.send(GET).read_response().is(200, "ok");
        let own = backend.seen().into_iter().find(|one| source(one) == Some("127.0.0.9".to_owned()));
        assert_eq!(own.map(|one| one.requests), Some(1));
    }
}

#[test]
fn the_header_goes_out_before_tls_and_hands_on_what_came_by_it() {
    let (folder, authority, origin) = (tempfile::tempdir().unwrap(), Authority::new("ca"), Origin::start(ok("yes")));
    let (cert, key) = authority.issue(&["b.test"]).write(folder.path(), "b");
    let inner = Forebay::start(testbed::forward([&origin]).more(&format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\nproxy_protocol = \"required\"\nproxy_protocol_from = [\"127.0.0.1\"]\n\
         [listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
        cert.display(),
        key.display()
    )));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    for version in ["v1", "v2"] {
        let outer = Forebay::start(routes(&format!(
            "[[upstream]]\nname = \"b\"\nbackends = [\"https://{}\"]\nsend_proxy = \"{version}\"\n\
             [upstream.tls]\nca = \"{}\"\nserver_name = \"b.test\"\n[[route]]\nupstream = \"b\"\n\
             [[listener]]\naddress = \"127.0.0.3:0\"\nproxy_protocol = \"required\"\nproxy_protocol_from = [\"127.0.0.1\"]\n",
            inner.addresses()[1],
            ca.display()
        )));
        let mut client = Client::to(outer.addresses()[1]);
        client.send("PROXY TCP6 2001:db8::9 2001:db8::1 1000 443\r\n");
        let get = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
        for _ in 0..2 {
            client.send(get).read_response().is(200, "yes");
            assert_eq!(origin.last().head.fields("x-forwarded-for"), ["2001:db8::9"]);
        }
    }
}

#[test]
fn a_reload_that_adds_the_header_uses_no_connection_without_one() {
    let backend = Backend::start();
    let forebay = Forebay::start(backend.config("send_proxy = \"v1\""));
    let mut client = forebay.client();
    client.send(GET).read_response().is(200, "ok");
    forebay.reload_told(backend.config("send_proxy = \"v2\""));
    eventually("the new version is sent", || {
        client.send(GET).read_response().is(200, "ok");
        backend.seen().last().is_some_and(|last| last.bytes.starts_with(b"\r\n"))
    });
    eventually("the old connection is closed", || backend.seen()[0].is_closed);
}
