//! `[[listener]]`: an address where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use policy::message::network::Network;

use super::tls::Tls;
use super::{backend, table};
use crate::config::document::{Section, Text};
use crate::config::grammar::networks;

table! {
    /// An address where clients connect, with its own settings. The address identifies the listener: a reload that
    /// keeps the address keeps the socket and the connections.
    pub struct Listener "[[listener]]" => speaks;

    /// `ip:port`, or `unix:/path` for a socket in the file system, whose clients count as `127.0.0.1`. The mode of such a
    /// socket follows the process's umask.
    address: ListenAddress as Text = required("address = \"0.0.0.0:8080\"") => address;
    /// The protocols of this listener; with TLS, ALPN offers them. Only `"http/1.1"` so far.
    protocols as Texts = "http/1.1";
    /// Redirects (308) every request that did not come by `https` to the `https` URL with this port; the URL omits 443.
    /// Left out: no redirects.
    redirect_https: Option<NonZeroU16> as Count(1, 65_535);
    /// Networks in CIDR form, or single addresses, whose forwarding headers this listener trusts. Left out: those of
    /// `[server]`.
    trusted_proxies: Option<Vec<Network>> as Texts => own_networks;
    /// TLS towards clients. Left out: plain HTTP.
    tls: Option<Tls>;
}

/// Where clients connect. A listener is known by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0: one that the system chooses.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// What stands for an address that is no address.
    pub(in crate::config) const fn nowhere() -> Self {
        Self::Unix(PathBuf::new())
    }
}

impl Listener {
    /// A listener for plain HTTP/1.1 without anything particular.
    #[must_use]
    pub const fn plain(address: ListenAddress) -> Self {
        Self { address, redirect_https: None, trusted_proxies: None, tls: None }
    }
}

/// The protocols of a listener are served.
fn speaks(listener: &Listener, section: &Section<'_>) {
    if listener.tls.is_some() && listener.redirect_https.is_some() {
        let hint = "put it on the listener without TLS";
        section.report.add(section.at("redirect_https"), "a listener with TLS has nothing to redirect", hint);
    }
    if section.is_empty_list("protocols") {
        let hint = "leave it out, or write protocols = [\"http/1.1\"]";
        section.report.add(section.at("protocols"), "protocols is empty", hint);
    }
    for protocol in section.texts("protocols") {
        protocol_is_spoken(section, &protocol);
    }
}

fn protocol_is_spoken(section: &Section<'_>, text: &Text) {
    let (cause, hint) = match text.value.as_str() {
        "http/1.1" => return,
        "h2" => ("is not served yet", "write protocols = [\"http/1.1\"]"),
        _ => ("is no protocol", "write protocols = [\"http/1.1\"]"),
    };
    section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
}

fn own_networks(section: &Section<'_>, key: &str) -> Option<Vec<Network>> {
    section.has(key).then(|| networks(section, key))
}

fn address(section: &Section<'_>, key: &str) -> ListenAddress {
    let Some(text) = section.text(key) else { return ListenAddress::nowhere() };
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => backend::unix_path(path).map(ListenAddress::Unix),
        None => text
            .value
            .parse()
            .map(ListenAddress::Ip)
            .map_err(|_| ("is no address to listen on", "write ip:port, as \"0.0.0.0:8080\", or unix:/path")),
    };
    address.unwrap_or_else(|(cause, hint)| {
        section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
        ListenAddress::nowhere()
    })
}
