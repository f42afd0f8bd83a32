//! Client certificates: which clients are accepted, and the fields that backends get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use testbed::{Authority, Client, Forebay, Origin, Pair, TlsClient, forward, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Client-Cert-Subject: CN=spoofed\r\nClient-Cert: :c3Bvb2Y=:\r\n\
                   client-cert-chain: :c3Bvb2Y=:\r\nX-Client-Cert-Verify: spoofed\r\nX_Client_Cert_Subject: CN=spoofed\r\n\r\n";

struct Setup {
    authority: Authority,
    clients: Authority,
    origin: Origin,
    forebay: Forebay,
    _folder: tempfile::TempDir,
}

/// A listener whose clients may show certificates; `revoked` says which are listed as revoked.
fn setup(keys: &str, revoked: impl FnOnce(&Authority) -> Option<String>) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let origin = Origin::start(ok("in"));
    let (cert, key) = authority.issue(&["a.test"]).write(folder.path(), "a");
    let (ca, crl) = (folder.path().join("clients.pem"), folder.path().join("clients.crl"));
    std::fs::write(&ca, clients.pem()).unwrap();
    let mut keys = format!("{keys}\nclient_ca = \"{}\"", ca.display());
    if let Some(list) = revoked(&clients) {
        std::fs::write(&crl, list).unwrap();
        keys += &format!("\nclient_crl = \"{}\"", crl.display());
    }
    let listener = format!(
        "[[listener]]\naddress = \"127.0.0.2:0\"\ntrusted_proxies = [\"127.0.0.1\"]\n[listener.tls]\n\
         certificates = [{{ cert = \"{}\", key = \"{}\" }}]\n{keys}\n",
        cert.display(),
        key.display()
    );
    let known = "[[route]]\nheaders = { x-client-cert-san = \"DNS:vip.test\" }\nrespond = { body = \"vip\" }\n";
    let forebay = Forebay::start(forward([&origin]).more(known).more(&listener));
    Setup { authority, clients, origin, forebay, _folder: folder }
}

impl Setup {
    fn speaker(&self) -> TlsClient {
        self.authority.client("a.test")
    }

    /// Whether a client is accepted.
    fn accepts(&self, speaker: &TlsClient) -> Option<Client> {
        let mut client = speaker.connect(self.forebay.addresses()[1]).ok()?;
        let (bytes, _) = client.try_send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).read_to_end();
        bytes.starts_with(b"HTTP/1.1 200 ").then_some(client)
    }

    /// The fields about a client's certificate that the backend has seen last.
    fn seen(&self) -> Vec<(String, String)> {
        let head = self.origin.last().head;
        let names = ["x-client-cert-subject", "x-client-cert-san", "x-client-cert-fingerprint", "client-cert"];
        let others = ["client-cert-chain", "x-client-cert-verify", "x_client_cert_subject"];
        assert!(others.iter().all(|name| !head.has(name)));
        names
            .iter()
            .flat_map(|name| head.fields(name).into_iter().map(|value| ((*name).to_owned(), value.to_owned())))
            .collect()
    }
}

fn none(_authority: &Authority) -> Option<String> {
    None
}

#[test]
fn a_client_must_show_a_certificate_of_the_authority_where_it_is_required() {
    let setup = setup("client_auth = \"required\"", none);
    let known = setup.clients.issue(&["alice.test"]);
    let strange = Authority::new("strangers").issue(&["alice.test"]);
    let expired = setup.clients.issue_until(&["alice.test"], 2020);
    for (speaker, is_in) in [
        (setup.speaker().with(&known), true),
        (setup.speaker().with(&known).only_1_2(), true),
        (setup.speaker(), false),
        (setup.speaker().only_1_2(), false),
        (setup.speaker().with(&strange), false),
        (setup.speaker().with(&expired), false),
    ] {
        assert_eq!(setup.accepts(&speaker).is_some(), is_in);
    }
    assert_eq!(setup.origin.seen(), 2);
}

#[test]
fn backends_are_told_of_the_certificate_that_was_shown_and_of_no_other() {
    let setup = setup("client_auth = \"optional\"", none);
    let known = setup.clients.issue(&["alice.test"]);
    assert!(setup.accepts(&setup.speaker()).is_some());
    assert_eq!(setup.seen(), [], "not even a trusted proxy passes for one");
    assert!(setup.accepts(&setup.speaker().with(&known)).is_some());
    let seen = setup.seen();
    let value = |index: usize| seen[index].1.as_str();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(value(0).contains("CN=alice.test"), "{seen:?}");
    assert_eq!(value(1), "DNS:alice.test");
    assert!(value(2).len() == 64 && value(2).bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(value(3).starts_with(":MII") || value(3).starts_with(":M"), "{seen:?}");
    assert_eq!(value(3).len(), known.der.len().div_ceil(3) * 4 + 2);
    // A session that is resumed has the same client.
    let config = setup.speaker().with(&known).config();
    for _ in 0..2 {
        let mut client = setup.speaker().connect_with(&config, setup.forebay.addresses()[1]).unwrap();
        client.send(GET).read_response().is(200, "in");
        assert_eq!(setup.seen(), seen);
    }
    assert!(setup.accepts(&setup.speaker().with(&Authority::new("strangers").issue(&["a"]))).is_none());
}

#[test]
fn routes_may_depend_on_the_certificate() {
    let setup = setup("client_auth = \"optional\"", none);
    let vip = setup.clients.issue(&["vip.test"]);
    let spoof = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Client-Cert-San: DNS:vip.test\r\n\r\n";
    let address = setup.forebay.addresses()[1];
    setup.speaker().with(&vip).connect(address).unwrap().send(GET).read_response().is(200, "vip");
    setup.speaker().connect(address).unwrap().send(spoof).read_response().is(200, "in");
    Client::to(setup.forebay.address()).send(spoof).read_response().is(200, "in");
}

#[test]
fn a_revoked_certificate_lets_nobody_in() {
    let mut revoked: Option<Pair> = None;
    let setup = setup("client_auth = \"required\"", |authority| {
        let pair = authority.issue(&["mallory.test"]);
        let list = authority.revoke(&[&pair]);
        revoked = Some(pair);
        Some(list)
    });
    assert!(setup.accepts(&setup.speaker().with(&setup.clients.issue(&["alice.test"]))).is_some());
    assert!(setup.accepts(&setup.speaker().with(&revoked.unwrap())).is_none());
}
