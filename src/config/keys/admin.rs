//! Declares `[admin]`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::backend;
use super::table;
use super::token::{Token, token};
use crate::config::document::{Section, Text};
use crate::config::grammar::{is_bracketed, is_host_name};

table! {
    /// The admin API, on a separate listener: health, metrics, purges, the journal, weights and canaries. Left out:
    /// there is none.
    pub struct Admin "[admin]" => check_token;

    /// The address: `ip:port`, or `unix:/path` for a socket that only this user may open.
    listen: AdminAddress as Text = "127.0.0.1:9900" => address, next_start;
    /// A secret, at least 16 visible characters, that every request must have as `Authorization: Bearer …`. Write it as
    /// `"${env:NAME}"` or `"${file:/path}"`. Left out: requests need no token, which only loopback addresses and Unix
    /// sockets allow.
    token: Option<Token> as Text => token, next_start;
    /// Names, without port, that a request's `Host` may have beside the address itself and `localhost`. forebay refuses
    /// other names, so that no web page can reach the listener through its own name.
    hosts: Vec<Box<str>> as Texts = "" => hosts, next_start;
}

/// The address of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether only processes on this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// Reports an address that other machines can reach without a token: each client can control the proxy.
fn check_token(admin: &Admin, section: &Section<'_>) {
    if !admin.listen.is_local() && admin.token.is_none() {
        let hint = "add token = \"${env:FOREBAY_ADMIN_TOKEN}\", or listen on 127.0.0.1";
        let cause = "the admin listener is open to other machines, and has no token";
        section.report.add(section.at("listen"), cause, hint);
    }
}

fn address(section: &Section<'_>, key: &str) -> AdminAddress {
    let placeholder = || AdminAddress::Ip((Ipv4Addr::LOCALHOST, 0).into());
    let Some(text) = section.text(key) else { return placeholder() };
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => backend::unix_path(path).map(AdminAddress::Unix),
        None => text
            .value
            .parse()
            .map(AdminAddress::Ip)
            .map_err(|_| ("is no address to listen on", "write ip:port, as \"127.0.0.1:9900\", or unix:/path")),
    };
    address.unwrap_or_else(|(cause, hint)| {
        section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
        placeholder()
    })
}

fn hosts(section: &Section<'_>, key: &str) -> Vec<Box<str>> {
    section.texts(key).iter().filter_map(|text| host(section, text)).collect()
}

fn host(section: &Section<'_>, text: &Text) -> Option<Box<str>> {
    let host = text.value.to_ascii_lowercase();
    let is_host = is_host_name(&host) || is_bracketed(&host);
    if !is_host {
        let hint = "write a name without scheme and port: \"admin.example.com\"";
        section.report.add(text.span.clone(), format!("{text} is no host"), hint);
    }
    is_host.then(|| host.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        let ip = |text: &str| AdminAddress::Ip(text.parse().unwrap());
        for (address, expected) in [
            (ip("127.0.0.1:1"), true),
            (ip("127.9.9.9:1"), true),
            (ip("[::1]:1"), true),
            (ip("[::ffff:127.0.0.1]:1"), true),
            (ip("0.0.0.0:1"), false),
            (ip("[::]:1"), false),
            (ip("10.0.0.1:1"), false),
            (AdminAddress::Unix("/run/a".into()), true),
        ] {
            assert_eq!(address.is_local(), expected, "{address}");
        }
    }
}
