//! Settings of TLS towards clients: tickets of several nodes, cipher suites, key exchanges, HSTS, and what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;

use rustls::{CipherSuite, HandshakeKind, NamedGroup};
use testbed::{Authority, Client, Config, Forebay, Origin, Pair, answer, eventually, forward, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const SECRET: &str = "ticket_secret = \"0123456789abcdef0123456789abcdef\"";

/// An authority, a certificate of it, and a place for files.
struct Ground {
    folder: tempfile::TempDir,
    authority: Authority,
    pair: Pair,
}

impl Ground {
    fn new() -> Self {
        let authority = Authority::new("ca");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { pair: authority.issue(&["a.test"]), folder, authority }
    }

    /// A proxy that has this and a TLS listener with these keys, and the listener's address.
    fn start(&self, config: Config, keys: &str) -> (Forebay, SocketAddr) {
        let (cert, key) = self.pair.write(self.folder.path(), "a");
        let forebay = Forebay::start(config.more(&format!(
            "[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n{keys}\n",
            cert.display(),
            key.display()
        )));
        let address = forebay.addresses()[1];
        (forebay, address)
    }

    fn client_auth(&self, word: &str) -> String {
        format!("client_auth = \"{word}\"\nclient_ca = \"{}\"", self.folder.path().join("ca.pem").display())
    }
}

/// How the second of two connections begins, one to each address.
fn second(ground: &Ground, old: bool, addresses: [SocketAddr; 2]) -> Option<HandshakeKind> {
    let speaker = ground.authority.client("a.test").with(&ground.pair);
    let speaker = if old { speaker.only_1_2() } else { speaker };
    let config = speaker.config();
    let kinds = addresses.map(|address| {
        let mut client = speaker.connect_with(&config, address).unwrap();
        client.send(GET).read_response().is_status(200);
        client.tls().handshake_kind()
    });
    kinds[1]
}

#[test]
fn nodes_with_one_secret_resume_each_others_sessions() {
    let (ground, origin) = (Ground::new(), Origin::start(ok("")));
    let start = |keys: &str| ground.start(forward([&origin]), keys);
    let nodes = [start(SECRET), start(SECRET)];
    let other = start(&SECRET.replace('0', "x"));
    let own = start("");
    for old in [false, true] {
        let begins = |one: &(Forebay, SocketAddr), two: &(Forebay, SocketAddr)| second(&ground, old, [one.1, two.1]);
        assert_eq!(begins(&nodes[0], &nodes[1]), Some(HandshakeKind::Resumed));
        assert_eq!(begins(&nodes[1], &nodes[1]), Some(HandshakeKind::Resumed));
        assert_ne!(begins(&nodes[0], &other), Some(HandshakeKind::Resumed));
        assert_ne!(begins(&nodes[0], &own), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_session_of_a_listener_that_verifies_clients_otherwise_is_not_resumed() {
    let (ground, origin) = (Ground::new(), Origin::start(ok("")));
    let start = |keys: &str| ground.start(forward([&origin]), &format!("{SECRET}\n{keys}"));
    let (open, required) = (start(""), start(&ground.client_auth("required")));
    let (same, optional) = (start(&ground.client_auth("required")), start(&ground.client_auth("optional")));
    for old in [false, true] {
        let begins = |one: &(Forebay, SocketAddr), two: &(Forebay, SocketAddr)| second(&ground, old, [one.1, two.1]);
        assert_ne!(begins(&open, &required), Some(HandshakeKind::Resumed));
        assert_ne!(begins(&optional, &required), Some(HandshakeKind::Resumed));
        assert_eq!(begins(&required, &same), Some(HandshakeKind::Resumed));
        assert_eq!(
            origin.last().head.fields("x-client-cert-subject"),
            ["CN=a.test"],
            "a resumed client is still known"
        );
    }
    // A client that has a session, but no certificate, is not let in.
    let without = ground.authority.client("a.test");
    let config = without.config();
    without.connect_with(&config, open.1).unwrap().send(GET).read_response().is_status(200);
    let refused = without.connect_with(&config, required.1);
    assert!(refused.is_err() || refused.unwrap().try_send(GET).read_to_end().0.is_empty());
}

#[test]
fn only_the_named_cipher_suites_and_key_exchanges_are_used() {
    let (ground, origin) = (Ground::new(), Origin::start(ok("")));
    let keys = "cipher_suites = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\"]\n\
                key_exchanges = [\"secp384r1\"]";
    let (_forebay, address) = ground.start(forward([&origin]), keys);
    for (old, suite) in [
        (false, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (true, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ] {
        let speaker = ground.authority.client("a.test");
        let mut client = if old { speaker.only_1_2() } else { speaker }.connect(address).unwrap();
        client.send(GET).read_response().is_status(200);
        assert_eq!(client.tls().negotiated_cipher_suite().map(|found| found.suite()), Some(suite));
        let group = client.tls().negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(NamedGroup::secp384r1));
    }
    let (_forebay, address) = ground.start(forward([&origin]), "cipher_suites = [\"TLS_AES_128_GCM_SHA256\"]");
    assert!(ground.authority.client("a.test").only_1_2().connect(address).is_err());
    let client = ground.authority.client("a.test").connect(address).unwrap();
    let group = client.tls().negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768), "the default resists quantum computers");
}

#[test]
fn responses_over_tls_have_hsts_once() {
    let ground = Ground::new();
    let origin = Origin::start(answer(200, &[("Strict-Transport-Security", "max-age=1")], ""));
    let config = forward([&origin])
        .route("set_response_headers = { alt-svc = 'h3=\":443\"' }")
        .more("[[route]]\npath = \"/r\"\nredirect = { to = \"/x\" }\n");
    let (forebay, address) = ground.start(config, "hsts = \"max-age=31536000; includeSubDomains\"");
    let mut client = ground.authority.client("a.test").connect(address).unwrap();
    for (request, status) in [
        (GET, 200),
        ("GET /r HTTP/1.1\r\nHost: a.test\r\n\r\n", 308),
        ("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
    ] {
        let response = client.send(request).read_response();
        assert_eq!(response.head.fields("strict-transport-security"), ["max-age=31536000; includeSubDomains"]);
        assert_eq!(response.status, status);
    }
    // Without TLS there is none of ours (RFC 6797 §7.2).
    let plain = Client::to(forebay.address()).send(GET).read_response();
    assert_eq!(plain.head.fields("strict-transport-security"), ["max-age=1"]);
    assert_eq!(plain.head.fields("alt-svc"), ["h3=\":443\""]);
}

#[test]
fn handshakes_by_version_and_the_end_of_certificates_are_measured() {
    let (ground, origin) = (Ground::new(), Origin::start(ok("")));
    let (forebay, address) = ground.start(forward([&origin]).more("[admin]\nlisten = \"127.0.0.1:0\"\n"), "");
    let speaker = ground.authority.client("a.test");
    for speaker in [speaker.clone(), speaker.clone(), speaker.only_1_2()] {
        speaker.connect(address).unwrap().send(GET).read_response().is_status(200);
    }
    let page = || forebay.admin().send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().text();
    assert!(page().contains("forebay_tls_handshakes_total{version=\"1.2\"} 1\n"), "{}", page());
    assert!(page().contains("forebay_tls_handshakes_total{version=\"1.3\"} 2\n"));
    let path = ground.folder.path().join("a.pem");
    // The beginning of 2099.
    let line = format!(
        "forebay_certificate_expiry_timestamp_seconds{{listener=\"127.0.0.2:0\",certificate=\"{}\"}} 4070908800\n",
        path.display()
    );
    eventually("it is measured", || page().contains(&line));
}
