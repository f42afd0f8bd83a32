//! Certificates that change while the proxy runs, and settings of TLS that change with a reload.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use testbed::{Authority, Client, Config, Forebay, Pair, eventually, routes};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A proxy's configuration with one TLS listener that has this certificate.
fn config((cert, key): &(std::path::PathBuf, std::path::PathBuf), keys: &str) -> Config {
    let files = format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
    routes("[[route]]\nrespond = { body = \"ok\" }\n")
        .more(&format!("[[listener]]\naddress = \"127.0.0.2:0\"\n[listener.tls]\ncertificates = [{files}]\n{keys}"))
}

fn shown(authority: &Authority, address: SocketAddr) -> Vec<u8> {
    let client = authority.client("a.test").connect(address).unwrap();
    client.tls().peer_certificates().unwrap()[0].to_vec()
}

fn shows(authority: &Authority, address: SocketAddr, pair: &Pair) -> bool {
    shown(authority, address) == pair.der
}

struct Setup {
    authority: Authority,
    old: Pair,
    new: Pair,
    folder: tempfile::TempDir,
    forebay: Forebay,
    config: Config,
}

fn setup() -> Setup {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let [old, new] = [(); 2].map(|()| authority.issue(&["a.test"]));
    let config = config(&old.write(folder.path(), "a"), "");
    let forebay = Forebay::start(&config);
    Setup { authority, old, new, folder, forebay, config }
}

impl Setup {
    fn address(&self) -> SocketAddr {
        self.forebay.addresses()[1]
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn shows(&self, pair: &Pair) -> bool {
        shows(&self.authority, self.address(), pair)
    }

    fn client(&self) -> Client {
        self.authority.client("a.test").connect(self.address()).unwrap()
    }
}

#[test]
fn a_reload_takes_up_new_certificates_and_keeps_connections() {
    let setup = setup();
    let mut kept = setup.client();
    kept.send(GET).read_response().is(200, "ok");
    setup.new.write(setup.folder(), "a");
    setup.forebay.reload(&setup.config);
    assert!(setup.shows(&setup.new));
    kept.send(GET).read_response().is(200, "ok");
}

#[test]
fn files_that_change_are_taken_up_without_a_reload() {
    let setup = setup();
    assert!(setup.shows(&setup.old));
    setup.new.write(setup.folder(), "a");
    eventually("the new certificate is shown", || setup.shows(&setup.new));
}

#[test]
fn a_pair_that_is_none_and_an_expired_certificate_change_nothing() {
    let setup = setup();
    let expired = setup.authority.issue_until(&["a.test"], 2020);
    let broken = Pair { key: setup.new.key.clone(), ..expired.clone() };
    let garbage = Pair { certificate: "no certificate".to_owned(), ..expired.clone() };
    for (pair, words) in [
        (&broken, "does not belong to the certificate"),
        (&garbage, "no certificate in it"),
        (&expired, "the certificate has expired, the one in use has not"),
    ] {
        let (cert, _) = pair.write(setup.folder(), "a");
        let refused = setup.forebay.try_reload(&setup.config).unwrap_err();
        assert!(refused.contains(words) && refused.contains(&cert.display().to_string()), "{refused}");
        assert!(setup.shows(&setup.old), "{words}");
    }
    std::fs::remove_file(setup.folder().join("a.key")).unwrap();
    assert!(setup.forebay.try_reload(&setup.config).unwrap_err().contains("a.key: No such file"));
    assert!(setup.shows(&setup.old));
    // A corrected file is loaded.
    setup.new.write(setup.folder(), "a");
    eventually("the new certificate is shown", || setup.shows(&setup.new));
}

#[test]
fn what_can_not_be_used_is_told_at_the_start() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
    let pair = authority.issue(&["a.test"]);
    let paths = pair.write(folder.path(), "a");
    std::fs::write(&paths.1, "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n").unwrap();
    let plan = forebay::config::parse("f", &config(&paths, "").to_string()).unwrap();
    let error = forebay::supervisor::start(plan).unwrap_err().to_string();
    assert!(error.starts_with("listener 127.0.0.2:0: ") && error.contains("a.key"), "{error}");
}

#[test]
fn tls_comes_and_goes_with_reloads() {
    let setup = setup();
    let plain = routes("[[route]]\nrespond = { body = \"ok\" }\n").more("[[listener]]\naddress = \"127.0.0.2:0\"\n");
    let address = setup.address();
    let changes = setup.forebay.reload_told(&plain).0;
    assert!(changes.contains("listeners changed: 127.0.0.2:0"), "{changes}");
    assert_eq!(setup.address(), address);
    Client::to(address).send(GET).read_response().is(200, "ok");
    setup.forebay.reload(&setup.config);
    setup.client().send(GET).read_response().is(200, "ok");
}

#[test]
fn no_request_fails_while_certificates_change_under_load() {
    let setup = setup();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut client = setup.client();
                    for _ in 0..5 {
                        client.send(GET).read_response().is(200, "ok");
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let _over = Over(&is_over);
        for round in 0..20 {
            let pair = if round % 2 == 0 { &setup.new } else { &setup.old };
            let before = served.load(Ordering::Relaxed);
            if round % 5 == 4 {
                Pair { key: setup.old.key.clone(), ..setup.new.clone() }.write(setup.folder(), "a");
                setup.forebay.try_reload(&setup.config).unwrap_err();
            } else {
                pair.write(setup.folder(), "a");
                setup.forebay.reload(&setup.config);
                assert!(setup.shows(pair));
            }
            eventually("requests are served meanwhile", || served.load(Ordering::Relaxed) > before + 10);
        }
    });
    let failures: u64 = setup.forebay.counters().iter().map(|counters| counters.tls_failures.get()).sum();
    assert_eq!(failures, 0);
}

/// Ends the load, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
