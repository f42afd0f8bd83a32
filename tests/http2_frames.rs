//! HTTP/2 at the level of frames: malformed frames, floods, and time-outs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use testbed::{Authority, Config, DEADLINE, Forebay, Origin, forward, hang, ok};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")];

fn start(config: Config) -> (Forebay, SocketAddr) {
    let forebay = Forebay::start(config.more("[[listener]]\naddress = \"127.0.0.2:0\"\nprotocols = [\"h2\"]\n"));
    let address = forebay.addresses()[1];
    (forebay, address)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without indexing (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Status(u8),
    Reset(u32),
    Goaway(u32),
    Closed,
}

struct Raw(TcpStream);

impl Raw {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Self(stream);
        client.send(PREFACE).send(&frame(SETTINGS, 0, 0, &[]));
        client
    }

    fn send(&mut self, bytes: &[u8]) -> &mut Self {
        // The server may have closed the connection already.
        let _refused = self.0.write_all(bytes);
        self
    }

    /// The next frame: kind, stream, payload. `None`: the connection has ended.
    fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some((header[3], u32::from_be_bytes([header[5], header[6], header[7], header[8]]), payload))
    }

    /// The outcome of a stream. Its status must have an entry in the static table (RFC 7541, appendix A).
    fn outcome(&mut self, stream: u32) -> Outcome {
        let code = |payload: &[u8]| u32::from_be_bytes(payload[payload.len() - 4..].try_into().unwrap());
        loop {
            match self.frame() {
                None => return Outcome::Closed,
                Some((HEADERS, of, payload)) if of == stream => return Outcome::Status(payload[0]),
                Some((RST_STREAM, of, payload)) if of == stream => return Outcome::Reset(code(&payload)),
                Some((GOAWAY, _, payload)) => match u32::from_be_bytes(payload[4..8].try_into().unwrap()) {
                    0 => {}
                    code => return Outcome::Goaway(code),
                },
                Some(_) => {}
            }
        }
    }
}

/// 200 and 400 in the static table.
const OK: Outcome = Outcome::Status(0x88);
const BAD: Outcome = Outcome::Status(0x8c);

#[test]
fn malformed_heads_cost_their_stream_only() {
    let origin = Origin::start(ok("served"));
    let (_forebay, address) = start(forward([&origin]));
    let without = |name: &str| GET.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| [GET.as_slice(), &[(name, value)]].concat();
    let changed = |name: &str, value: &'static str| {
        GET.map(|(known, old)| if known == name { (known, value) } else { (known, old) }).to_vec()
    };
    let malformed = [
        without(":method"),
        without(":scheme"),
        without(":path"),
        with(":path", "/twice"),
        with(":status", "200"),
        with(":unknown", "1"),
        with("X-Upper", "1"),
        with("connection", "close"),
        with("keep-alive", "1"),
        with("proxy-connection", "keep-alive"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "h2c"),
        with("te", "gzip"),
        with("x", "a\r\nb"),
        with("x", "a\0b"),
        with("x y", "1"),
        with("", "1"),
        with("content-length", "5"),
        changed(":path", ""),
        changed(":path", "no-slash"),
        changed(":path", "/a b"),
        changed(":path", "*"),
        changed(":authority", "h/x"),
        changed(":authority", "user@h"),
        changed(":scheme", "ftp"),
        changed(":method", "G T"),
        with("host", "other"),
        with("x", " a"),
        [[("x", "1")].as_slice(), &GET].concat(),
        without(":authority"),
        [without(":authority").as_slice(), &[("host", "a"), ("host", "b")]].concat(),
    ];
    for fields in malformed {
        let mut client = Raw::to(address);
        client.send(&frame(HEADERS, WHOLE, 1, &block(&fields)));
        let outcome = client.outcome(1);
        assert!(
            matches!(outcome, Outcome::Reset(PROTOCOL_ERROR) | Outcome::Status(0x8c))
                || outcome == Outcome::Goaway(PROTOCOL_ERROR),
            "{fields:?}: {outcome:?}"
        );
    }
    assert_eq!(origin.seen(), 0);
    let mut client = Raw::to(address);
    client.send(&frame(HEADERS, WHOLE, 1, &block(&with("host", "other"))));
    assert_eq!(client.outcome(1), BAD);
    client.send(&frame(HEADERS, WHOLE, 3, &block(&with("te", "trailers"))));
    assert_eq!(client.outcome(3), OK);
}

#[test]
fn a_body_of_another_length_than_is_declared_never_looks_whole() {
    let origin = Origin::start(testbed::script().read_body().then(ok("whole")));
    let (forebay, address) = start(forward([&origin]));
    for (length, body) in [("5", "abc"), ("2", "abc")] {
        let mut client = Raw::to(address);
        let fields = [[(":method", "POST")].as_slice(), &GET[1..], &[("content-length", length)]].concat();
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
        client.send(&frame(DATA, END_STREAM, 1, body.as_bytes()));
        assert_eq!(client.outcome(1), Outcome::Reset(PROTOCOL_ERROR), "{length}");
    }
    forebay.is_idle();
    assert!(origin.requests().iter().all(|request| request.body_end != testbed::BodyEnd::Complete));
}

