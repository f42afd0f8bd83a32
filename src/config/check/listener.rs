//! Checks `listen` and `[[listener]]` together.

use std::net::SocketAddr;

use crate::config::document::{Section, Text};
use crate::config::plan::{ListenAddress, Listener};
use crate::config::value::Table as _;

/// The most listeners: each needs a socket for each worker, and is compared with the others.
const LISTENERS_MAX: usize = 100;

/// All listeners; those of `listen` come first.
pub(super) fn all(top: &Section<'_>) -> Vec<Listener> {
    let hint = "at least one address: listen = [\"127.0.0.1:8080\"]";
    if !top.has("listener") {
        top.missing("listen", hint);
        if top.is_empty_list("listen") {
            top.report.add(top.at("listen"), "listen is empty", hint);
        }
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
        let listener = Listener::of(&section);
        if let Some(text) = section.text("address") {
            add(&mut listeners, &section, &text, listener);
        }
    }
    if listeners.len() > LISTENERS_MAX {
        let hint = format!("at most {LISTENERS_MAX}");
        top.report.add(top.span.clone(), format!("there are {} addresses to listen on", listeners.len()), hint);
    }
    listeners
}

/// Adds a listener. Reports an address that overlaps with one of another listener.
fn add(listeners: &mut Vec<Listener>, section: &Section<'_>, text: &Text, listener: Listener) {
    let taken = listeners.iter().find(|other| overlap(&other.address, &listener.address));
    if let Some(other) = taken.filter(|_| listener.address != ListenAddress::placeholder()) {
        let cause = match other.address == listener.address {
            true => format!("{text} is listened on twice"),
            false => format!("{text} and \"{}\" overlap: both take connections to one address", other.address),
        };
        section.report.add(text.span.clone(), cause, "leave one out");
    }
    listeners.push(listener);
}

/// Whether two addresses would get the same connections. forebay's IPv6 sockets accept no IPv4 connections.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Ip(one), ListenAddress::Ip(other)) => overlap_ip(*one, *other),
        (one, other) => one == other,
    }
}

fn overlap_ip(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    // For port 0 the system chooses a different port for each listener.
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && is_same
}
