//! `listen` and `[[listener]]`: where clients connect.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use toml::Spanned;

use super::backend;
use crate::config::document::{Section, Text};
use crate::config::grammar::networks;
use crate::config::plan::{ListenAddress, Listener};

/// The most listeners: each is a socket for each worker, and is compared with the others.
const LISTENERS_MAX: usize = 100;

/// Every listener, those of `listen` first.
pub(super) fn all(top: &Section<'_>) -> Vec<Listener> {
    let hint = "at least one address: listen = [\"127.0.0.1:8080\"]";
    if !top.has("listener") {
        top.missing("listen", hint);
    }
    if top.is_empty_list("listen") && !top.has("listener") {
        top.report.add(top.at("listen"), "listen is empty", hint);
    }
    let mut listeners = Vec::new();
    for text in top.texts("listen") {
        match text.value.parse() {
            Ok(address) => add(&mut listeners, top, &text, Listener::plain(ListenAddress::Ip(address))),
            Err(_) => {
                let hint = "write ip:port, as \"0.0.0.0:8080\" or \"[::]:8080\"";
                top.report.add(text.span.clone(), format!("{text} is no address to listen on"), hint);
            }
        }
    }
    for section in top.sections("listener") {
        section.missing("address", "address = \"0.0.0.0:8080\"");
        let text = section.text("address");
        let address = text.as_ref().and_then(|text| address(&section, text));
        let listener = listener(&section, address.unwrap_or_else(nowhere));
        if let Some(text) = text {
            add(&mut listeners, &section, &text, listener);
        }
    }
    if listeners.len() > LISTENERS_MAX {
        let hint = format!("at most {LISTENERS_MAX}");
        top.report.add(top.span.clone(), format!("there are {} addresses to listen on", listeners.len()), hint);
    }
    listeners
}

/// Adds a listener, whose address must be its own.
fn add(listeners: &mut Vec<Listener>, section: &Section<'_>, text: &Text, listener: Listener) {
    let taken = listeners.iter().find(|other| overlap(&other.address, &listener.address));
    if let Some(other) = taken.filter(|_| listener.address != nowhere()) {
        let cause = match other.address == listener.address {
            true => format!("{text} is listened on twice"),
            false => format!("{text} and \"{}\" overlap: both take connections to one address", other.address),
        };
        section.report.add(text.span.clone(), cause, "leave one out");
    }
    listeners.push(listener);
}

/// Whether two of the clients' addresses take the same connections. IPv6 sockets take no IPv4 connections here.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Ip(one), ListenAddress::Ip(other)) => overlap_ip(*one, *other),
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Ip(_), ListenAddress::Unix(_)) | (ListenAddress::Unix(_), ListenAddress::Ip(_)) => false,
    }
}

fn overlap_ip(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (one == other || one.port() != 0 && is_same)
}

/// What stands for an address that is no address.
fn nowhere() -> ListenAddress {
    ListenAddress::Unix(PathBuf::new())
}

fn listener(section: &Section<'_>, address: ListenAddress) -> Listener {
    for protocol in section.texts("protocols") {
        protocol_is_spoken(section, &protocol);
    }
    if section.is_empty_list("protocols") {
        let hint = "leave it out, or write protocols = [\"http/1.1\"]";
        section.report.add(section.at("protocols"), "protocols is empty", hint);
    }
    let redirect_https = section.count::<u16>("redirect_https").map(Spanned::into_inner);
    let trusted_proxies = section.has("trusted_proxies").then(|| networks(section, "trusted_proxies"));
    Listener { address, redirect_https: redirect_https.and_then(NonZeroU16::new), trusted_proxies }
}

fn protocol_is_spoken(section: &Section<'_>, text: &Text) {
    let (cause, hint) = match text.value.as_str() {
        "http/1.1" => return,
        "h2" => ("is not served yet", "write protocols = [\"http/1.1\"]"),
        _ => ("is no protocol", "write protocols = [\"http/1.1\"]"),
    };
    section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
}

fn address(section: &Section<'_>, text: &Text) -> Option<ListenAddress> {
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => backend::unix_path(path).map(ListenAddress::Unix),
        None => text
            .value
            .parse()
            .map(ListenAddress::Ip)
            .map_err(|_| ("is no address to listen on", "write ip:port, as \"0.0.0.0:8080\", or unix:/path")),
    };
    address.map_err(|(cause, hint)| section.report.add(text.span.clone(), format!("{text} {cause}"), hint)).ok()
}
