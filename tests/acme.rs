//! Certificates from an ACME authority: ordered, shown, renewed, kept over restarts; what happens when that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use policy::certificate::subject;
use policy::certificate::x509::{self, Name};
use serde_json::Value;
use testbed::{
    Authority, Client, Config, Forebay, Origin, Pebble, Process, StateDir, echo, forward, in_the_end, ok, routes,
    shown_certificate,
};

/// How long nothing may be logged while the authority works.
const SILENCE: Duration = Duration::from_secs(60);
/// Longer than any test.
const DAYS_90: u64 = 90 * 86_400;

/// A listener without TLS.
fn plain(address: SocketAddr, keys: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\n{keys}\n")
}

/// A listener that has names.
fn named(address: SocketAddr, names: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\n[listener.tls]\nacme = [{names}]\n")
}

/// A proxy that gets certificates for these names, where the authority can reach it.
fn config(pebble: &Pebble, origin: &Origin, state: &StateDir, names: &str, keys: &str) -> Config {
    let tables = [plain(pebble.http, ""), named(pebble.tls, names), pebble.table(keys)].concat();
    forward([origin]).server(&state.key()).more(&tables)
}

/// The issuer and the host names of the certificate that a client gets who asks for a name.
fn shown(address: SocketAddr, name: &str) -> (String, Vec<String>) {
    let Ok(certificate) = shown_certificate(address, name, &["http/1.1"]) else { return Default::default() };
    let read = x509::read(&certificate).unwrap();
    let names = read.names.iter().filter_map(|name| match name {
        Name::Dns(name) => Some((*name).to_owned()),
        Name::Email(_) | Name::Uri(_) | Name::Ip(_) => None,
    });
    (subject::text(read.issuer), names.collect())
}

/// Waits until a name has a certificate of the authority.
#[track_caller]
fn is_issued(address: SocketAddr, name: &str) {
    in_the_end(&format!("{name} has a certificate"), || {
        let (issuer, names) = shown(address, name);
        issuer.contains("Pebble") && names == [name]
    });
}

#[test]
fn each_name_gets_a_certificate_by_either_challenge_and_they_are_kept() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(ok("")));
        let keys = format!("challenges = [\"{challenge}\"]\ncontact = [\"ops@example.test\"]\nretry_min = \"100ms\"");
        let config = config(&pebble, &origin, &state, "\"a.test\", \"b.test\"", &keys);
        let forebay = Forebay::start(&config);
        is_issued(pebble.tls, "a.test");
        is_issued(pebble.tls, "b.test");
        // A name that has none gets the first.
        assert_eq!(shown(pebble.tls, "c.test").1, ["a.test"]);
        // Nothing of the challenge is left, and such a client gets no other certificate.
        assert!(shown_certificate(pebble.tls, "a.test", &["acme-tls/1"]).is_err());
        drop(forebay);
        let folder = pebble.folder_in(state.path());
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let orders = pebble.logged("/order-plz");
        // The next process has them from its first connection on, and asks for nothing.
        let _forebay = Forebay::start(&config);
        assert!(shown(pebble.tls, "a.test").0.contains("Pebble") && shown(pebble.tls, "b.test").0.contains("Pebble"));
        assert_eq!(pebble.logged("/order-plz"), orders);
    }
}

#[test]
fn a_certificate_is_renewed_while_clients_are_served() {
    let (pebble, state, origin) = (Pebble::start(6), StateDir::new(), Origin::start(echo()));
    let _forebay = Forebay::start(config(&pebble, &origin, &state, "\"a.test\"", "retry_min = \"100ms\""));
    is_issued(pebble.tls, "a.test");
    let certificate = || shown_certificate(pebble.tls, "a.test", &["http/1.1"]).expect("a handshake");
    let first = certificate();
    let serial = |certificate: &[u8]| x509::read(certificate).unwrap().serial.to_vec();
    in_the_end("it has another certificate", || serial(&certificate()) != serial(&first));
    let second = certificate();
    in_the_end("it has a third", || serial(&certificate()) != serial(&second));
}

#[test]
fn a_reload_brings_names_and_keeps_those_that_are_there() {
    let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(echo()));
    let with = |names: &str| config(&pebble, &origin, &state, names, "retry_min = \"100ms\"");
    let forebay = Forebay::start(with("\"a.test\""));
    is_issued(pebble.tls, "a.test");
    let before = shown_certificate(pebble.tls, "a.test", &["http/1.1"]).unwrap();
    forebay.reload(with("\"a.test\", \"b.test\""));
    is_issued(pebble.tls, "b.test");
    assert_eq!(shown_certificate(pebble.tls, "a.test", &["http/1.1"]).unwrap(), before);
    forebay.reload(with("\"b.test\""));
    assert_eq!(shown(pebble.tls, "a.test").1, ["b.test"]);
}

