//! `[admin]`: where it listens, and who may use it.

use std::net::SocketAddr;

use super::{backend, condition, is_host_name};
use crate::config::document::{Section, Text};
use crate::config::plan::{Admin, AdminAddress, ListenAddress, Listener, Token};

/// The shortest secret, in bytes: shorter ones can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// The admin listener; `None`: there is none. `clients`: where clients connect.
pub(super) fn listener(top: &Section<'_>, clients: &[Listener]) -> Option<Admin> {
    let section = top.has("admin").then(|| top.section("admin"))?;
    let token = section.text("token").map(|text| secret(&section, &text, "token"));
    let hosts = section.texts("hosts").iter().filter_map(|text| host(&section, text)).collect();
    let text = section.text("listen")?;
    let listen = address(&section, &text)?;
    if !listen.is_local() && token.is_none() {
        let hint = "add token = \"${env:FOREBAY_ADMIN_TOKEN}\", or listen on 127.0.0.1";
        section.report.add(text.span.clone(), "the admin listener is open to other machines, and has no token", hint);
    }
    if clients.iter().any(|client| takes(&client.address, &listen)) {
        section.report.add(text.span.clone(), format!("{text} is for clients already"), "take another port");
    }
    Some(Admin { listen, token, hosts })
}

/// Whether a listener for clients takes connections that are meant for this address.
fn takes(client: &ListenAddress, admin: &AdminAddress) -> bool {
    match (client, admin) {
        (ListenAddress::Ip(client), AdminAddress::Ip(admin)) => overlap(*client, *admin),
        (ListenAddress::Unix(client), AdminAddress::Unix(admin)) => client == admin,
        (ListenAddress::Ip(_), AdminAddress::Unix(_)) | (ListenAddress::Unix(_), AdminAddress::Ip(_)) => false,
    }
}

/// Whether one address takes the other's connections.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && is_same
}

fn address(section: &Section<'_>, text: &Text) -> Option<AdminAddress> {
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => backend::unix_path(path).map(AdminAddress::Unix),
        None => text
            .value
            .parse()
            .map(AdminAddress::Ip)
            .map_err(|_| ("is no address to listen on", "write ip:port, as \"127.0.0.1:9900\", or unix:/path")),
    };
    address.map_err(|(cause, hint)| section.report.add(text.span.clone(), format!("{text} {cause}"), hint)).ok()
}

/// A secret, called `what`, must fit into a field, and be long enough.
pub(super) fn secret(section: &Section<'_>, text: &Text, what: &str) -> Token {
    if text.value.len() < SECRET_BYTES_MIN || !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = format!("at least {SECRET_BYTES_MIN} visible ASCII characters without blanks");
        section.report.add(text.span.clone(), format!("this is no {what}"), hint);
    }
    Token::new(&text.value)
}

fn host(section: &Section<'_>, text: &Text) -> Option<Box<str>> {
    let host = text.value.to_ascii_lowercase();
    let is_host = is_host_name(&host) || condition::is_bracketed(&host);
    if !is_host {
        let hint = "write a name without scheme and port: \"admin.example.com\"";
        section.report.add(text.span.clone(), format!("{text} is no host"), hint);
    }
    is_host.then(|| host.into())
}
