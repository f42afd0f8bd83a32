//! TLS towards clients: selection of certificates, forwarding fields, and the end of connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use testbed::{
    Authority, Client, Config, DEADLINE, Ending, Forebay, Gate, Origin, Pair, TlsClient, echo, eventually, forward,
    hang, ok, raw, routes, script, shown_certificate,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A listener with these certificates.
fn listener(folder: &Path, pairs: &[&Pair], keys: &str) -> String {
    let write = |(index, pair): (usize, &&Pair)| {
        let (cert, key) = pair.write(folder, &index.to_string());
        format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
    };
    let certificates: Vec<String> = pairs.iter().enumerate().map(write).collect();
    let certificates = certificates.join(", ");
    format!("[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\ncertificates = [{certificates}]\n{keys}\n")
}

/// A proxy in front of an origin, with a TLS listener for `a.test`.
struct Setup {
    forebay: Forebay,
    origin: Origin,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Setup {
    fn new(origin: Origin, shape: impl FnOnce(Config) -> Config) -> Self {
        Self::with_keys(origin, "", shape)
    }

    fn with_keys(origin: Origin, keys: &str, shape: impl FnOnce(Config) -> Config) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
        let listener = listener(folder.path(), &[&authority.issue(&["a.test"])], keys);
        let forebay = Forebay::start(shape(forward([&origin])).more(&listener));
        Self { forebay, origin, authority, _folder: folder }
    }

    fn address(&self) -> SocketAddr {
        self.forebay.addresses()[1]
    }

    fn speaker(&self) -> TlsClient {
        self.authority.client("a.test")
    }

    fn client(&self) -> Client {
        self.speaker().connect(self.address()).unwrap()
    }
}

fn plain(config: Config) -> Config {
    config
}

fn shown(client: &Client) -> Vec<u8> {
    client.tls().peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let (first, wild) = (authority.issue(&["a.test", "b.test"]), authority.issue(&["*.wild.test", "wild.test"]));
    let exact = authority.issue(&["exact.wild.test"]);
    let listener = listener(folder.path(), &[&first, &wild, &exact], "");
    let forebay = Forebay::start(routes("[[route]]\nrespond = { body = \"ok\" }\n").more(&listener));
    let address = forebay.addresses()[1];
    for (name, pair) in [
        ("a.test", &first),
        ("B.test", &first),
        ("x.wild.test", &wild),
        ("wild.test", &wild),
        ("exact.wild.test", &exact),
    ] {
        let mut client = authority.client(name).connect(address).unwrap();
        assert!(shown(&client) == pair.der, "{name}");
        assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}:443\r\n\r\n")).read_response().is(200, "ok");
    }
    let client = authority.client("a.test").without_sni().connect(address).unwrap();
    assert!(shown(&client) == first.der);
    let other = authority.client("other.test").connect(address);
    assert!(other.is_err_and(|error| error.to_string().contains("not valid for name")), "the default is shown");
}

#[test]
fn a_name_without_a_certificate_can_be_refused() {
    let setup = Setup::with_keys(Origin::start(ok("")), "unknown_sni = \"reject\"", plain);
    assert!(setup.authority.client("other.test").connect(setup.address()).is_err());
    assert!(setup.speaker().without_sni().connect(setup.address()).is_err());
    setup.client().send(GET).read_response().is_status(200);
}

#[test]
fn backends_learn_that_the_client_came_by_https() {
    let setup = Setup::new(Origin::start(ok("")), |config| config.cached("ttl = \"1h\""));
    setup.client().send("GET /?s HTTP/1.1\r\nHost: a.test:443\r\nX-Forwarded-Proto: http\r\n\r\n").read_response();
    let head = setup.origin.last().head;
    assert_eq!(head.fields("x-forwarded-proto"), ["https"]);
    assert_eq!((head.fields("host"), head.fields("x-forwarded-host")), (vec!["a.test"], vec!["a.test"]));
    assert_eq!(head.fields("forwarded"), ["for=127.0.0.1;proto=https"]);
    // The scheme is part of the cache key; the listener is not.
    let get = "GET /?s HTTP/1.1\r\nHost: a.test\r\n\r\n";
    setup.client().send(get).read_response().is_hit();
    Client::to(setup.forebay.address()).send(get).read_response().is_stored();
    assert_eq!(setup.origin.seen(), 2);
}

