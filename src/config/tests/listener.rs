//! Tests of `listen` and `[[listener]]`: accepted values, and problems.

use std::path::Path;
use std::time::Duration;

use super::{LISTEN, fine, refused};
use crate::config::check_text;
use crate::config::plan::{ClientAuth, ListenAddress, Listener, Protocols, TlsVersion, UnknownSni};

/// A file with this listener alone.
fn with_listener(lines: &str) -> String {
    format!("[[listener]]\n{lines}\n[[route]]\nrespond = {{}}\n")
}

fn listeners(text: &str) -> Vec<Listener> {
    fine(text).listeners
}

#[test]
fn both_forms_may_be_used_together_in_the_order_of_listen_first() {
    let text = format!("{LISTEN}{}", with_listener("address = \"unix:/run/f.sock\"\nprotocols = [\"http/1.1\"]"));
    let addresses: Vec<String> = listeners(&text).iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:0", "unix:/run/f.sock"]);
    let alone = listeners(&with_listener("address = \"[::1]:8443\""));
    assert_eq!(alone, [Listener::plain(ListenAddress::Ip("[::1]:8443".parse().unwrap()))]);
}

#[test]
fn what_is_particular_to_a_listener_is_asked_for_by_its_address() {
    let own = "address = \"127.0.0.1:80\"\nredirect_https = 8443\ntrusted_proxies = [\"10.0.0.1\"]";
    let plan =
        fine(&format!("listen = [\"127.0.0.2:80\"]\n{}[server]\ntrusted_proxies = [\"10.0.0.2\"]", with_listener(own)));
    let [plain, own] = [0, 1].map(|index| &plan.listeners[index].address);
    let trusts = |listener, peer: &str| {
        plan.trusted_proxies(listener).iter().any(|network| network.contains(peer.parse().unwrap()))
    };
    assert!(trusts(Some(own), "10.0.0.1") && !trusts(Some(own), "10.0.0.2"));
    assert!(trusts(Some(plain), "10.0.0.2") && trusts(None, "10.0.0.2") && !trusts(Some(plain), "10.0.0.1"));
    let gone = ListenAddress::Ip("127.0.0.3:80".parse().unwrap());
    assert!(!trusts(Some(&gone), "10.0.0.1") && !trusts(Some(&gone), "10.0.0.2"));
    assert_eq!(plan.redirect_https(Some(own)).map(u16::from), Some(8443));
    assert_eq!((plan.redirect_https(Some(plain)), plan.redirect_https(None)), (None, None));
}

#[test]
fn keys_of_a_listener_are_checked() {
    let address = "address = \"127.0.0.1:80\"";
    for (lines, words) in [
        ("", "address is missing | address = \"0.0.0.0:8080\""),
        ("address = \"localhost:80\"", "\"localhost:80\" is no address to listen on | write ip:port"),
        ("address = \"fd:\"", "\"fd:\" has no name of a socket | write fd:NAME"),
        ("address = \"fd:a:b\"", "\"fd:a:b\" has no name of a socket | write fd:NAME"),
        ("address = \"unix:f.sock\"", "\"unix:f.sock\" has no absolute path | write unix:/"),
        (
            &format!("{address}\nprotocols = [\"h3\"]"),
            "\"h3\" is no protocol | write protocols = [\"h2\", \"http/1.1\"]",
        ),
        (&format!("{address}\nprotocols = []"), "protocols is empty | write protocols = [\"h2\", \"http/1.1\"]"),
        (&format!("{address}\nredirect_https = 0"), "redirect_https is out of range | from 1 to 65535"),
        (&format!("{address}\ntrusted_proxies = [\"all\"]"), "\"all\" is no network | write a network as"),
        (
            &format!("{address}\nproxy_protocol = \"on\"\nproxy_protocol_from = [\"10.0.0.1\"]"),
            "proxy_protocol can't be \"on\" | one of off, optional, required",
        ),
        (
            &format!("{address}\nproxy_protocol = \"required\""),
            "proxy_protocol needs proxy_protocol_from | name the load balancers",
        ),
        (
            "address = \"unix:/run/a\"\nproxy_protocol = \"optional\"\nproxy_protocol_from = []",
            "proxy_protocol needs proxy_protocol_from | proxy_protocol_from = [\"127.0.0.1\"]",
        ),
        (
            &format!("{address}\nproxy_protocol = \"required\"\nproxy_protocol_from = [\"lb\"]"),
            "\"lb\" is no network | write a network as",
        ),
        (&format!("{address}\nport = 80"), "unknown key \"port\" in [[listener]] | known here: address"),
    ] {
        refused(&with_listener(lines), words);
    }
}

#[test]
fn an_address_is_listened_on_once() {
    for (first, second, words) in [
        ("127.0.0.1:80", "127.0.0.1:80", "\"127.0.0.1:80\" is listened on twice | leave one out"),
        ("0.0.0.0:80", "127.0.0.1:80", "\"127.0.0.1:80\" and \"0.0.0.0:80\" overlap"),
    ] {
        let text = with_listener(&format!("address = \"{second}\""));
        refused(&format!("listen = [\"{first}\"]\n{text}"), words);
    }
    let twice = "address = \"unix:/run/a\"\n[[listener]]\naddress = \"unix:/run/a\"";
    refused(&with_listener(twice), "\"unix:/run/a\" is listened on twice");
    let twice = "address = \"fd:a\"\n[[listener]]\naddress = \"fd:a\"";
    refused(&with_listener(twice), "\"fd:a\" is listened on twice");
    let both = with_listener("address = \"unix:/run/a\"") + "[admin]\nlisten = \"unix:/run/a\"";
    refused(&both, "\"unix:/run/a\" is for clients already | take another port");
}

