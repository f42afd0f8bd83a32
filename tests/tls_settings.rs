//! Settings of TLS towards clients: tickets of several nodes, cipher suites, key exchanges, HSTS, and what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme,
};
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
fn stored_responses_over_tls_have_hsts_once() {
    let ground = Ground::new();
    let fields = [("Strict-Transport-Security", "max-age=1"), ("Cache-Control", "max-age=600")];
    let origin = Origin::start(answer(200, &fields, "kept"));
    let config = forward([&origin]).cached("");
    let (_forebay, address) = ground.start(config, "hsts = \"max-age=31536000\"");
    let mut client = ground.authority.client("a.test").connect(address).unwrap();
    for _ in 0..3 {
        let response = client.send(GET).read_response();
        assert_eq!(response.is(200, "kept").head.fields("strict-transport-security"), ["max-age=31536000"]);
    }
    assert_eq!(origin.count("GET /"), 1);
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

/// A client that notes the OCSP response that it gets.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<u8>>);

impl ServerCertVerifier for Noted {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The OCSP response that a client gets.
fn stapled(address: SocketAddr) -> Vec<u8> {
    let noted = Arc::new(Noted::default());
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&noted) as _)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from("a.test").unwrap()).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(testbed::DEADLINE)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    noted.0.lock().unwrap().clone()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

/// An OCSP response without a signature, good until the beginning of a year.
fn response(serial: &[u8], year: u32) -> Vec<u8> {
    let when = |year: u32| der(0x18, format!("{year}0101000000Z").as_bytes());
    let identity = [der(0x30, &[]), der(4, b"n"), der(4, b"k"), der(2, serial)].concat();
    let single = [der(0x30, &identity), vec![0x80, 0], when(2001), der(0xA0, &when(year))].concat();
    let data = [der(0xA2, b"r"), when(2001), der(0x30, &der(0x30, &single))].concat();
    let basic = der(0x30, &[der(0x30, &data), der(0x30, &[])].concat());
    let kind = [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    der(0x30, &[der(0x0A, &[0]), der(0xA0, &der(0x30, &[der(6, &kind), der(4, &basic)].concat()))].concat())
}

#[test]
fn the_ocsp_response_beside_a_certificate_goes_to_clients() {
    let (ground, origin) = (Ground::new(), Origin::start(ok("")));
    let (_forebay, address) = ground.start(forward([&origin]), "");
    assert_eq!(stapled(address), b"");
    let certificate = policy::certificate::x509::read(&ground.pair.der).unwrap();
    let file = ground.folder.path().join("a.pem.ocsp");
    let put = |bytes: &[u8]| {
        let fresh = file.with_extension("fresh");
        std::fs::write(&fresh, bytes).unwrap();
        std::fs::rename(&fresh, &file).unwrap();
    };
    let good = response(certificate.serial, 2099);
    put(&good);
    eventually("it is sent", || stapled(address) == good);
    for bad in [response(certificate.serial, 2002), response(&[9, 9], 2099), b"no response".to_vec()] {
        put(&bad);
        eventually("it is not sent", || stapled(address).is_empty());
        put(&good);
        eventually("it is sent again", || stapled(address) == good);
    }
}