#[test]
fn redirects_and_the_log_know_the_scheme() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let listener = listener(folder.path(), &[&authority.issue(&["a.test"])], "");
    let redirect = "[[route]]\nredirect = { to = \"{scheme}://{host}/b\" }\n";
    let log = folder.path().join("access");
    let keys = format!("access_to = \"file:{}\"\naccess_format = '$scheme $status'", log.display());
    let forebay = Forebay::start(routes(redirect).log(&keys).more(&listener));
    let mut client = authority.client("a.test").connect(forebay.addresses()[1]).unwrap();
    assert_eq!(client.send(GET).read_response().field("location"), Some("https://a.test/b"));
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nno field\r\n\r\n").read_response().is_status(400);
    Client::to(forebay.address()).send(GET).read_response().is_status(308);
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("three lines are there", || read().lines().count() == 3);
    assert_eq!(read(), "https 308\nhttps 400\nhttp 308\n");
}

#[test]
fn requests_follow_one_another_and_are_pipelined() {
    let setup = Setup::new(Origin::start(ok("same")), plain);
    let mut client = setup.client();
    for _ in 0..3 {
        assert_eq!(client.send(GET).read_response().is(200, "same").ending, Ending::Kept);
    }
    client.send(GET.repeat(5));
    for _ in 0..5 {
        client.read_response().is(200, "same");
    }
    assert_eq!(setup.origin.accepted(), 1);
}

#[test]
fn large_bodies_pass_both_ways() {
    let setup = Setup::new(Origin::start(echo()), |config| config.server("body_bytes_max = \"64MiB\""));
    let body = "0123456789abcdef".repeat(300_000);
    let mut client = setup.client();
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}");
    assert!(client.send(request).read_response().is_status(200).text().ends_with(&body));
    let chunk = body.get(..1_000_000).unwrap();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len()));
    client.read_response().is_status(200);
    assert_eq!(setup.origin.last().body.len(), chunk.len());
    let large = Setup::new(Origin::start(ok(&body)), plain);
    let mut client = large.client();
    client.send(GET).read_response().is(200, &body);
    client.send(GET).read_response().is(200, &body);
}

#[test]
fn a_host_with_another_certificate_is_misdirected() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let pairs = [authority.issue(&["a.test", "b.test"]), authority.issue(&["c.test"])];
    let listener = listener(folder.path(), &[&pairs[0], &pairs[1]], "");
    let forebay = Forebay::start(routes("[[route]]\nrespond = { body = \"ok\" }\n").more(&listener));
    let ask = |server_name: &str, host: &str| {
        let mut client = authority.client(server_name).connect(forebay.addresses()[1]).unwrap();
        let status = client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).read_response().status;
        // The connection can still be used for its own name.
        client.send(format!("GET / HTTP/1.1\r\nHost: {server_name}\r\n\r\n")).read_response().is(200, "ok");
        status
    };
    for (server_name, host, status) in [
        ("a.test", "A.test", 200),
        ("a.test", "b.test", 200),
        ("a.test", "c.test", 421),
        ("c.test", "a.test", 421),
        ("c.test", "unknown.test", 421),
        ("a.test", "unknown.test", 200),
    ] {
        assert_eq!(ask(server_name, host), status, "{host} by {server_name}");
    }
}

