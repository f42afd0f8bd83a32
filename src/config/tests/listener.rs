//! `listen` and `[[listener]]`: what is accepted, and how a refusal reads.

use super::{LISTEN, fine, refused};
use crate::config::plan::{ListenAddress, Listener};

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
    assert_eq!(plan.redirect_https(Some(own)).map(u16::from), Some(8443));
    assert_eq!((plan.redirect_https(Some(plain)), plan.redirect_https(None)), (None, None));
}

#[test]
fn keys_of_a_listener_are_checked() {
    let address = "address = \"127.0.0.1:80\"";
    for (lines, words) in [
        ("", "address is missing | address = \"0.0.0.0:8080\""),
        ("address = \"localhost:80\"", "\"localhost:80\" is no address to listen on | write ip:port"),
        ("address = \"unix:f.sock\"", "\"unix:f.sock\" has no absolute path | write unix:/"),
        (&format!("{address}\nprotocols = [\"h2\"]"), "\"h2\" is not served yet | write protocols = [\"http/1.1\"]"),
        (&format!("{address}\nprotocols = [\"h3\"]"), "\"h3\" is no protocol | write protocols = [\"http/1.1\"]"),
        (&format!("{address}\nprotocols = []"), "protocols is empty | leave it out"),
        (&format!("{address}\nredirect_https = 0"), "redirect_https is out of range | from 1 to 65535"),
        (&format!("{address}\ntrusted_proxies = [\"all\"]"), "\"all\" is no network | write a network as"),
        (&format!("{address}\nport = 80"), "unknown key \"port\" in [[listener]] | known here: address"),
    ] {
        refused(&with_listener(lines), words);
    }
}

#[test]
fn an_address_is_listened_on_once() {
    for (first, second, words) in [
        ("127.0.0.1:80", "127.0.0.1:80", "\"127.0.0.1:80\" is listened on twice | leave one out"),
        ("127.0.0.1:0", "127.0.0.1:0", "\"127.0.0.1:0\" is listened on twice | leave one out"),
        ("0.0.0.0:80", "127.0.0.1:80", "\"127.0.0.1:80\" and \"0.0.0.0:80\" overlap"),
    ] {
        let text = with_listener(&format!("address = \"{second}\""));
        refused(&format!("listen = [\"{first}\"]\n{text}"), words);
    }
    let twice = "address = \"unix:/run/a\"\n[[listener]]\naddress = \"unix:/run/a\"";
    refused(&with_listener(twice), "\"unix:/run/a\" is listened on twice");
    let both = with_listener("address = \"unix:/run/a\"") + "[admin]\nlisten = \"unix:/run/a\"";
    refused(&both, "\"unix:/run/a\" is for clients already | take another port");
}