/// A file with this table of a TLS listener.
fn with_tls(lines: &str) -> String {
    with_listener(&format!("address = \"127.0.0.1:443\"\n[listener.tls]\n{lines}"))
}

/// One certificate.
const PAIR: &str = "certificates = [{ cert = \"/c.pem\", key = \"/c.key\" }]";

#[test]
fn tls_has_defaults_for_all_but_its_certificates() {
    let tls = |lines: &str| listeners(&with_tls(lines)).remove(0).tls.expect("it speaks TLS");
    let plain = tls(PAIR);
    assert_eq!((plain.certificates.len(), plain.certificates[0].cert.as_path()), (1, Path::new("/c.pem")));
    assert_eq!((plain.min_version, plain.unknown_sni), (TlsVersion::Tls12, UnknownSni::Default));
    assert_eq!((plain.client_auth, &plain.client_ca, &plain.client_crl), (ClientAuth::Off, &None, &None));
    assert_eq!(
        (plain.ticket_rotation, plain.handshake_timeout),
        (Duration::from_secs(21_600), Duration::from_secs(10))
    );
    assert_eq!(plain.handshakes_max, 4096);
    let all = "min_version = \"1.3\"\nunknown_sni = \"reject\"\nclient_auth = \"optional\"\nclient_ca = \"/ca.pem\"\nclient_crl = \"/crl.pem\"";
    let full = tls(&format!("{PAIR}\n{all}"));
    assert_eq!((full.min_version, full.unknown_sni), (TlsVersion::Tls13, UnknownSni::Reject));
    assert_eq!((full.client_auth, full.client_ca), (ClientAuth::Optional, Some("/ca.pem".into())));
}

#[test]
fn keys_of_tls_are_checked() {
    for (lines, words) in [
        ("", "certificates is missing | certificates = [{ cert = "),
        ("certificates = []", "certificates is empty | certificates = [{ cert = "),
        ("certificates = [{ cert = \"/c.pem\" }]", "key is missing | key = \"/etc/forebay/key.pem\""),
        ("certificates = [{ cert = \"\", key = \"/k\" }]", "cert is empty | name a file"),
        ("self_signed = [\"a b\"]", "\"a b\" is neither a host name nor an IP address | write names as"),
        ("self_signed = \"localhost\"", "self_signed is a list of strings, not a string"),
        ("self_signed = []", "certificates is missing"),
        (&format!("{PAIR}\nmin_version = \"1.1\""), "min_version can't be \"1.1\" |"),
        (&format!("{PAIR}\nclient_auth = \"required\""), "client_auth needs client_ca | client_ca = "),
        (&format!("{PAIR}\ncipher_suites = [\"RC4\"]"), "\"RC4\" is no cipher suite | one of TLS_AES_256_GCM_SHA384, "),
        (&format!("{PAIR}\ncipher_suites = []"), "cipher_suites is empty | leave it out for the default"),
        (
            &format!("{PAIR}\nmin_version = \"1.3\"\ncipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]"),
            "cipher_suites has none of TLS 1.3 | add TLS_AES_128_GCM_SHA256",
        ),
        (&format!("{PAIR}\nkey_exchanges = [\"ffdhe9\"]"), "\"ffdhe9\" is no key exchange | one of X25519MLKEM768, "),
        (&format!("{PAIR}\nticket_secret = \"short\""), "this is no ticket_secret | at least 32 visible ASCII"),
        (&format!("{PAIR}\nhsts = \"includeSubDomains\""), "\"includeSubDomains\" has no max-age | write hsts = "),
        (&format!("{PAIR}\nhsts = \"max-age=1y\""), "\"max-age=1y\" has no max-age | write hsts = "),
        (&format!("{PAIR}\nhsts = \"max-age=1; max-age=2\""), "has no max-age | write hsts = "),
        (&format!("{PAIR}\nticket_rotation = \"1s\""), "ticket_rotation is out of range | from 1m to 6h"),
        (&format!("{PAIR}\nhandshakes_max = 0"), "handshakes_max is out of range | from 1 to 1000000"),
    ] {
        refused(&with_tls(lines), words);
    }
    let warned = check_text("f", &with_tls(&format!("{PAIR}\nclient_ca = \"/ca\""))).unwrap().warnings;
    assert!(warned.to_string().contains("warning: client_ca is of no use without client_auth"), "{warned}");
    let both = format!("address = \"127.0.0.1:443\"\nredirect_https = 443\n[listener.tls]\n{PAIR}");
    refused(&with_listener(&both), "a listener with TLS has nothing to redirect | put it on the listener without TLS");
}

#[test]
fn a_listener_speaks_what_it_says_and_by_default_both_over_tls() {
    let plain = |lines: &str| listeners(&with_listener(&format!("address = \"127.0.0.1:80\"\n{lines}")))[0].protocols;
    for (lines, expected) in [
        ("", Protocols::Http1),
        ("protocols = [\"http/1.1\"]", Protocols::Http1),
        ("protocols = [\"h2\"]", Protocols::Http2),
        ("protocols = [\"h2\", \"http/1.1\"]", Protocols::Both),
        ("protocols = [\"http/1.1\", \"h2\"]", Protocols::BothHttp1First),
    ] {
        assert_eq!(plain(lines), expected, "{lines}");
    }
    assert_eq!(listeners(&with_tls(PAIR))[0].protocols, Protocols::Both);
}