#[test]
fn the_lowest_version_is_what_the_listener_says() {
    let setup = Setup::new(Origin::start(ok("")), plain);
    let mut old = setup.speaker().only_1_2().connect(setup.address()).unwrap();
    assert_eq!(old.tls().protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    old.send(GET).read_response().is_status(200);
    assert_eq!(setup.client().tls().protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let strict = Setup::with_keys(Origin::start(ok("")), "min_version = \"1.3\"", plain);
    assert!(strict.speaker().only_1_2().connect(strict.address()).is_err());
    strict.client().send(GET).read_response().is_status(200);
}

#[test]
fn sessions_are_resumed_and_counted() {
    for old in [false, true] {
        let setup = Setup::new(Origin::start(ok("")), plain);
        let speaker = if old { setup.speaker().only_1_2() } else { setup.speaker() };
        let config = speaker.config();
        let kinds = [(); 2].map(|()| {
            let mut client = speaker.connect_with(&config, setup.address()).unwrap();
            client.send(GET).read_response().is_status(200);
            client.tls().handshake_kind()
        });
        assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{kinds:?}");
        let sum = |read: fn(&forebay::telemetry::counters::Counters) -> u64| -> u64 {
            setup.forebay.counters().iter().map(|counters| read(counters)).sum()
        };
        assert_eq!(sum(|counters| counters.tls_handshakes.get()), 2);
        assert_eq!(
            (sum(|counters| counters.tls_resumptions.get()), sum(|counters| counters.tls_failures.get())),
            (1, 0)
        );
    }
}

#[test]
fn a_handshake_that_does_not_come_to_an_end_is_given_up() {
    let setup = Setup::with_keys(Origin::start(ok("")), "handshake_timeout = \"100ms\"", plain);
    let mut silent = TcpStream::connect(setup.address()).unwrap();
    let mut half = TcpStream::connect(setup.address()).unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    for socket in [&mut silent, &mut half] {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(matches!(socket.read(&mut [0; 8]), Ok(0) | Err(_)), "it is closed");
    }
    let mut http = TcpStream::connect(setup.address()).unwrap();
    http.write_all(GET.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _reset = http.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "only TLS is spoken here");
    setup.client().send(GET).read_response().is_status(200);
    setup.forebay.is_idle();
}

#[test]
fn slow_handshakes_make_room_for_others() {
    let setup = Setup::with_keys(Origin::start(ok("")), "handshakes_max = 4", plain);
    let mut flood: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(setup.address()).unwrap()).collect();
    setup.forebay.eventually("only so many are under way", |gauges| gauges.connections <= 4);
    for _ in 0..4 {
        setup.client().send(GET).read_response().is_status(200);
    }
    // A finished handshake no longer counts.
    let mut kept: Vec<Client> = (0..8).map(|_| setup.client()).collect();
    for client in &mut kept {
        client.send(GET).read_response().is_status(200);
    }
    flood.clear();
}

#[test]
fn a_tunnel_passes_through_tls_and_ends_with_it() {
    const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let setup = Setup::new(Origin::start(raw(SWITCH).tunnel()), plain);
    let mut client = setup.client();
    client.send(format!("{ASK}early")).read_response().is_status(101);
    assert_eq!(client.read_until("early"), "early");
    let long = "x".repeat(200_000) + "end";
    assert_eq!(client.send(&long).read_until("end"), long);
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), true), "the other end is announced, too");
    drop(client);
    eventually("the backend's side is closed", || setup.origin.open() == 0);
    setup.forebay.is_idle();
}

#[test]
fn the_end_of_a_connection_is_announced_where_it_is_meant() {
    let setup = Setup::new(Origin::start(ok("last")), |config| config.server("idle_timeout = \"100ms\""));
    let mut idle = setup.client();
    idle.send(GET).read_response().is(200, "last");
    assert_eq!(idle.read_to_end(), (Vec::new(), true));
    let mut closing = setup.client();
    closing.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    let (bytes, is_announced) = closing.read_to_end();
    assert!(bytes.ends_with(b"last") && is_announced);
    let mut refused = setup.client();
    let (bytes, is_announced) = refused.send("nonsense\r\n\r\n").read_to_end();
    assert!(bytes.starts_with(b"HTTP/1.1 400 ") && is_announced);
}