#[test]
fn what_comes_too_often_ends_the_connection() {
    let origin = Origin::start(hang());
    let (forebay, address) = start(forward([&origin]).server("http2 = { resets_max = 50 }"));
    let reset = |index: u32| {
        let stream = 2 * index + 1;
        [frame(HEADERS, WHOLE, stream, &block(&GET)), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let floods: [(&str, Vec<u8>); 5] = [
        ("resets", (0..200).flat_map(reset).collect()),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(101)),
        ("settings", frame(SETTINGS, 0, 0, &[]).repeat(101)),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]).repeat(1_001)),
        ("unknown frames", frame(200, 0, 0, &[]).repeat(1_001)),
    ];
    for (what, frames) in floods {
        let mut client = Raw::to(address);
        client.send(&frames);
        let outcome = client.outcome(0x7fff);
        assert_eq!(outcome, Outcome::Goaway(ENHANCE_YOUR_CALM), "{what}");
        assert_eq!(client.frame(), None, "{what}");
    }
    let mut client = Raw::to(address);
    let open = frame(HEADERS, END_HEADERS, 1, &block(&GET));
    client.send(&open).send(&frame(DATA, 0, 1, &[]).repeat(2_000));
    assert!(matches!(client.outcome(0x7fff), Outcome::Goaway(_) | Outcome::Closed), "empty DATA");
    let mut client = Raw::to(address);
    client.send(&frame(HEADERS, 0, 1, &block(&GET))).send(&frame(CONTINUATION, 0, 1, &[]).repeat(200));
    assert!(matches!(client.outcome(0x7fff), Outcome::Goaway(_) | Outcome::Closed), "CONTINUATION");
    drop(client);
    forebay.is_idle();
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let origin = Origin::start(hang());
    let (forebay, address) = start(forward([&origin]).server("http2 = { streams_max = 2 }"));
    let mut client = Raw::to(address);
    for stream in [1, 3, 5] {
        client.send(&frame(HEADERS, WHOLE, stream, &block(&GET)));
    }
    assert_eq!(client.outcome(5), Outcome::Reset(7));
    drop(client);
    forebay.is_idle();
}

#[test]
fn a_client_that_is_slow_with_its_head_is_not_waited_for() {
    let origin = Origin::start(hang());
    let (forebay, address) = start(forward([&origin]).server("header_timeout = \"300ms\""));
    // No request, half of a head beside a request, nothing at all, half of the preface.
    let mut silent = Raw::to(address);
    let mut half = Raw::to(address);
    half.send(&frame(HEADERS, WHOLE, 1, &block(&GET))).send(&frame(HEADERS, 0, 3, &block(&GET)));
    let mut nothing = TcpStream::connect(address).unwrap();
    let mut part = TcpStream::connect(address).unwrap();
    part.write_all(&PREFACE[..10]).unwrap();
    assert_eq!((silent.outcome(1), half.outcome(3)), (Outcome::Closed, Outcome::Closed));
    for client in [&mut nothing, &mut part] {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut rest = Vec::new();
        let _reset = client.read_to_end(&mut rest);
    }
    forebay.is_idle();
}

#[test]
fn connect_is_not_offered() {
    let origin = Origin::start(ok(""));
    let (_forebay, address) = start(forward([&origin]));
    let mut client = Raw::to(address);
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&[(":method", "CONNECT"), (":authority", "h:80")])));
    let outcome = client.outcome(1);
    assert!(matches!(outcome, Outcome::Status(0x48 | 0x5f) | Outcome::Reset(_)), "{outcome:?}");
    let extended = [[(":method", "CONNECT"), (":protocol", "websocket")].as_slice(), &GET[1..]].concat();
    client.send(&frame(HEADERS, END_HEADERS, 3, &block(&extended)));
    assert!(matches!(client.outcome(3), Outcome::Reset(PROTOCOL_ERROR) | Outcome::Goaway(PROTOCOL_ERROR)));
    assert_eq!(origin.seen(), 0);
}

#[test]
fn over_tls_the_protocol_is_chosen_by_alpn() {
    let (folder, authority, origin) = (tempfile::tempdir().unwrap(), Authority::new("ca"), Origin::start(ok("served")));
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let tls = |protocols: &str| {
        let certificates = format!("[{{ cert = \"{}\", key = \"{}\" }}]", cert.display(), key.display());
        format!("[[listener]]\naddress = \"127.0.0.2:0\"\n{protocols}[listener.tls]\ncertificates = {certificates}\n")
    };
    for (protocols, offered, chosen) in [
        ("", ["h2", "http/1.1"].as_slice(), Some("h2")),
        ("", &["http/1.1", "h2"], Some("h2")),
        ("", &["http/1.1"], Some("http/1.1")),
        ("", &[], None),
        ("protocols = [\"http/1.1\", \"h2\"]\n", &["h2", "http/1.1"], Some("http/1.1")),
        ("protocols = [\"http/1.1\"]\n", &["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let forebay = Forebay::start(forward([&origin]).more(&tls(protocols)));
        let speaker = authority.client("a.test");
        let mut config = (*speaker.config()).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = speaker.connect_with(&std::sync::Arc::new(config), forebay.addresses()[1]).unwrap();
        let alpn = client.tls().alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(alpn.as_deref(), chosen, "{protocols} {offered:?}");
        if chosen == Some("h2") {
            let secure: Vec<_> =
                GET.iter().map(|(name, value)| (*name, if *name == ":authority" { "a.test" } else { value })).collect();
            client.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, WHOLE, 1, &block(&secure))].concat());
            client.read_until("served");
            assert_eq!(origin.last().head.fields("x-forwarded-proto"), ["https"]);
        } else {
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").read_response().is(200, "served");
        }
        drop(client);
        forebay.is_idle();
    }
}