#[test]
fn without_a_way_for_the_authority_clients_get_a_self_signed_one_until_there_is_one() {
    let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(echo()));
    let keys = "retry_min = \"300ms\"\nretry_max = \"300ms\"\nchallenges = [\"http-01\"]";
    let with = |listener: &str| {
        let tables = [named(pebble.tls, "\"a.test\""), pebble.table(keys), listener.to_owned()].concat();
        forward([&origin]).server(&state.key()).more(&tables)
    };
    // The authority connects to another port than this one.
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), with("").admin());
    in_the_end("a.test has a self-signed one", || {
        let (issuer, names) = shown(pebble.tls, "a.test");
        issuer.contains("forebay self-signed") && names == ["a.test"]
    });
    let told =
        process.told_within(SILENCE, &["no certificate for a.test", "could not verify the name", "a self-signed one"]);
    assert!(told.contains("the next try is in"), "{told}");
    process.reload(with(&plain(pebble.http, "redirect_https = 443")).admin());
    is_issued(pebble.tls, "a.test");
}

#[test]
fn an_authority_that_is_down_or_has_forgotten_the_account_is_asked_again() {
    let (mut pebble, state, origin) = (Pebble::start(8), StateDir::new(), Origin::start(echo()));
    let keys = "retry_min = \"200ms\"\nretry_max = \"200ms\"";
    let process =
        Process::start(env!("CARGO_BIN_EXE_forebay"), config(&pebble, &origin, &state, "\"a.test\"", keys).admin());
    is_issued(pebble.tls, "a.test");
    let first = shown(pebble.tls, "a.test");
    pebble.stop();
    process.told_within(SILENCE, &["no certificate for a.test", "can't be reached", "clients get the present one"]);
    assert_eq!(shown(pebble.tls, "a.test"), first);
    pebble.again();
    process.told_within(SILENCE, &["account.json can't be used", "does not know the account"]);
    let serial = || shown_certificate(pebble.tls, "a.test", &["http/1.1"]);
    let before = serial().unwrap();
    in_the_end("it is renewed", || serial().is_ok_and(|now| now != before));
}

#[test]
fn a_process_that_dies_in_the_middle_waits_and_orders_again() {
    let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(echo()));
    let config = config(&pebble, &origin, &state, "\"a.test\"", "retry_min = \"500ms\"").admin();
    pebble.hold(true);
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), &config);
    in_the_end("the authority verifies the name", || pebble.logged("/chalZ/") > 0);
    process.kill();
    let kept = std::fs::read_to_string(pebble.folder_in(state.path()).join("a.test.json")).unwrap();
    assert!(kept.contains("\"count\": 1"), "{kept}");
    pebble.hold(false);
    let _process = Process::start(env!("CARGO_BIN_EXE_forebay"), &config);
    is_issued(pebble.tls, "a.test");
    assert_eq!(pebble.logged("There are now 2 accounts"), 0, "the account is the same");
}

#[test]
fn the_answers_to_challenges_win_over_routes_and_redirects_and_a_peer_is_asked_for_others() {
    let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(ok("a route")));
    let keys = "retry_min = \"300ms\"\nretry_max = \"300ms\"\nchallenges = [\"http-01\"]";
    // The one that orders is not where the authority connects to.
    let orders =
        [plain("127.0.0.1:0".parse().unwrap(), ""), named(pebble.tls, "\"a.test\""), pebble.table(keys)].concat();
    let orders = Forebay::start(forward([&origin]).server(&state.key()).more(&orders));
    let other_state = StateDir::new();
    let peer = format!("challenge_peer = \"http://{}\"", orders.addresses()[1]);
    let other = [plain(pebble.http, "redirect_https = 443"), pebble.table(&peer)].concat();
    let _other = Forebay::start(forward([&origin]).server(&other_state.key()).more(&other));
    is_issued(pebble.tls, "a.test");
    // What the peer does not know either is a request like any other there.
    let unknown = "GET /.well-known/acme-challenge/unknown HTTP/1.1\r\nHost: a.test\r\n\r\n";
    Client::to(pebble.http).send(unknown).read_response().is(200, "a route");
    let elsewhere = "GET /.well-known/other HTTP/1.1\r\nHost: a.test\r\n\r\n";
    Client::to(pebble.http).send(elsewhere).read_response().is_status(308);
}