#[test]
fn the_end_of_a_response_that_is_cut_short_is_not_announced() {
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked", "X-Until: close"] {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n");
        let setup = Setup::new(Origin::start(raw(head).reset()), plain);
        for version in ["1.1", "1.0"] {
            let mut client = setup.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n"));
            let (bytes, is_announced) = client.read_to_end();
            let is_whole = bytes.starts_with(b"HTTP/1.1 200 ") && is_announced;
            assert!(!is_whole, "{framing} {version} {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_body_has_its_request_given_up() {
    for announces in [true, false] {
        let setup = Setup::new(Origin::start(script().read_body().then(ok("whole"))), plain);
        let mut client = setup.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf!");
        eventually("the backend has the request", || setup.origin.open() == 1);
        if announces {
            client.half_close()
        } else {
            client.cut()
        };
        eventually("the backend's connection is closed", || setup.origin.open() == 0);
        assert_eq!(setup.origin.count_whole("POST /"), 0);
        setup.forebay.is_idle();
    }
}

#[test]
fn a_client_that_sends_no_more_is_answered_if_so_configured() {
    let setup = Setup::new(Origin::start(ok("answer")), |config| config.server("half_close = \"answer\""));
    let mut client = setup.client();
    client.send(GET).half_close();
    assert_eq!(client.read_response().is(200, "answer").ending, Ending::Kept);
    let setup = Setup::new(Origin::start(hang()), plain);
    let mut client = setup.client();
    client.send(GET);
    eventually("the backend has the request", || setup.origin.held() == 1);
    client.half_close();
    eventually("it is given up", || setup.origin.held() == 0);
}

#[test]
fn a_client_that_reads_slowly_is_served_and_one_that_does_not_read_is_not() {
    let body = "0123456789abcdef".repeat(500_000);
    let setup = Setup::new(Origin::start(ok(&body)), |config| config.server("write_timeout = \"300ms\""));
    let mut slow = setup.client();
    slow.send(GET);
    let mut got = 0;
    while got < body.len() {
        got += slow.read_some().len();
    }
    let mut stuck = setup.client();
    stuck.send(GET).read_until("\r\n\r\n");
    eventually("the connection is given up", || setup.forebay.gauges().in_flight == 0);
    drop(slow);
    eventually("both are gone", || setup.forebay.gauges().connections == 0);
    let (_, is_announced) = stuck.read_to_end();
    assert!(!is_announced);
}

#[test]
fn a_drain_finishes_what_runs_and_announces_the_end() {
    let gate = Gate::new();
    let setup = Setup::new(Origin::start(script().wait(&gate).then(ok("done"))), plain);
    let (mut busy, mut idle) = (setup.client(), setup.client());
    busy.send(GET);
    eventually("the backend has the request", || setup.origin.held() == 1);
    setup.forebay.drain();
    assert_eq!(idle.read_to_end(), (Vec::new(), true));
    gate.open();
    let (bytes, is_announced) = busy.read_to_end();
    assert!(bytes.ends_with(b"done") && is_announced);
}

#[test]
fn a_self_signed_certificate_stays_the_same_until_its_names_change() {
    let origin = Origin::start(echo());
    let config = |names: &str| {
        let listener = format!("[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\nself_signed = [{names}]\n");
        forward([&origin]).more(&listener)
    };
    let forebay = Forebay::start(config("\"localhost\", \"127.0.0.2\""));
    let show = |name: &str| shown_certificate(forebay.addresses()[1], name, &["h2", "http/1.1"]).unwrap();
    let first = show("localhost");
    assert_eq!(show("127.0.0.2"), first);
    let has = |certificate: &[u8], name: &str| certificate.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has(&first, "localhost") && !has(&first, "a.test"));
    forebay.reload(config("\"localhost\", \"127.0.0.2\""));
    assert_eq!(show("localhost"), first);
    forebay.reload(config("\"a.test\""));
    assert!(has(&show("localhost"), "a.test"));
}
