//! TLS towards backends: verification, client certificates, and reuse and end of connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::Path;

use testbed::{Authority, Config, Forebay, Origin, Pair, echo, eventually, forward, ok, raw, routes, script};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// A backend that speaks TLS: another proxy in front of the origin, with a certificate for `app.test` and 127.0.0.2.
struct Backend {
    folder: tempfile::TempDir,
    inner: Forebay,
}

impl Backend {
    fn new(origin: &Origin, keys: &str) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("backends"));
        let (cert, key) = authority.issue(&["app.test", "127.0.0.2"]).write(folder.path(), "backend");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let listener = format!(
            "[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n{keys}\n",
            cert.display(),
            key.display()
        );
        let inner = Forebay::start(forward([origin]).server("body_bytes_max = \"64MiB\"").more(&listener));
        Self { folder, inner }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A proxy that reaches it by this host and these keys of `[upstream.tls]`.
    fn front(&self, host: &str, keys: &str, more: &str) -> Forebay {
        let url = format!("https://{host}:{}", self.inner.addresses()[1].port());
        let upstream =
            format!("[[upstream]]\nname = \"app\"\nbackends = [\"{url}\"]\n{more}\n[upstream.tls]\n{keys}\n");
        Forebay::start(front(&upstream))
    }

    fn believing(&self, more: &str) -> Forebay {
        self.front("127.0.0.2", &format!("ca = \"{}\"", self.path("ca.pem")), more)
    }
}

fn front(upstream: &str) -> Config {
    routes(&format!("{upstream}[[route]]\nupstream = \"app\"\n")).server("body_bytes_max = \"64MiB\"")
}

#[test]
fn requests_reach_a_backend_over_tls_on_kept_connections() {
    let origin = Origin::start(echo());
    let backend = Backend::new(&origin, "");
    let forebay = backend.believing("");
    let mut client = forebay.client();
    let body = "0123456789abcdef".repeat(200_000);
    for _ in 0..3 {
        client.send(GET).read_response().is_status(200);
        let request = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(client.send(request).read_response().is_status(200).text().ends_with(&body));
    }
    assert_eq!(forebay.gauges().backend_connections, 1);
    assert_eq!(origin.last().head.fields("x-forwarded-host"), ["shop.test"]);
}

#[test]
fn a_backend_that_is_not_who_it_should_be_gets_no_request() {
    let origin = Origin::start(ok("secret"));
    let backend = Backend::new(&origin, "");
    let other = backend.path("other.pem");
    std::fs::write(&other, Authority::new("others").pem()).unwrap();
    let ca = backend.path("ca.pem");
    for keys in [format!("ca = \"{other}\""), format!("ca = \"{ca}\"\nserver_name = \"wrong.test\""), String::new()] {
        let forebay = backend.front("127.0.0.2", &keys, "");
        forebay.get("/").is_status(502);
    }
    assert_eq!(origin.seen(), 0);
    for keys in [format!("ca = \"{ca}\"\nserver_name = \"app.test\""), "verify = false".to_owned()] {
        backend.front("127.0.0.2", &keys, "").get("/").is(200, "secret");
    }
}

#[test]
fn a_reload_that_believes_a_backend_no_more_uses_no_connection_to_it_either() {
    let origin = Origin::start(ok("secret"));
    let backend = Backend::new(&origin, "");
    let (ca, other) = (backend.path("ca.pem"), backend.path("other.pem"));
    std::fs::write(&other, Authority::new("others").pem()).unwrap();
    let url = format!("https://127.0.0.2:{}", backend.inner.addresses()[1].port());
    let plan =
        |keys: &str| front(&format!("[[upstream]]\nname = \"app\"\nbackends = [\"{url}\"]\n[upstream.tls]\n{keys}\n"));
    let forebay = Forebay::start(plan("verify = false"));
    forebay.get("/").is(200, "secret");
    forebay.reload(plan(&format!("ca = \"{other}\"")));
    forebay.get("/").is_status(502);
    forebay.reload(plan(&format!("ca = \"{ca}\"")));
    forebay.get("/").is(200, "secret");
    // The file changes, the configuration does not.
    std::fs::write(&ca, Authority::new("others").pem()).unwrap();
    forebay.reload(plan(&format!("ca = \"{ca}\"")));
    forebay.get("/").is_status(502);
    assert_eq!((origin.seen(), forebay.gauges().backend_connections), (2, 0));
}

#[test]
fn what_files_hold_at_the_start_is_what_counts() {
    let origin = Origin::start(ok("fine"));
    let backend = Backend::new(&origin, "");
    let forebay = backend.believing("");
    std::fs::remove_file(backend.path("ca.pem")).unwrap();
    forebay.get("/").is(200, "fine");
}

#[test]
fn a_certificate_is_shown_to_a_backend_that_asks() {
    let clients = Authority::new("clients");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let own: Pair = clients.issue(&["proxy.test"]);
    let (cert, key) = own.write(folder.path(), "own");
    let origin = Origin::start(ok("in"));
    let backend = Backend::new(&origin, &format!("client_auth = \"required\"\nclient_ca = \"{}\"", ca.display()));
    backend.believing("").get("/").is_status(502);
    let keys = |cert: &Path, key: &Path| {
        let trust = format!("ca = \"{}\"", backend.path("ca.pem"));
        format!("{trust}\ncert = \"{}\"\nkey = \"{}\"", cert.display(), key.display())
    };
    backend.front("127.0.0.2", &keys(&cert, &key), "").get("/").is(200, "in");
    assert!(origin.last().head.fields("x-client-cert-subject").concat().contains("proxy.test"));
}

#[test]
fn checks_speak_tls_too() {
    let origin = Origin::start(ok("fine"));
    let backend = Backend::new(&origin, "");
    let health = "[upstream.health]\ninterval = \"20ms\"\npath = \"/health\"";
    let _forebay = backend.believing(health);
    eventually("checks are answered", || origin.count("GET /health") > 3);
}

#[test]
fn a_tunnel_passes_through_tls() {
    const ASK: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let origin = Origin::start(raw(SWITCH).tunnel());
    let backend = Backend::new(&origin, "");
    let forebay = backend.believing("");
    let mut client = forebay.client();
    client.send(ASK).read_response().is_status(101);
    let long = "x".repeat(200_000) + "end";
    assert_eq!(client.send(&long).read_until("end"), long);
    drop(client);
    eventually("the backend's side is closed", || origin.open() == 0);
}

#[test]
fn a_body_that_a_backend_cuts_short_is_never_whole() {
    let origin = Origin::start(script().send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").reset());
    let backend = Backend::new(&origin, "");
    let forebay = backend.believing("");
    assert_eq!(forebay.get("/").ending, testbed::Ending::CutShort);
}

#[test]
fn files_that_can_not_be_used_are_told_at_the_start_and_refuse_a_reload() {
    let origin = Origin::start(ok("fine"));
    let backend = Backend::new(&origin, "");
    let forebay = backend.believing("");
    let url = format!("https://127.0.0.2:{}", backend.inner.addresses()[1].port());
    let broken =
        format!("[[upstream]]\nname = \"app\"\nbackends = [\"{url}\"]\n[upstream.tls]\nca = \"/nowhere/ca.pem\"\n");
    let error = forebay.try_reload(front(&broken)).unwrap_err();
    assert!(error.contains("upstream app: /nowhere/ca.pem: No such file"), "{error}");
    forebay.get("/").is(200, "fine");
    let plan = forebay::config::parse("f", &front(&broken).to_string()).unwrap();
    assert!(forebay::supervisor::start(plan).unwrap_err().to_string().contains("/nowhere/ca.pem"));
}