#[test]
fn certificates_are_listed_with_their_orders() {
    let (pebble, state, origin) = (Pebble::start(DAYS_90), StateDir::new(), Origin::start(ok("")));
    let keys = "retry_min = \"1h\"\nchallenges = [\"tls-alpn-01\"]";
    // The authority does not connect to the second listener.
    let more =
        "[[listener]]\naddress = \"127.0.0.3:0\"\n[listener.tls]\nacme = [\"a.test\"]\nself_signed = [\"own.test\"]\n";
    let config = config(&pebble, &origin, &state, "\"a.test\"", keys).more(more).admin();
    let process = Process::start(env!("CARGO_BIN_EXE_forebay"), config);
    let listed = || process.api().get("/api/v1/certificates");
    in_the_end("a.test has one", || listed()["certificates"][0]["source"] == "acme");
    let all = listed();
    let [issued, own] = all["certificates"].as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!((&issued["names"][0], issued["listeners"].as_array().unwrap().len()), (&Value::from("a.test"), 2));
    let (ends, next) =
        (issued["not_after_unix_ms"].as_u64().unwrap(), issued["order"]["next_unix_ms"].as_u64().unwrap());
    let left = (ends - next) as f64 / (DAYS_90 as f64 * 1_000.0);
    assert!((0.33..0.36).contains(&left), "{left} of its lifetime is left when it is ordered again");
    assert_eq!((&own["source"], &own["order"]), (&Value::from("self-signed"), &Value::Null));
    let metrics = process.api().ask("GET", "/metrics", "").text();
    for line in ["forebay_acme_orders_total 1", "forebay_acme_order_failures_total 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let next =
        format!("forebay_certificate_next_order_timestamp_seconds{{name=\"a.test\",source=\"acme\"}} {}", next / 1_000);
    assert!(metrics.contains(&next), "{next} in\n{metrics}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(["cert", "list", "--admin", &process.api().address().to_string()]);
    let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(told.contains("NEXT ORDER") && told.contains("a.test") && told.contains("Pebble"), "{told}");
}

/// What an authority that suggests a time of renewal answers, on a listener of its own.
fn suggesting(authority: &Authority, folder: &std::path::Path, window: (&str, &str)) -> Forebay {
    let (cert, key) = authority.issue(&["127.0.0.4"]).write(folder, "directory");
    let tls = format!(
        "[[listener]]\naddress = \"127.0.0.4:0\"\n[listener.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
        cert.display(),
        key.display()
    );
    let respond = |path: &str, body: &str| {
        format!("[[route]]\npath = \"{path}\"\nrespond = {{ status = 200, body = '{body}' }}\n")
    };
    let forebay = Forebay::start(routes(&tls));
    let url = format!("https://{}", forebay.addresses()[1]);
    let resources =
        ["newNonce", "newAccount", "newOrder", "renewalInfo"].map(|name| format!("\"{name}\":\"{url}/{name}\""));
    let (begins, ends) = window;
    let window = format!("{{\"suggestedWindow\":{{\"start\":\"{begins}\",\"end\":\"{ends}\"}}}}");
    let directory = respond("/directory", &format!("{{{}}}", resources.join(",")));
    forebay.reload(routes(&[tls, directory, respond("/renewalInfo", &window)].concat()));
    forebay
}

#[test]
fn the_authority_says_when_it_wants_a_certificate_renewed() {
    for (window, is_past) in [
        (("2050-01-01T00:00:00Z", "2050-01-02T00:00:00Z"), false),
        (("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"), true),
    ] {
        let (authority, state, origin) = (Authority::new("ca"), StateDir::new(), Origin::start(ok("")));
        let directory = suggesting(&authority, state.path(), window);
        let address = directory.addresses()[1];
        let file = state.path().join("authority.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        let folder = state.path().join(format!("acme/{}-{}-directory", address.ip(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let pair = authority.issue(&["a.test"]);
        std::fs::write(folder.join("a.test.pem"), pair.key.clone() + &pair.certificate).unwrap();
        let table = format!(
            "[tls.acme]\ndirectory = \"https://{address}/directory\"\nterms_agreed = true\nca = \"{}\"\nretry_min = \"1h\"\n",
            file.display()
        );
        let tables = [named("127.0.0.5:0".parse().unwrap(), "\"a.test\""), table].concat();
        let process = Process::start(
            env!("CARGO_BIN_EXE_forebay"),
            forward([&origin]).server(&state.key()).more(&tables).admin(),
        );
        let order = || process.api().get("/api/v1/certificates")["certificates"][0]["order"].clone();
        if is_past {
            // It has no answer to an order.
            in_the_end("it is ordered", || order()["failures"] == 1 && order()["failure"].is_string());
        } else {
            let january_2050 = 2_524_608_000_000..2_524_694_400_000;
            in_the_end("it will be ordered then", || january_2050.contains(&order()["next_unix_ms"].as_u64().unwrap()));
        }
    }
}
