//! `[tls.acme]` and the names that listeners have for it.

use std::path::Path;
use std::time::Duration;

use policy::certificate::challenge::Challenge::{Http01, TlsAlpn01};

use super::refused;
use crate::config::plan::{Action, HostHeader, Plan};
use crate::config::{check_text, parse};

const STATE: &str = "[server]\nstate_dir = \"/s\"\n";
const AGREED: &str = "[tls.acme]\nterms_agreed = true\n";
const NAMES: &str = "[listener.tls]\nacme = [\"A.test\", \"b.test\"]\n";
const ROUTE: &str = "[[route]]\nrespond = {}\n";

/// A file with a listener on port 80 and one on port 443, with these tables.
fn file(tables: &[&str]) -> String {
    let [tls, rest @ ..] = tables else { return String::new() };
    format!("listen = [\"127.0.0.1:80\"]\n[[listener]]\naddress = \"127.0.0.1:443\"\n{tls}{}{ROUTE}", rest.concat())
}

fn plan(tables: &[&str]) -> Plan {
    parse("f", &file(tables)).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn names_and_an_agreement_are_enough() {
    let plan = plan(&[NAMES, STATE, AGREED]);
    let acme = plan.acme.as_ref().unwrap();
    assert_eq!(&*acme.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((acme.retry_min, acme.retry_max), (Duration::from_secs(60), Duration::from_secs(86_400)));
    assert_eq!(plan.acme_names().map(|name| &**name).collect::<Vec<_>>(), ["a.test", "b.test"]);
    assert_eq!((plan.challenges(), plan.challenge_peer), (vec![Http01, TlsAlpn01], None));
}

#[test]
fn all_keys_are_read() {
    let keys = "directory = \"letsencrypt-staging\"\ncontact = [\"ops@a.test\"]\nca = \"/ca.pem\"\n\
                challenges = [\"tls-alpn-01\"]\nchallenge_peer = \"http://10.0.0.2\"\nretry_min = \"1s\"\n";
    let plan = plan(&[NAMES, STATE, AGREED, keys]);
    let acme = plan.acme.as_ref().unwrap();
    assert_eq!(&*acme.directory, "https://acme-staging-v02.api.letsencrypt.org/directory");
    assert_eq!(
        (acme.contact.as_slice(), acme.ca.as_deref()),
        (&["mailto:ops@a.test".to_owned()][..], Some(Path::new("/ca.pem")))
    );
    assert_eq!(plan.challenges(), [TlsAlpn01]);
    let peer = &plan.routes[plan.challenge_peer.unwrap()];
    let Action::Forward(upstream) = peer.action else { panic!("it forwards") };
    let upstream = &plan.upstreams[upstream];
    assert_eq!((&*upstream.backends[0].name, upstream.host), ("http://10.0.0.2:80", HostHeader::Client));
}

#[test]
fn mistakes_are_named() {
    let named = |name: &str| format!("[listener.tls]\nacme = [\"{name}\"]\n");
    let with = |key: &str| file(&[NAMES, STATE, AGREED, key]);
    for (text, words) in [
        (file(&[NAMES, STATE]), "acme needs [tls.acme] | add [tls.acme] with terms_agreed = true"),
        (file(&[NAMES, AGREED]), "[tls.acme] needs server.state_dir | its account, keys and certificates must survive"),
        (file(&[NAMES, STATE, "[tls.acme]\n"]), "terms_agreed is missing | terms_agreed = true"),
        (
            file(&[NAMES, STATE, "[tls.acme]\nterms_agreed = false\n"]),
            "there is no account without agreement to the terms | read the terms",
        ),
        (file(&[&named("*.a.test"), STATE, AGREED]), "\"*.a.test\" has a wildcard, which only the challenge dns-01"),
        (file(&[&named("10.0.0.1"), STATE, AGREED]), "\"10.0.0.1\" is an IP address | write a host name"),
        (file(&[&named("a_b"), STATE, AGREED]), "\"a_b\" is no host name | write it as"),
        (file(&[&named("a\", \"A"), STATE, AGREED]), "\"A\" stands twice | leave one out"),
        (with("directory = \"http://ca.test/\"\n"), "\"http://ca.test/\" is no ACME directory | write letsencrypt,"),
        (with("directory = \"letsencrypt-production\"\n"), "\"letsencrypt-production\" is no ACME directory"),
        (with("contact = [\"ops\"]\n"), "\"ops\" is no mail address | write contact = "),
        (with("challenges = [\"dns-01\"]\n"), "dns-01 is not supported | write challenges = "),
        (with("challenges = []\n"), "challenges is empty | write challenges = "),
        (with("challenge_peer = \"10.0.0.2\"\n"), "challenge_peer \"10.0.0.2\" has no scheme | write http://host:port"),
        (with("retry_min = \"2h\"\nretry_max = \"1h\"\n"), "retry_min is longer than retry_max | retry_max is"),
        (with("renew = \"1d\"\n"), "unknown key \"renew\" in [tls.acme] | known here: directory"),
    ] {
        refused(&text, words);
    }
}

#[test]
fn it_is_warned_when_no_listener_can_answer_the_authority() {
    let warned =
        |text: &str| check_text("f", text).unwrap_or_else(|problems| panic!("{problems}")).warnings.to_string();
    assert_eq!(warned(&file(&[NAMES, STATE, AGREED])), "");
    let by_tls = "challenges = [\"tls-alpn-01\"]\n";
    let asks = format!("{NAMES}client_auth = \"required\"\nclient_ca = \"/ca\"\n");
    let found = warned(&file(&[&asks, STATE, AGREED, by_tls]));
    assert!(found.contains("no listener can answer the challenges of the authority"), "{found}");
    assert_eq!(warned(&file(&[&asks, STATE, AGREED])), "");
    let elsewhere = file(&[NAMES, STATE, AGREED]).replace(":80\"", ":8080\"").replace(":443\"", ":8443\"");
    let found = warned(&elsewhere);
    assert!(found.contains("no listener is at a port that the authority connects to: 80 (http-01), 443"), "{found}");
    let idle = file(&["protocols = [\"http/1.1\"]\n", STATE, AGREED]);
    assert!(warned(&idle).contains("no listener has names for [tls.acme]"));
    let peer = file(&["protocols = [\"http/1.1\"]\n", STATE, AGREED, "challenge_peer = \"http://10.0.0.2\"\n"]);
    assert_eq!(warned(&peer), "");
}
